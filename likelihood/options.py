"""config.likelihood, and of what is made for it or of it: config.dequantizer, config.classifier."""

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
    """Fields of config.likelihood: which images, and how densities and bounds are measured."""

    split: str = option("test", "test | train", one_of("test", "train"))
    num_images: int = option(0, "the first so many of the split; 0: all of them", not_negative)
    batch_size: int = option(
        64, "images at a time over all devices; divisible by their number", BATCH
    )
    eps: float = option(1e-5, "the time at which the density is taken")
    repeats: int = option(
        1, "draws of dequantization noise, probes and bound for each image", count(10**5)
    )
    conditional: bool = option(
        True,
        "a model with classes: the likelihood given the image's own, log p(x|y); False: of a model that is told none",
    )
    ode: bool = option(True, "measure the probability-flow ODE's own likelihood")
    solver: str = option("dopri5", "an adaptive one, as sampling.ode.solver")
    rtol: float = option(1e-5, "relative tolerance", positive)
    atol: float = option(1e-5, "absolute tolerance", positive)
    step_size: str = option("batch", "as sampling.ode.step_size", one_of("batch", "image"))
    probe: str = option(
        "rademacher",
        "the divergence: rademacher | gaussian | orthogonal (Rademacher probes at right angles) | hutchpp, Hutch++ | exact, D "
        "products an evaluation",
    )
    num_probes: int = option(
        1,
        "random vectors an image; from 2 on they give an error bar of their own",
        count(10**5),
    )
    sketch_size: int = option(
        8, "probe=hutchpp: directions whose part of the trace is exact", count(10**5)
    )
    products_at_once: int = option(
        16,
        "Jacobian-vector products that share a pass; fewer need less memory",
        count(10**5),
    )
    bound_draws: int = option(
        64,
        "evaluations an image, even, for the variational bound on the SDE's likelihood; 0: no bound",
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
        "a network trained on a chain: the variances of its steps, ancestral | forward | posterior",
    )
    chain_levels: str = option(
        "",
        "... and the levels that the bound's chain keeps: all of them | 100, so many at even distance | 10,15,20 of each third | "
        "ddim25, every so many-th",
    )
    dequantization: str = option(
        "uniform", "uniform | variational, by the flow that --mode dequantize trained in the folder"
    )
    decoder: str = option(
        "none",
        "none: the density at eps, in place of the data's | gaussian: that of the data, through a last decoding step",
        one_of("none", "gaussian"),
    )
    save_latents: bool = option(False, "x(T) of every image beside its values")
    anomalies: str = option(
        "",
        "an .npz file with `images` that are to be told from those of the split: how well is their AUC",
    )


@dataclasses.dataclass(frozen=True)
class DequantizerOptions(Section):
    """--mode dequantize: a conditional flow that draws the noise within a level, for likelihood.dequantization=variational.

    The score model stays as it is; the bound that is minimised ends at likelihood.eps.
    """

    width: int = option(64, "channels of its convolutions", count(2**16))
    depth: int = option(6, "couplings, each of which moves half of the pixels", count(256, 2))
    n_iters: int = option(2000, "updates in all", count(INT32))
    batch_size: int = option(
        64, "images an update over all devices; divisible by their number", BATCH
    )
    lr: float = option(2e-3, "Adam's, falling to 0 along a cosine", positive)
    checkpoint_freq: int = option(
        500, "updates between checkpoints, from which a run goes on; 0: none", not_negative
    )
    num_images: int = option(
        0,
        "images of likelihood.split on which it is compared with uniform noise; 0: all of them",
        not_negative,
    )
    repeats: int = option(4, "draws of noise and time for each of them", positive)


@dataclasses.dataclass(frozen=True)
class ClassifierOptions(Section):
    """--mode classify with one model for each class, trained with data.label; a model with model.num_classes needs none of it."""

    workdirs: str = option("runs/digit{label}", "where these were trained")
    num_classes: int = option(10, "how many there are", count(10**6, 2))
