"""Options of restoration: config.restore."""

from __future__ import annotations

import dataclasses

from score_sde.options import INT32, Section, count, fraction, not_negative, option, positive


@dataclasses.dataclass(frozen=True)
class RestoreOptions(Section):
    """--mode restore: measure images as described by `measurement`, and sample from the posterior given the measurements.

    Batch size, steps and sampler are those of config.sampling. A conditional model uses sampling.labels and sampling.text, repeated for
    all images, or if these are empty the labels and texts of the images.
    """

    images: str = option(
        "test",
        "images to measure: train | test, a split; an .npz file with `images` (or `arr_0`), levels as --mode sample writes them, and "
        "optionally `labels`; or a folder of PNG, JPEG or WebP files",
    )
    measured: str = option(
        "",
        "instead of images, an .npz file of measurements made elsewhere: `y` (n, ...) in units of the model's images, and `labels` for a "
        "network conditioned on classes",
    )
    num_images: int = option(16, "number of images, from the first on", count(INT32))
    draws: int = option(8, "posterior draws per image", count(10_000))
    method: str = option(
        "ddrm",
        "mmps | tmpd | pigdm | dps | ddnm | diffpir, with any sampler | imputation | imputation_published | mcg | repaint | ddrm | daps | "
        "pnpdm | tds, which have their own samplers with sampling.pc.num_steps steps of sampling.grid | trained, a network conditioned on "
        "the measurement of config.condition (model.condition_image=measured), with any sampler",
    )
    iterations: int = option(
        5, "method=mmps: iterations of conjugate gradients per step", count(1000)
    )
    scale: float = option(
        1.0,
        "method=dps: factor of the likelihood's gradient; method=mcg: factor of the step towards the measurement",
        positive,
    )
    weight: float = option(1.0, "method=diffpir: its lambda", positive)
    repeats: int = option(
        10, "method=repaint: number of times that each step is taken", count(1000)
    )
    eta: float = option(0.85, "method=ddrm: noise of the unmeasured modes", fraction)
    eta_b: float = option(
        1.0, "method=ddrm: how far measured modes are moved to their measurement", fraction
    )
    ode_steps: int = option(
        5, "method=daps: steps of the ODE to the image, within each step", count(1000)
    )
    prior_steps: int = option(
        20, "method=pnpdm: steps of the prior from the coupled image, within each step", count(1000)
    )
    coupling: float = option(
        0.0,
        "method=pnpdm: smallest standard deviation with which it couples image and measurement; 0: that of the last step's time",
        not_negative,
    )
    particles: int = option(
        16, "method=tds: particles per draw, of which one is taken", count(10_000)
    )
