"""The measurement described by a section of a config. Building it checks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from score_sde.errors import ConfigError
from score_sde.files import user_path
from score_sde.measurements import masks
from score_sde.measurements.axes import bicubic, box_mean, gaussian_blur, grey
from score_sde.measurements.coordinates import Coordinates
from score_sde.measurements.fourier import Convolution, Frequencies
from score_sde.measurements.kernels import motion_kernel
from score_sde.measurements.linear import Linear
from score_sde.measurements.measurement import Measurement
from score_sde.measurements.options import MeasurementOptions
from score_sde.options import choose

Shape = tuple[int, int, int]
"""Shape of an image, (h, w, c)."""


def without_box(options: Any, shape: Shape, seed: int) -> Linear:
    """All pixels outside a centered box."""
    size = tuple(options.box) or (shape[0] // 2, shape[1] // 2)
    if len(size) != 2:
        raise ConfigError(f"box={size}: expected two numbers, rows and columns, or ()")
    return Coordinates.of_mask(masks.without_box(shape[:2], size), shape)


def of_picture(options: Any, shape: Shape, seed: int) -> Linear:
    """The pixels that are white in a picture."""
    if not options.mask:
        raise ConfigError("mask='': expected a picture file, white where images are known")
    return Coordinates.of_mask(masks.picture(user_path(options.mask), shape[:2]), shape)


def grey_of_colours(options: Any, shape: Shape, seed: int) -> Linear:
    """The grey levels of a color image; ConfigError unless there are three channels."""
    if shape[2] != 3:
        raise ConfigError(
            f"data.num_channels={shape[2]}: grey levels need three channels; use another measurement"
        )
    return grey(shape)


def some_frequencies(options: Any, shape: Shape, seed: int) -> Linear:
    """A fraction of the Fourier coefficients, a share of them the lowest."""
    mask = masks.frequencies(shape[:2], options.fraction, options.lowest, seed)
    return Frequencies.of_mask(mask, shape)


class Kind(NamedTuple):
    """A kind of measurement that a config can name."""

    build: Callable[[Any, Shape, int], Linear]
    """Build A from config.restore.measurement or config.condition, the shape of an image and a seed."""
    fields: tuple[str, ...] = ()
    """Fields of the section that it reads."""


MEASUREMENTS: dict[str, Kind] = {
    "box": Kind(without_box, ("box",)),
    "half": Kind(
        lambda o, shape, seed: Coordinates.of_mask(masks.half(shape[:2], o.known), shape),
        ("known",),
    ),
    "random": Kind(
        lambda o, shape, seed: Coordinates.of_mask(
            masks.random_pixels(shape[:2], o.fraction, seed), shape
        ),
        ("fraction",),
    ),
    "mask": Kind(of_picture, ("mask",)),
    "grey": Kind(grey_of_colours),
    "box_mean": Kind(lambda o, shape, seed: box_mean(shape, o.factor), ("factor",)),
    "bicubic": Kind(lambda o, shape, seed: bicubic(shape, o.factor), ("factor",)),
    "gaussian_blur": Kind(lambda o, shape, seed: gaussian_blur(shape, o.blur), ("blur",)),
    "motion_blur": Kind(
        lambda o, shape, seed: Convolution.by_kernel(motion_kernel(o.length, o.angle), shape),
        ("length", "angle"),
    ),
    "frequencies": Kind(some_frequencies, ("fraction", "lowest")),
}


def fields_of(options: Any) -> dict[str, Any]:
    """The fields of this section that its measurement reads, with their values."""
    return {name: options[name] for name in MEASUREMENTS[options.name].fields}


def check_fields(options: Any, section: str) -> None:
    """Refuse fields that only other measurements read.

    Not part of `build_measurement`, so that networks already trained with such a config remain usable.

    Raises:
      ConfigError: an option with no effect is set.
    """
    readers = {name: kind.fields for name, kind in MEASUREMENTS.items()}
    MeasurementOptions.refuse_unused(options, section, "name", readers)


def build_measurement(
    options: Any, shape: tuple[int, ...], seed: int, section: str = "restore.measurement"
) -> Measurement:
    """Build the measurement described by this section of the config, for images of this shape (h, w, c).

    Raises:
      ConfigError: an unknown name, or a mask, factor or kernel that does not fit the images.
    """
    kind = choose(f"{section}.name", options.name, MEASUREMENTS)
    height, width, channels = shape
    try:
        linear = kind.build(options, (height, width, channels), seed)
    except ConfigError as error:
        raise ConfigError(f"{section}.name={options.name!r}: {error}") from None
    return Measurement.of(linear, options.sigma_y)
