"""Problems on which samplers are measured: two with exact solutions, and a trained network."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde import data
from score_sde.configs.toy_mixture import get_config as toy_mixture
from score_sde.data.mixture import mixture_parameters
from score_sde.data.splits import Split
from score_sde.evaluation.known_law import (
    ks_distance,
    ks_of_true_samples,
    marginal_mixture,
    mixture_cdf,
    mixture_quantiles,
)
from score_sde.generation.denoising_errors import optimal_variance
from score_sde.models.exact import ProductMixtureScore
from score_sde.models.score import ScoreModel
from score_sde.quality.frechet import frechet_distance
from score_sde.samplers.entries import Entry, Run, ode
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.samplers.predictors import tweedie
from score_sde.samplers.record import Sampler, Samples
from score_sde.sde_lib import SDE, build_sde
from score_sde.spaces import build_space
from score_sde.training.trained_score import LoadedScore, load_score_model


class Measured(NamedTuple):
    """Errors by the names of the problem's measures; network evaluations per image, including the last denoising step."""

    errors: dict[str, float]
    nfe: float


class Problem(Protocol):
    floors: dict[str, float]
    """By measure: the error below which samplers cannot be distinguished."""
    last: int
    """Evaluations of a budget that are reserved for the last denoising step."""

    def takes(self, entry: Entry) -> bool:
        """Whether this sampler can be measured here."""
        ...

    def measure(self, run: Run) -> Measured: ...


@functools.partial(jax.jit, static_argnums=0)
def draw(
    sampler: Sampler, score: ScoreModel, grid: Array, noise: Any, like: Array, x_start: Any = None
) -> Samples:
    """Draw a batch; compiled once per number of steps, for any time grid."""
    return sampler(score, grid, noise, like, x_start)._replace(path=None)


def checked(samples: Samples, run: Run) -> Samples:
    if not (np.all(samples.success) and np.all(np.isfinite(samples.x))):
        raise RuntimeError(
            f"{run.entry.name} with {run.settings} gave no finite samples; leave it out"
        )
    return samples


class MixtureFlow:
    """Root-mean-square distance from the exact probability flow of the toy mixture under VP, in float64.

    The 63 points that divide the distribution at T into equal parts are mapped to sampling.eps, without a last denoising step.
    """

    POINTS = 63
    last = 0

    def __init__(self) -> None:
        config = toy_mixture("vp")
        self.options, self.sde = config.sampling, build_sde(config)
        self.options.noise_removal = False
        self.law = mixture_parameters(config.data)
        cuts = np.arange(1, self.POINTS + 1) / (self.POINTS + 1)
        with jax.enable_x64(True):
            self.start, self.exact = (
                mixture_quantiles(cuts, *marginal_mixture(self.sde, t, *self.law))[:, None]
                for t in (self.sde.T, self.options.eps)
            )
        self.floors: dict[str, float] = {}

    def takes(self, entry: Entry) -> bool:
        return not entry.stochastic

    def measure(self, run: Run) -> Measured:
        with jax.enable_x64(True):
            weights, means, variances = map(jnp.asarray, self.law)
            score = ProductMixtureScore(weights, means, variances, self.sde)
            sampler, grid = run.build(self.options, self.sde)[:2]
            x = jnp.asarray(self.start)
            samples = checked(draw(sampler, score, grid, None, x, x), run)
            return Measured({"flow": rms(samples.x, self.exact)}, float(samples.nfe))


class MixtureLaw:
    """Kolmogorov-Smirnov distance of stochastic samplers to the exact distribution at sampling.eps of the toy mixture under VP.

    The coordinates of all images are pooled. There is no last denoising step, which would change the distribution.
    """

    last = 0

    def __init__(self, num_images: int) -> None:
        config = toy_mixture("vp")
        self.options, self.sde = config.sampling, build_sde(config)
        self.options.noise_removal = False
        side = config.data.image_size
        self.like = jnp.zeros((num_images, side, side, config.data.num_channels))
        self.loaded = load_score_model(config, self.sde, Path())
        self.law = marginal_mixture(self.sde, self.options.eps, *mixture_parameters(config.data))
        self.variance = denoising_errors(config, self.sde, self.loaded)
        self.noise = IndexedNoise.for_images(jax.random.key(config.seed), jnp.arange(num_images))
        self.floors = {"law": ks_of_true_samples(self.like.size)}

    def takes(self, entry: Entry) -> bool:
        return entry.stochastic

    def measure(self, run: Run) -> Measured:
        sampler, grid = run.build(self.options, self.sde, self.variance)[:2]
        samples = checked(draw(sampler, self.loaded.model, grid, self.noise, self.like), run)
        x = np.sort(np.asarray(samples.x, np.float64).ravel())
        return Measured({"law": ks_distance(mixture_cdf(x, *self.law))}, float(samples.nfe))


