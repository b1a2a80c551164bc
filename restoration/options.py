"""config.restore."""

from __future__ import annotations

import dataclasses

from score_sde.options import INT32, Section, count, fraction, not_negative, option, positive


@dataclasses.dataclass(frozen=True)
class RestoreOptions(Section):
    """--mode restore: measure images, as `measurement` says, and draw from the posterior given what was measured.

    Batches, steps and the sampler are config.sampling's; sampling.labels, where the model is told a class, are the images' in turn.
    """

    images: str = option(
        "test",
        "what is measured: train | test, images of a split; an .npz file with `images` (or `arr_0`), levels as --mode sample writes them, "
        "and `labels` if it has them; or a folder of PNG, JPEG or WebP files",
    )
    measured: str = option(
        "",
        "in place of images an .npz file with what was measured already: `y` (n, ...) in the units of the model's images, and `labels` if "
        "the model is told them",
    )
    num_images: int = option(16, "so many of them, from the first on", count(INT32))
    draws: int = option(8, "posterior draws of each", count(10_000))
    method: str = option(
        "ddrm",
        "mmps | tmpd | pigdm | dps | ddnm | diffpir, with any sampler | imputation | imputation_published | mcg | repaint | ddrm | daps | pnpdm | tds, samplers of their "
        "own along sampling.pc.num_steps steps of sampling.grid | trained, a network of model.condition_image=measured, told what config.condition "
        "measures, with any sampler",
    )
    iterations: int = option(5, "method=mmps: of conjugate gradients in each step", count(1000))
    scale: float = option(
        1.0,
        "method=dps: times the likelihood's gradient; method=mcg: times the step towards the measurement",
        positive,
    )
    weight: float = option(1.0, "method=diffpir: its lambda", positive)
    repeats: int = option(10, "method=repaint: times that each step is taken", count(1000))
    eta: float = option(0.85, "method=ddrm: noise of what is not measured", fraction)
    eta_b: float = option(1.0, "method=ddrm: how far measured modes are put in place", fraction)
    ode_steps: int = option(5, "method=daps: of the ODE to the image in each step", count(1000))
    prior_steps: int = option(
        20, "method=pnpdm: down from the coupled image in each step", count(1000)
    )
    coupling: float = option(
        0.0,
        "method=pnpdm: the least distance at which it couples image and measurement, a standard deviation; 0: that of the last step's "
        "time",
        not_negative,
    )
    particles: int = option(16, "method=tds: of each draw, of which one is taken", count(10_000))
