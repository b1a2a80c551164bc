"""config.restore.measurement and config.condition."""

from __future__ import annotations

import dataclasses

from score_sde.options import Section, finite, not_negative, option, positive
from score_sde.options import fraction as share


@dataclasses.dataclass(frozen=True)
class MeasurementOptions(Section):
    """What is measured of an image, y = A x_0 + sigma_y n."""

    name: str = option(
        "box",
        "what A keeps: box, all but the pixels of one | half, of the pixels | random, some pixels | mask, the white pixels of a picture | "
        "grey, of colours | box_mean and bicubic, fewer pixels | gaussian_blur | motion_blur | frequencies, some",
    )
    sigma_y: float = option(
        0.05, "standard deviation of the noise in the units of the model's images", not_negative
    )
    box: tuple[int, ...] = option(
        (), "name=box: rows and columns of the box in the middle; (): half of either side"
    )
    known: str = option("left", "name=half: left | right | top | bottom, the half that is known")
    fraction: float = option(
        0.3, "name=random, frequencies: the share that is known, drawn by `seed`", share
    )
    lowest: float = option(
        0.5, "name=frequencies: the share of the known ones that are the lowest of all", share
    )
    mask: str = option("", "name=mask: a picture of the images' size, white where they are known")
    factor: int = option(
        2,
        "name=box_mean, bicubic: that divides both sides",
        finite("2 or more", lambda n: n > 1, 1),
    )
    blur: float = option(1.0, "name=gaussian_blur: standard deviation in pixels", positive)
    length: float = option(5.0, "name=motion_blur: of the way in pixels", positive)
    angle: float = option(
        0.0,
        "name=motion_blur: degrees up from the right",
        finite("a number, such as 45", lambda x: True),
    )


@dataclasses.dataclass(frozen=True)
class ConditionOptions(MeasurementOptions):
    """The image that a network with model.condition_image is told (condition_image.py).

    Where that is "measured", it is what is measured of the network's own image. Random masks do not depend on the seed.
    """

    images: str = option(
        "test",
        "of which images samples are told, one after the other and again from the first: train | test; an .npz file with `images` (or "
        "`arr_0`), or for condition_image=paired with `paired`; or a folder of PNG, JPEG or WebP files",
    )
    cascade: str = option(
        "",
        "in place of images, a folder in which a network was trained on images of the size of what is measured: its samples, drawn first "
        "by the same sampler, are what is told",
    )
    noise: float = option(
        0.0,
        "in use, the standard deviation of the noise that is added to what the image is made of, and told: at most "
        "model.condition_noise",
        not_negative,
    )
