"""Options of measurements: config.restore.measurement and config.condition."""

from __future__ import annotations

import dataclasses

from score_sde.options import Section, finite, not_negative, option, positive
from score_sde.options import fraction as share


@dataclasses.dataclass(frozen=True)
class MeasurementOptions(Section):
    """A measurement of an image, y = A x_0 + sigma_y n."""

    name: str = option(
        "box",
        "measurement operator A: box, all pixels outside a centred box | half, one half | random, random pixels | mask, the white pixels "
        "of a picture | grey, grey levels of a colour image | box_mean and bicubic, fewer pixels | gaussian_blur | motion_blur | "
        "frequencies, some Fourier coefficients",
    )
    sigma_y: float = option(
        0.05,
        "standard deviation of the measurement's noise, in units of the model's images",
        not_negative,
    )
    box: tuple[int, ...] = option(
        (), "name=box: rows and columns of the centred box; (): half of each side"
    )
    known: str = option("left", "name=half: the known half, left | right | top | bottom")
    fraction: float = option(
        0.3,
        "name=random, frequencies: known share, drawn with `seed`; in config.condition the same for every seed",
        share,
    )
    lowest: float = option(
        0.5, "name=frequencies: share of the known frequencies taken from the lowest", share
    )
    mask: str = option(
        "", "name=mask: a picture file of the images' size, white where pixels are known"
    )
    factor: int = option(
        2,
        "name=box_mean, bicubic: factor by which both sides shrink",
        finite("2 or more", lambda n: n > 1, 1),
    )
    blur: float = option(1.0, "name=gaussian_blur: standard deviation in pixels", positive)
    length: float = option(5.0, "name=motion_blur: length of the path in pixels", positive)
    angle: float = option(
        0.0,
        "name=motion_blur: direction of the path, in degrees counter-clockwise from the right",
        finite("a number, such as 45", lambda x: True),
    )


@dataclasses.dataclass(frozen=True)
class ConditionOptions(MeasurementOptions):
    """The image on which a network with model.condition_image is conditioned (condition_image.py).

    With model.condition_image "measured" it is a measurement of the image itself. Random masks do not depend on the seed.
    """

    images: str = option(
        "test",
        "images from which the conditions of samples are made, in order and repeated: train | test; an .npz file with `images` (or "
        "`arr_0`), or for condition_image=paired with `paired`; or a folder of PNG, JPEG or WebP files",
    )
    cascade: str = option(
        "",
        "instead of images, the folder of a network trained on images of the measurement's size: its samples, drawn first with the same "
        "sampler, are the conditions",
    )
    noise: float = option(
        0.0,
        "standard deviation of noise added to the condition's image in sampling, on which the network is conditioned: at most "
        "model.condition_noise",
        not_negative,
    )
