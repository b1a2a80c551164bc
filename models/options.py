"""What the networks accept, checked when they are built rather than in the middle of a run."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.layers import ACTIVATIONS
from score_sde.options import choose

DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}


def check_image_size(image_size: int, ch_mult: Sequence[int]) -> None:
    """Raises ConfigError unless the network can halve the image once per level after the first, exactly."""
    halvings = len(ch_mult) - 1
    factor = 2**halvings
    if image_size < 1 or image_size % factor:
        fits = max(image_size // factor, 1) * factor
        raise ConfigError(
            f"image_size is {image_size}, but ch_mult {tuple(ch_mult)} has {len(ch_mult)} levels, so the "
            f"network halves the image {halvings} times and needs a multiple of {factor}. Pad or resize the "
            f"images (to {fits} or {fits + factor}, say), or take fewer levels."
        )


def check_shared(net: Any) -> None:
    """Checks the fields that all networks have; raises ConfigError."""
    choose("model.nonlinearity", net.nonlinearity, ACTIVATIONS)
    choose("model.dtype", net.dtype, DTYPES)
    check_image_size(net.image_size, net.ch_mult)
    if not 0 <= net.dropout < 1:
        raise ConfigError(
            f"dropout is {net.dropout}; it is the probability of a zero and must be in [0, 1)."
        )
    if net.num_classes < 0 or (net.num_classes and not net.conditional):
        raise ValueError(
            f"num_classes is {net.num_classes} with conditional={net.conditional}; expected 0 or more, and 0 for a network "
            "that is not told the noise level, since a class joins its embedding."
        )
    if net.num_res_blocks < 1:
        raise ConfigError(
            f"num_res_blocks is {net.num_res_blocks}; a level needs at least 1 block."
        )


def shared_fields(config: Any) -> dict[str, Any]:
    """The fields that all networks have, read from config.model and config.data.

    The table of noise levels is only used by `scale_by_sigma` with labels. It is looked for in config.model,
    then in config.sde, and a process that has no such levels need not state any.
    """
    model, data = config.model, config.data
    sde = config.get("sde", {})
    return {
        "image_size": data.image_size,
        "num_channels": data.num_channels,
        "centered": data.centered,
        "nf": model.nf,
        "ch_mult": tuple(model.ch_mult),
        "num_res_blocks": model.num_res_blocks,
        "attn_resolutions": tuple(model.attn_resolutions),
        "resamp_with_conv": model.resamp_with_conv,
        "conditional": model.conditional,
        "num_classes": model.get("num_classes", 0),
        "nonlinearity": model.nonlinearity,
        "dropout": model.dropout,
        "dtype": model.get("dtype", "float32"),
        "scale_by_sigma": model.scale_by_sigma,
        "sigma_min": model.get("sigma_min", sde.get("sigma_min", 0.01)),
        "sigma_max": model.get("sigma_max", sde.get("sigma_max", 50.0)),
        "num_scales": model.get("num_scales", sde.get("num_scales", 1000)),
    }


def check_input(
    x_shape: Sequence[int], noise_input_shape: Sequence[int], image_size: int, num_channels: int
) -> None:
    """Raises ValueError unless the arguments of a call are (b, size, size, channels) and (b,)."""
    expected = (image_size, image_size, num_channels)
    if len(x_shape) != 4 or tuple(x_shape[1:]) != expected:
        raise ValueError(
            f"The network takes images of shape (batch, {image_size}, {image_size}, {num_channels}), channels "
            f"last, but x has shape {tuple(x_shape)}. Set data.image_size and data.num_channels to the images'."
        )
    if tuple(noise_input_shape) != (x_shape[0],):
        raise ValueError(
            f"The network takes one noise level per image, shape ({x_shape[0]},), but noise_input has shape "
            f"{tuple(noise_input_shape)}. Broadcast a single time with jnp.full((batch,), t)."
        )
