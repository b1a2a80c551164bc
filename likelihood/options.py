"""Typed sections config.likelihood, config.dequantizer and config.classifier."""

from __future__ import annotations

import dataclasses

from score_sde.options import (
    BATCH,
    INT32,
    Section,
    count,
    finite,
    not_negative,
    one_of,
    option,
    positive,
)


@dataclasses.dataclass(frozen=True)
class LikelihoodOptions(Section):
    """Fields of config.likelihood: which images to measure, and how densities and bounds are computed."""

    split: str = option("test", "test | train", one_of("test", "train"))
    num_images: int = option(
        0,
        "number of images of the split, from the first on; 0: all; anomalies are always used in full",
        not_negative,
    )
    batch_size: int = option(
        64, "images per batch over all devices; divisible by their number", BATCH
    )
    eps: float = option(1e-5, "time at which the density is evaluated")
    repeats: int = option(
        1,
        "draws of dequantization noise, probes and bound per image; with 2 or more, the measurement's own error covers all of them",
        count(10**5),
    )
    conditional: bool = option(
        True,
        "networks conditioned on classes: the likelihood given each image's own class, log p(x|y); False: the unconditional one",
    )
    ode: bool = option(True, "measure the likelihood of the probability-flow ODE")
    solver: str = option("dopri5", "an adaptive solver, as sampling.ode.solver")
    rtol: float = option(1e-5, "relative tolerance", positive)
    atol: float = option(1e-5, "absolute tolerance", positive)
    step_size: str = option("batch", "as sampling.ode.step_size", one_of("batch", "image"))
    probe: str = option(
        "rademacher",
        "estimator of the divergence: rademacher | gaussian | orthogonal (Rademacher probes at right angles) | hutchpp, Hutch++ | exact, "
        "with as many products per evaluation as the image has dimensions",
    )
    num_probes: int = option(
        1,
        "random probes per image; with 2 or more they have their own error bar, without the error of dequantization noise",
        count(10**5),
    )
    sketch_size: int = option(
        8, "probe=hutchpp: directions in which the trace is exact", count(10**5)
    )
    products_at_once: int = option(
        16,
        "Jacobian-vector products per pass; fewer need less memory",
        count(10**5),
    )
    bound_draws: int = option(
        64,
        "evaluations per image, an even number, for the variational bound on the SDE's likelihood; 0: no bound",
        finite(
            "an even number, such as 64 and at most a million, or 0 for no bound",
            lambda n: 0 <= n <= 10**6 and n % 2 == 0,
            -2,
            7,
            10**7,
        ),
    )
    chain_variances: str = option(
        "ancestral",
        "networks trained on a chain: variances of its steps in the bound, ancestral | forward | posterior; learned ones are not used",
    )
    chain_levels: str = option(
        "",
        "... and the levels that the bound's chain keeps: empty, all | 100, that many evenly spaced | 10,15,20 of each third | ddim25, 25 "
        "at a fixed stride",
    )
    dequantization: str = option(
        "uniform",
        "uniform | variational, with the flow that --mode dequantize trained in the folder",
    )
    decoder: str = option(
        "none",
        "none: the density at eps instead of the data's | gaussian: that of the data, with a last decoding step",
        one_of("none", "gaussian"),
    )
    save_latents: bool = option(False, "also save x(T) of every image")
    anomalies: str = option(
        "",
        "an .npz file with `images` to distinguish from those of the split by likelihood; reports the AUC",
    )


@dataclasses.dataclass(frozen=True)
class DequantizerOptions(Section):
    """--mode dequantize: a conditional flow for the noise within a level, for likelihood.dequantization=variational.

    The score model is not changed; the bound that is minimized ends at likelihood.eps.
    """

    width: int = option(64, "channels of the flow's convolutions", count(2**16))
    depth: int = option(
        6, "coupling layers, each of which transforms half of the pixels", count(256, 2)
    )
    n_iters: int = option(2000, "total training steps", count(INT32))
    batch_size: int = option(
        64, "images per step over all devices; divisible by their number", BATCH
    )
    lr: float = option(2e-3, "Adam's learning rate, decaying to 0 along a cosine", positive)
    checkpoint_freq: int = option(500, "steps between checkpoints; 0: none", not_negative)
    num_images: int = option(
        0,
        "number of images of likelihood.split on which it is compared with uniform noise; 0: all",
        not_negative,
    )
    repeats: int = option(4, "draws of noise and time per image", positive)


@dataclasses.dataclass(frozen=True)
class ClassifierOptions(Section):
    """--mode classify with one model per class, each trained with data.label; a model with model.num_classes does not need this section."""

    workdirs: str = option(
        "runs/digit{label}",
        "folders of networks trained on one class each, with {label} in place of the class",
    )
    num_classes: int = option(10, "number of these classes", count(10**6, 2))
