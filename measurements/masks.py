"""Masks (h, w) of known pixels or frequencies, for Coordinates.of_mask and Frequencies.of_mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from score_sde.data.resizing import decode_image
from score_sde.errors import ConfigError
from score_sde.options import choose

HALVES = ("left", "right", "top", "bottom")


def without_box(
    sides: tuple[int, int], size: tuple[int, int], corner: tuple[int, int] | None = None
) -> np.ndarray:
    """All pixels outside a box of `size` rows and columns with this upper left corner; None centers it.

    Raises:
      ConfigError: the box is empty or does not lie within the image.
    """
    corner = corner or ((sides[0] - size[0]) // 2, (sides[1] - size[1]) // 2)
    within = all(
        first >= 0 and length > 0 and first + length <= n
        for first, length, n in zip(corner, size, sides, strict=True)
    )
    if not within:
        raise ConfigError(
            f"a box of {size} pixels from {corner} on in images of {tuple(sides)}: expected one within them"
        )
    known = np.ones(sides, bool)
    known[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = False
    return known


def half(sides: tuple[int, int], known: str = "left") -> np.ndarray:
    """The left, right, top or bottom half; the middle line of an odd side is in neither half.

    Raises:
      ConfigError: an unknown name.
    """
    choose("known half", known, HALVES)
    height, width = sides
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    return {
        "left": columns < width // 2,
        "right": columns >= (width + 1) // 2,
        "top": rows < height // 2,
        "bottom": rows >= (height + 1) // 2,
    }[known] & np.ones(sides, bool)


def random_pixels(sides: tuple[int, int], fraction: float, seed: int) -> np.ndarray:
    """A uniformly random subset of the pixels, of the size nearest to this fraction.

    Raises:
      ConfigError: the fraction is outside (0, 1], or less than one pixel.
    """
    number = round(fraction * sides[0] * sides[1]) if 0 < fraction <= 1 else 0
    if not number:
        raise ConfigError(
            f"a known fraction {fraction} of {sides[0]} x {sides[1]} pixels: expected a fraction in (0, 1] with at least one pixel"
        )
    known = np.zeros(sides[0] * sides[1], bool)
    known[np.random.default_rng(seed).choice(known.size, number, replace=False)] = True
    return known.reshape(sides)


def picture(path: Path, sides: tuple[int, int]) -> np.ndarray:
    """The white pixels of a black-and-white picture.

    Raises:
      ConfigError: not a picture, one of another size, one with grey pixels, or one without white pixels.
    """
    try:
        image = decode_image(Path(path).read_bytes(), 1)[..., 0]
    except Exception as error:
        raise ConfigError(f"the mask {path} cannot be read as a picture: {error}") from error
    if image.shape != tuple(sides):
        raise ConfigError(
            f"the mask {path} has {image.shape[0]} x {image.shape[1]} pixels for images of {sides[0]} x {sides[1]}: give a mask of the same "
            "size"
        )
    if not np.isin(image, (0, 255)).all():
        raise ConfigError(
            f"the mask {path} has grey levels, from {image.min()} to {image.max()}: expected white, 255, where pixels are known and black, "
            "0, elsewhere"
        )
    if not image.any():
        raise ConfigError(
            f"the mask {path} is black everywhere: expected white, 255, where pixels are known, in at least one of them"
        )
    return image == 255


def frequencies(sides: tuple[int, int], fraction: float, lowest: float, seed: int) -> np.ndarray:
    """A subset of the frequencies, in the order of `numpy.fft`, in pairs of opposite sign, of about this fraction.

    A share `lowest` of them are the lowest frequencies; the rest are chosen uniformly at random.

    Raises:
      ConfigError: the fraction is outside (0, 1], or less than one frequency.
    """
    wanted = round(fraction * sides[0] * sides[1]) if 0 < fraction <= 1 else 0
    if not wanted:
        raise ConfigError(
            f"a known fraction {fraction} of {sides[0]} x {sides[1]} frequencies: expected a fraction in (0, 1] with at least one frequency"
        )
    rows, columns = np.meshgrid(*(np.fft.fftfreq(n) for n in sides), indexing="ij")
    index = np.arange(rows.size).reshape(sides)
    opposite = np.roll(np.flip(index), (1, 1), (0, 1)).ravel()
    pairs = np.flatnonzero(index.ravel() <= opposite)  # one index of each pair
    sizes = np.where(pairs == opposite[pairs], 1, 2)
    by_length = np.argsort(np.hypot(rows, columns).ravel()[pairs], kind="stable")
    first = int(np.searchsorted(np.cumsum(sizes[by_length]), lowest * wanted, side="right"))
    rest = np.random.default_rng(seed).permutation(by_length[first:])
    order = np.concatenate([by_length[:first], rest])
    taken = pairs[order[: max(1, int(np.sum(np.cumsum(sizes[order]) <= wanted)))]]
    known = np.zeros(rows.size, bool)
    known[taken] = known[opposite[taken]] = True
    return known.reshape(sides)
