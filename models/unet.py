"""Base classes of the U-Nets: their resolution levels, and the options of their blocks."""

from __future__ import annotations

from collections.abc import Sequence

from score_sde.data.image_shape import in_words, sides
from score_sde.errors import ConfigError
from score_sde.models.layers import ACTIVATIONS, Other
from score_sde.models.network import Network
from score_sde.options import count, one_of, option, probability

WIDEST = 1024  # in units of nf


class UNet(Network):
    """A network that halves the resolution level by level, and doubles it again."""

    nf: int = option(
        128,
        "base width; a group norm has min(width / 4, 32) groups, in ddpm and adm always 32",
        count(2**16),
    )
    ch_mult: tuple[int, ...] = option(
        (1, 2, 2, 2),
        "width of each resolution level as a multiple of nf; its length is the number of levels",
    )
    num_res_blocks: int = option(4, "residual blocks per level", count(64))
    attn_resolutions: tuple[int, ...] = option(
        (16,),
        "self-attention where the shorter side has one of these numbers of pixels, and always in the middle",
    )
    dropout: float = option(0.1, "rate, in training only", probability)

    def check_fits(self) -> None:
        check_levels(self.ch_mult)
        h, w = sides(self.image_size, self.image_width)
        check_sides((h, w), self.ch_mult)
        sizes = [min(h, w) >> level for level in range(len(self.ch_mult))]
        if not set(self.attn_resolutions) <= set(sizes):
            raise ConfigError(
                f"model.attn_resolutions={tuple(self.attn_resolutions)}: the levels of images of {h}x{w} pixels have "
                f"{', '.join(map(str, sizes))}, so sizes not in this list would have no attention; remove them, "
                "or set () for no attention"
            )

    def attends(self, h: Other) -> bool:
        """Whether features of this resolution have self-attention."""
        return min(h.shape[1:3]) in self.attn_resolutions


class ScoreUNet(UNet):
    """Base class of the U-Nets of Song et al. 2021, which may ignore the noise input, and may divide the output by sigma."""

    resamp_with_conv: bool = option(
        True,
        "resampling between blocks (resblock_type=ddpm, updown_blocks=False) includes a convolution",
    )
    conditional: bool = option(
        True,
        "condition the network on the time; False: it depends on the time only through scale_by_sigma",
    )
    nonlinearity: str = option("swish", "swish | elu | relu | lrelu", one_of(*ACTIVATIONS))
    scale_by_sigma: bool = option(
        False,
        "divide the output by sigma (VE), so that a network that predicts noise gives a score. With positional labels (continuous=False) sigma is read from "
        "a table of num_scales values falling from sigma_max (label 0) to sigma_min; a label outside it gives NaN",
    )
    # Used for that table only. The process and its chain declare these options.
    sigma_min: float = 0.01
    sigma_max: float = 50.0
    num_scales: int = 1000

    def check_fits(self) -> None:
        super().check_fits()
        if self.num_classes and not self.conditional:
            raise ConfigError(
                f"model.num_classes={self.num_classes} with model.conditional=False: the class is added to the noise-level "
                "embedding, which that network lacks; set num_classes=0, or conditional=True"
            )


def check_levels(ch_mult: Sequence[int]) -> None:
    """Refuse an empty ch_mult, and multiples outside 1 ... WIDEST."""
    if not ch_mult or min(ch_mult) < 1 or max(ch_mult) > WIDEST:
        raise ConfigError(
            f"model.ch_mult={tuple(ch_mult)}: expected an integer from 1 to {WIDEST} for each level, such as 1,2,2"
        )


def check_sides(image_sides: tuple[int, int], ch_mult: Sequence[int]) -> None:
    """Raise ConfigError unless height and width can be halved exactly, once per level after the first."""
    halvings = len(ch_mult) - 1
    factor = 2**halvings
    for side in image_sides:
        if side % factor:
            fits = max(side // factor, 1) * factor
            raise ConfigError(
                f"images have {in_words(image_sides)} pixels, but ch_mult {tuple(ch_mult)} has {len(ch_mult)} levels, so the "
                f"network halves the image {halvings} times and needs a multiple of {factor}. Pad or resize the "
                f"images (for example {side} to {fits} or {fits + factor}), or use fewer levels."
            )
