"""config.restore.measurement."""

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