class Digits:
    """A trained network of 8x8 digits, with a last denoising step, in float32.

    `digits_flow`, for deterministic samplers: root-mean-square distance, in pixels of [-1, 1], to the ODE solved with
    negligibly small steps from the same noise. `digits_law`: Frechet distance in pixel space, scaled to [0, 1], between
    Gaussians fitted to the samples and to all real digits.
    """

    last = 1
    BATCH = 256
    REFERENCE = ode("bosh3", 3, "log_ratio")
    REFERENCE_STEPS = 100

    def __init__(self, config: Any, workdir: Path, num_images: int, names: Iterable[str]) -> None:
        self.config, self.sde = config, build_sde(config)
        self.loaded = load_score_model(config, self.sde, workdir)
        self.variance = denoising_errors(config, self.sde, self.loaded)
        self.num_images, self.names = num_images, set(names)
        fine, coarse = (
            self.sample(self.REFERENCE.with_steps(n, "log_snr"), self.BATCH).x
            for n in (self.REFERENCE_STEPS, self.REFERENCE_STEPS // 2)
        )
        self.reference = fine
        images = data.load(config)
        train, test = (self.pixels(every(split)) for split in (images.train, images.test))
        self.real = np.concatenate([train, test])
        self.floors = {
            "digits_flow": rms(fine, coarse),
            "digits_law": frechet_distance(self.redrawn(), self.real),
            "test_to_train": frechet_distance(test, train),
        }

    def redrawn(self) -> np.ndarray:
        """Real digits drawn with replacement, as many as there are samples: the result of a perfect sampler."""
        chosen = np.random.default_rng(0).integers(len(self.real), size=self.num_images)
        return self.real[chosen]

    def pixels(self, images: np.ndarray) -> np.ndarray:
        return images.astype(np.float64) / (self.config.data.num_levels - 1)

    def takes(self, entry: Entry) -> bool:
        return entry.name in self.names

    def sample(self, run: Run, num_images: int) -> Samples:
        """Sample the first `num_images` images of the config's seed."""
        sampler, grid = run.build(self.config.sampling, self.sde, self.variance)[:2]
        side, channels = self.config.data.image_size, self.config.data.num_channels
        key, batches, nfe = jax.random.key(self.config.seed), [], []
        for first in range(0, num_images, self.BATCH):
            indices = jnp.arange(first, min(first + self.BATCH, num_images))
            noise, like = (
                IndexedNoise.for_images(key, indices),
                jnp.zeros((len(indices), side, side, channels)),
            )
            samples = checked(draw(sampler, self.loaded.model, grid, noise, like), run)
            batches.append(np.asarray(denoised(self.sde, self.loaded.model, samples.x, grid[-1])))
            nfe.append(float(samples.nfe) + self.last)
        return Samples(np.concatenate(batches), np.mean(nfe))  # type: ignore[arg-type]

    def measure(self, run: Run) -> Measured:
        samples = self.sample(run, self.num_images)
        images = np.asarray(build_space(self.config).decode(jnp.asarray(samples.x)))
        errors = {"digits_law": frechet_distance(self.pixels(images), self.real)}
        if not run.entry.stochastic:
            same = min(len(self.reference), self.num_images)
            errors["digits_flow"] = rms(samples.x[:same], self.reference[:same])
        return Measured(errors, float(samples.nfe))


@functools.partial(jax.jit, static_argnums=0)
def denoised(sde: SDE, score: ScoreModel, x: Array, t: Array) -> Array:
    return tweedie(score, sde, x, t)


def rms(x: Any, y: Any) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64) - np.asarray(y, np.float64)))))


def every(split: Split) -> np.ndarray:
    return split.take(range(split.num_images)).images


def denoising_errors(config: Any, sde: SDE, loaded: LoadedScore) -> OptimalVariance | None:
    """The denoising errors of this score model, as estimated by --mode sample."""
    asking = config.copy_and_resolve_references()
    asking.sampling.update(sampler="pc")
    asking.sampling.pc.predictor = "ancestral_sampling_optimal"
    with tempfile.TemporaryDirectory() as folder:
        return optimal_variance(asking, sde, loaded, Path(folder))
