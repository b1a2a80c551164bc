"""The figures of --mode evaluate for one set of samples, in the form that power.py compares with honest samples."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.fault_images import FAULTS, Fault, Pool, Sizes, deal, whole
from benchmarks.power import HONEST, Figures, Trial
from score_sde.features.extractors import Features
from score_sde.quality.assessment import memory
from score_sde.quality.estimate import Estimate
from score_sde.quality.few_images import has_limit
from score_sde.quality.frechet import frechet_distance, frechet_limit
from score_sde.quality.inception_score import inception_score
from score_sde.quality.kernel_distance import kernel_distance
from score_sde.quality.neighbours import neighbourhood
from score_sde.quality.sliced import sliced_distance, unit_directions

NEIGHBOURS = 5
LIMIT, KID, NEARER = "Frechet limit, its error", "KID, its error", "nearer, its error"
ORDER = (
    "Frechet distance", LIMIT, "KID", KID, "MIND", "precision", "recall", "density", "coverage",
    "nearer than held-out", NEARER, "Inception score",
)  # fmt: skip


def trial_of(pool: Pool, sizes: Sizes) -> Trial:
    """Build the trial that draws samples with or without a fault, a reference set and held-out images, and computes the figures."""

    def trial(fault: str, n: int, rng: np.random.Generator) -> Figures:
        choice, kind = Fault(whole) if fault == HONEST else FAULTS[fault]
        dealt = deal(len(pool.labels), sizes, rng)
        samples = pool.take(kind, choice(dealt, pool, n, rng))
        if len(samples.of_images) < n:
            raise ValueError(f"{len(samples.of_images)} images for {n} samples: deal more")
        reference, held_out = (
            pool.take(HONEST, rows).of_images for rows in (dealt.reference, dealt.held_out)
        )
        return figures_of(samples, reference, held_out, rng)

    return trial


def figures_of(
    samples: Features, reference: np.ndarray, held_out: np.ndarray, rng: np.random.Generator
) -> Figures:
    """The figures of samples (n, d) compared with training images (m, d) and held-out images."""
    x = samples.of_images
    kid = kernel_distance(x, reference, rng)
    nearer = memory(x, reference, held_out).auc
    equal = min(len(x), len(reference))
    compared = {
        "Frechet distance": frechet_distance(x, reference),
        "KID": kid.value,
        "MIND": sliced_distance(
            x[:equal], reference[:equal], unit_directions(x.shape[1], rng)
        ).value,
        **{
            name: estimate.value
            for name, estimate in neighbourhood(x, reference, NEIGHBOURS).figures.items()
        },
        "nearer than held-out": nearer.value,
    }
    if samples.logits is not None:
        compared["Inception score"] = inception_score(samples.logits).value
    in_errors = {KID: apart(kid, 0.0), NEARER: apart(nearer, 0.5)}
    if has_limit(len(x), len(reference), x.shape[1]):
        in_errors[LIMIT] = apart(frechet_limit(x, reference, rng), 0.0)
    return Figures(compared, in_errors)


def apart(estimate: Estimate, truth: float) -> float:
    """Deviation from the truth in standard errors; infinite if the error is 0, as for samples that are all copies."""
    difference = estimate.value - truth
    return difference / estimate.error if estimate.error else math.copysign(math.inf, difference)
