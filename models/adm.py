"""ADM, the U-Net of Dhariwal & Nichol 2021, with that of Improved DDPM (Nichol & Dhariwal 2021) as its smallest variant.

The noise level scales and shifts the second norm of each block, blocks change the resolution themselves, and attention runs
at several resolutions, with a fixed number of channels per head (models/adm_blocks.py).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn

from score_sde.errors import ConfigError
from score_sde.models import layers
from score_sde.models.adm_blocks import GROUPS, ZERO, Levels, conv, level_embedding, norm
from score_sde.models.conditions import with_class
from score_sde.models.network import DTYPES
from score_sde.models.published import StateDict
from score_sde.models.unet import UNet
from score_sde.options import count, one_of, option
from score_sde.shapes import Array, Keys


class ADM(UNet):
    """The score network ADM, whose noise input is a time label in 0 ... 1000.

    `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).
    """

    head_channels: int = option(
        64,
        "adm, edm_adm, edm2: channels per attention head; adm: 0 stands for num_heads heads everywhere",
        count(2**16, 0),
    )
    attention_order: str = option(
        "heads_first",
        "adm: order of the channels of queries, keys and values: heads_first, by head and then by which of the three (the published "
        "weights) | qkv_first",
        one_of("heads_first", "qkv_first"),
    )
    scale_shift: bool = option(
        True,
        "adm: the noise level scales and shifts a block's second norm; False: is added before it",
    )
    updown_blocks: bool = option(
        True, "adm: residual blocks resample; False: layers between them do"
    )
    noise_mult: int = option(
        1,
        "adm, edm_unet, edm_adm: width of the noise level's sinusoids, as a multiple of nf",
        count(64),
    )
    emb_mult: int = option(
        4,
        "adm, edm_unet, edm_adm: width of the embedding that blocks are given, as a multiple of nf",
        count(64),
    )
    # Options that other networks declare.
    resamp_with_conv: bool = True
    num_heads: int = 6
    learned_variance: bool = False

    def check_fits(self) -> None:
        super().check_fits()
        check_channels(
            f"model.nf={self.nf}", "model.head_channels", self._widths, self.head_channels
        )
        if not self.head_channels and any(width % self.num_heads for width in self._widths):
            raise ConfigError(
                f"model.num_heads={self.num_heads} does not divide the channels of every level, {list(self._widths)}; use a divisor, "
                "such as 4, or fix the channels per head with model.head_channels"
            )
        check_sinusoids(self.nf * self.noise_mult)

    @nn.compact
    def __call__(
        self,
        x: layers.Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: Keys | None = None,
    ) -> layers.Other:
        """The raw output of the network; arguments and result as in `NCSNpp.__call__`."""
        x, noise_input = self.inputs(x, noise_input, condition)
        keys = layers.layer_keys(dropout_keys, self.dropout)
        of_noise = level_embedding(noise_input, self.nf * self.noise_mult, self.nf * self.emb_mult)
        level: Any = with_class(of_noise, condition, self.num_classes, name="label_emb")
        level = self.with_levels(level, condition)
        first = conv(self._widths[0], "input_blocks_0_0", dtype=DTYPES[self.dtype])
        levels = self._levels
        h, skips = levels.down(first(x if self.centered else 2 * x - 1), level, keys)
        h = levels.middle(h, level, keys)
        h = levels.up(h, skips, level, keys)
        # No dtype: norm and convolution stay in float32, since nothing after them corrects rounding errors.
        channels = self.num_channels * (1 + self.learned_variance)
        return conv(channels, "out_2", init=ZERO)(nn.silu(norm("out_0")(h)))

    @property
    def state_dict(self) -> StateDict:
        """The published state dict, in which attention layers are 1-D convolutions."""
        return StateDict(convolutions={".qkv": (1,), ".proj_out": (1,)}, classes="label_emb.weight")

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(self.nf * mult for mult in self.ch_mult)

    @property
    def _levels(self) -> Levels:
        return Levels(
            self._widths,
            self.num_res_blocks,
            self.attn_resolutions,
            lambda c: c // self.head_channels if self.head_channels else self.num_heads,
            self.dropout,
            self.attention_order == "heads_first",
            self.scale_shift,
            self.updown_blocks,
            self.resamp_with_conv,
            DTYPES[self.dtype],
            self._block_call,
        )


def check_channels(
    of_width: str, of_heads: str, widths: tuple[int, ...], head_channels: int
) -> None:
    """Refuse widths of levels that the 32 groups of a norm or the `head_channels` of attention (0: any) do not divide.

    Args:
      of_width, of_heads: names of the options that set the widths and the heads, for the error message.

    Raises:
      ConfigError: a width is not divisible; the message says by what.
    """
    if any(width % GROUPS for width in widths):
        raise ConfigError(
            f"{of_width}: the levels have {list(widths)} channels, which the {GROUPS} groups of a norm must divide; "
            "use a multiple of 32"
        )
    if head_channels and any(width % head_channels for width in widths):
        raise ConfigError(
            f"{of_heads}={head_channels} does not divide the channels of every level, {list(widths)}; use a divisor, such as 32"
        )


def check_sinusoids(features: int) -> None:
    """Refuse an odd number of sinusoidal features, which must be half sines and half cosines."""
    if features % 2:
        raise ConfigError(
            f"model.nf times model.noise_mult is {features}, but must be even: half of the features are sines, "
            "half cosines"
        )
