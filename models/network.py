"""What all networks share: their fields, which are options of config.model, and what is checked when one is built."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Self

import flax.linen as nn
import jax.numpy as jnp

from score_sde.data.image_shape import in_words, sides
from score_sde.errors import ConfigError
from score_sde.models.conditions import null_condition
from score_sde.models.layers import ACTIVATIONS, Other
from score_sde.options import Section, count, one_of, option, probability

DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}
WIDEST = 1024  # in units of nf
OF_DATA = ("image_size", "image_width", "num_channels", "centered")  # the rest are of config.model


class Network(Section, nn.Module):
    """A score network. `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).

    Images arrive in [-1, 1] if `centered`, otherwise in [0, 1].
    """

    image_size: int
    num_channels: int = 3
    centered: bool = True
    image_width: int = 0
    nf: int = option(128, "base width; GroupNorm uses min(width / 4, 32) groups", count(2**16))
    ch_mult: tuple[int, ...] = option(
        (1, 2, 2, 2),
        "width of each resolution level, in units of nf; the number of levels is its length",
    )
    num_res_blocks: int = option(4, "residual blocks a level", count(64))
    attn_resolutions: tuple[int, ...] = option(
        (16,),
        "self-attention where an image's shorter side has so many pixels, and always in the middle",
    )
    resamp_with_conv: bool = option(True, "resampling between (ddpm) blocks has a convolution")
    conditional: bool = option(
        True, "the network is told the time; False: it sees that only through scale_by_sigma"
    )
    num_classes: int = option(
        0, "classes that it may be told (models/conditions.py); 0: it is told none", count(10**6, 0)
    )
    nonlinearity: str = option("swish", "swish | elu | relu | lrelu", one_of(*ACTIVATIONS))
    dropout: float = option(0.1, "rate, in training only", probability)
    dtype: str = option(
        "float32",
        "float32 | bfloat16: the operands of convolutions and attention (models/layers.py); all else stays float32. float32 "
        "casts nothing: with float64 images and parameters everything is float64",
        one_of(*DTYPES),
    )
    remat: bool = option(
        False,
        "keep of each residual and attention block its input only, and compute the rest again for the gradient: less of an "
        "accelerator's memory (XLA's compiler for CPUs undoes it), a third more time",
    )
    scale_by_sigma: bool = option(
        False,
        "divide the output by sigma (VE), so that a network that predicts noise gives a score. With positional labels sigma is "
        "read from a table of num_scales values falling from sigma_max (label 0) to sigma_min; a label outside of it gives NaN",
    )
    # Of that table; otherwise unused. They are options of the process and its chain.
    sigma_min: float = 0.01
    sigma_max: float = 50.0
    num_scales: int = 1000

    def __post_init__(self) -> None:
        self.check_options(self, "model")
        if not self.ch_mult or min(self.ch_mult) < 1 or max(self.ch_mult) > WIDEST:
            raise ConfigError(
                f"model.ch_mult={tuple(self.ch_mult)}: expected an integer from 1 to {WIDEST} for each level, such as 1,2,2"
            )
        h, w = sides(self.image_size, self.image_width)
        check_sides((h, w), self.ch_mult)
        sizes = [min(h, w) >> level for level in range(len(self.ch_mult))]
        if not set(self.attn_resolutions) <= set(sizes):
            raise ConfigError(
                f"model.attn_resolutions={tuple(self.attn_resolutions)}: the levels of images of {h}x{w} pixels have "
                f"{', '.join(map(str, sizes))}, so there would be no attention at another size of the shorter side; leave it out, "
                "or give () for none"
            )
        if self.num_channels < 1:
            raise ConfigError(f"num_channels is {self.num_channels}: expected 1 or more")
        if self.num_classes and not self.conditional:
            raise ConfigError(
                f"model.num_classes={self.num_classes} with model.conditional=False: a class joins the embedding of the noise "
                "level, of which that network has none; set num_classes=0, or conditional=True"
            )
        super().__post_init__()

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Every field from where config has one of its name."""
        given: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if field.name not in ("parent", "name"):
                value = (config.data if field.name in OF_DATA else config.model)[field.name]
                given[field.name] = tuple(value) if isinstance(value, (list, tuple)) else value
        return cls(**given)

    def _block_call(self, block: nn.Module) -> Callable[..., Any]:
        """The block as it is called: rematerialised where asked for. Its name, hence its parameters' names, stay."""
        if not self.remat:
            return block
        again = nn.remat(lambda block, *arguments: block(*arguments))
        return functools.partial(again, block)

    def attends(self, h: Other) -> bool:
        """Whether features of this resolution have self-attention."""
        return min(h.shape[1:3]) in self.attn_resolutions

    @staticmethod
    def conditions(config: Any) -> tuple[str, ...]:
        """Names of what the configured network is told of each image, of data/conditions.py."""
        return ("label",) if config.model.num_classes else ()

    def null_condition(self, condition: Any) -> Any:
        """What says "no class" of the images of this condition; refuses one that the network does not take."""
        return null_condition(condition, self.num_classes)


def check_sides(image_sides: tuple[int, int], ch_mult: Sequence[int]) -> None:
    """Raises ConfigError unless the network can halve height and width once per level after the first, exactly."""
    halvings = len(ch_mult) - 1
    factor = 2**halvings
    for side in image_sides:
        if side % factor:
            fits = max(side // factor, 1) * factor
            raise ConfigError(
                f"images have {in_words(image_sides)} pixels, but ch_mult {tuple(ch_mult)} has {len(ch_mult)} levels, so the "
                f"network halves the image {halvings} times and needs a multiple of {factor}. Pad or resize the "
                f"images ({side} to {fits} or {fits + factor}, say), or take fewer levels."
            )


def check_input(x_shape: Sequence[int], noise_input_shape: Sequence[int], network: Any) -> None:
    """Raises ValueError unless the arguments of a call are (b, h, w, channels) and (b,)."""
    h, w = sides(network.image_size, network.image_width)
    if len(x_shape) != 4 or tuple(x_shape[1:]) != (h, w, network.num_channels):
        raise ValueError(
            f"The network takes images of shape (batch, {h}, {w}, {network.num_channels}), channels "
            f"last, but x has shape {tuple(x_shape)}. Set data.image_size, data.image_width and data.num_channels to the images'."
        )
    if tuple(noise_input_shape) != (x_shape[0],):
        raise ValueError(
            f"The network takes one noise level per image, shape ({x_shape[0]},), but noise_input has shape "
            f"{tuple(noise_input_shape)}. Broadcast a single time with jnp.full((batch,), t)."
        )
