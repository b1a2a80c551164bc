"""The twisted diffusion sampler: particles guided towards y, with weights that correct for the guidance (Wu et al. 2023).

The prior chain p(x_T) prod p(x_s | x_t) is that of ancestral sampling; y is a measurement of its last state. At x_t the
likelihood is approximated through the denoiser,

    p~_t(y | x_t) = N(y; A x_hat, (sigma_y^2 + spread sigma^2 / (alpha^2 + sigma^2)) I),

particles move by the score plus the gradient of its logarithm, q(x_s | x_t, y), and each step multiplies their weights by

    p(x_s | x_t) p~_s(y | x_s) / (q(x_s | x_t, y) p~_t(y | x_t)),

the first step also by p~_T, and the last with p(y | x_0) in place of p~_s. For any such approximation and any number of
particles, the estimate of p(y) under the chain is unbiased, and the distribution of the particles converges to the posterior
as their number grows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Float, Integer

from score_sde.errors import ConfigError
from score_sde.guidance.posterior import PosteriorScore, Unguided
from score_sde.measurements.measurement import Measurement
from score_sde.models.score import ScoreModel, condition_of, denoise
from score_sde.options import choose
from score_sde.samplers.noise import START, Noise
from score_sde.samplers.predictors import batch_times
from score_sde.samplers.record import Samples
from score_sde.samplers.resampling import RESAMPLING, effective_size, uniform
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE
from score_sde.shapes import Array, Images, Index, PerImage, Points, Scalar

Weights = Float[Array, "b k"]


def twisting(model: ScoreModel, measurement: Measurement, sde: SDE) -> Unguided:
    """The score model for TDS, to which y is bound as {"measured": y}.

    Raises:
      ConfigError: sigma_y = 0, where no particle would have any weight.
    """
    if not measurement.std > 0:
        raise ConfigError(
            f"TDS with sigma_y={measurement.std}: particles are weighted by the likelihood of y; give a positive one, or use DDRM"
        )
    return Unguided(model, measurement, sde)


@flax.struct.dataclass
class Particles:
    """The k particles of each image."""

    x: Float[Array, "b k *dims"]
    log_weights: Weights
    """ln of the weights since the last resampling."""
    log_evidence: PerImage
    """ln of the estimate of p(y), except for the mean of the current weights."""
    least_size: PerImage
    """The smallest effective sample size so far, before resampling."""
    pending: Weights
    """ln p(x_s | x_t) / (q(x_s | x_t, y) p~_t(y | x_t)) of the last step, whose p~_s is not known yet."""
    chosen: Integer[Array, "b"]
    """The index of one particle of each image, drawn by weight."""

    def evidence(self) -> PerImage:
        """ln of the estimate of p(y) in nats, after the last step."""
        return self.log_evidence + _log_mean(self.log_weights)


@dataclasses.dataclass(frozen=True)
class TDS(SteppedSampler):
    """A sample is one of `particles`, drawn by weight; `begin`, `advance` and `evidence` give access to all of them and to p(y).

    They are resampled, image by image, when the effective sample size (sum w)^2 / sum w^2 falls below `threshold` times
    their number. Noise slots: the particles' steps, resampling, and the choice of one. Cost: one evaluation and one product
    with the Jacobian per particle and step.

    Raises:
      ConfigError: fewer than one particle, an unknown resampling method, a threshold outside [0, 1], or a negative spread.
    """

    sde: SDE
    particles: int = 16
    spread: float = 1.0
    threshold: float = 0.5
    resampling: str = "systematic"

    def __post_init__(self):
        choose("resampling", self.resampling, RESAMPLING)
        if self.particles < 1 or not (0 <= self.threshold <= 1 and self.spread >= 0):
            raise ConfigError(
                f"TDS with particles={self.particles}, threshold={self.threshold}, spread={self.spread}: expected 1 or more "
                "particles, a threshold in [0, 1] and a spread of 0 or more"
            )

    def __call__(
        self,
        score: ScoreModel,
        grid: Points,
        noise: Noise,
        like: Images,
        x_start: Images | None = None,
        keep_path: bool = False,
    ) -> Samples:
        """See Sampler. Particles start as samples of the prior, so an x_start is refused."""
        if x_start is not None:
            raise ConfigError(
                "TDS with start images: its particles start as samples of the prior; remove the start images"
            )
        return super().__call__(score, grid, noise, like, None, keep_path)

    def nfe(self, num_steps: int) -> int:
        return num_steps * self.particles

    def jacobian_products(self, num_steps: int) -> int:
        return num_steps * self.particles

    def begin(self, x: Images) -> Particles:
        """All particles at x; the first step redraws all but the first of them from the prior."""
        b, k = len(x), self.particles
        repeated = jnp.broadcast_to(x[:, None], (b, k, *x.shape[1:]))
        nothing = jnp.zeros((b, k), x.dtype)
        size = jnp.full(b, k, x.dtype)
        return Particles(repeated, nothing, nothing[:, 0], size, nothing, jnp.zeros(b, jnp.int32))

    def result(self, state: Particles) -> Images:
        return jax.vmap(lambda x, i: x[i])(state.x, state.chosen)

    def figures(self, state: Particles) -> dict[str, PerImage]:
        return {"effective_particles": state.least_size}

    def step(self, score: Any, grid: Points, noise: Noise, k: Index, state: Particles) -> Particles:
        t, s, last = grid[k], grid[k + 1], k == grid.shape[0] - 2
        x = self._started(noise, k, state.x)
        unguided, guess, gradient = self._twisted(score, x, t)
        # the approximate likelihood at x_t completes the weight of the step that led there
        weighed = dataclasses.replace(state, log_weights=state.log_weights + state.pending + guess)
        taken, resampled = self._resampled(noise, k, weighed)
        x, unguided, guess, gradient = jax.tree.map(
            lambda leaf: jax.vmap(lambda one, i: one[i])(leaf, taken),
            (x, unguided, guess, gradient),
        )
        a, variance = self.sde.alpha_between(s, t), self.sde.variance_between(s, t)
        std, z = jnp.sqrt(variance), noise(k, 0, x)
        moved = (x + variance * (unguided + gradient)) / a + std * z
        # ln p - ln q of the step: both are normal with this std, and p's mean lacks the gradient
        apart = std * gradient / a
        ratio = -jnp.sum(_flat(apart * z + 0.5 * jnp.square(apart)), axis=2)
        likelihood = self._each(
            lambda score, x: score.measurement.log_likelihood(score.measured(), x)
        )
        ends = jnp.where(last, likelihood(score, moved), 0.0)
        weights = resampled.log_weights + jnp.where(last, ratio - guess + ends, 0.0)
        size = jnp.where(last, effective_size(weights), jnp.inf)
        return dataclasses.replace(
            resampled,
            x=moved,
            log_weights=weights,
            pending=ratio - guess,
            least_size=jnp.minimum(resampled.least_size, size),
            chosen=self._chosen(noise, k, weights),
        )

    def _started(self, noise: Noise, k: Index, x: Array) -> Array:
        """The particles x; before the first step, all but the first are drawn from the prior."""

        def draw(x: Array) -> Array:
            return self.sde.prior_sample(noise(START, 1, x)).at[:, 0].set(x[:, 0])

        return jax.lax.cond(k == 0, draw, lambda x: x, x)

    def _each(self, function: Any) -> Any:
        """Make `function(score, x)` apply to the particles as one batch of images, with the y and condition of each image."""
        k = self.particles

        def call(score: PosteriorScore, x: Array) -> Any:
            condition = jax.tree.map(lambda leaf: jnp.repeat(leaf, k, axis=0), condition_of(score))
            out = function(score.given(condition), x.reshape(-1, *x.shape[2:]))
            return jax.tree.map(lambda leaf: leaf.reshape(-1, k, *leaf.shape[1:]), out)

        return call

    def _twisted(self, score: Any, x: Array, t: Scalar) -> tuple[Array, Weights, Array]:
        """The model's score at the particles, ln p~_t(y | x_t), and the gradient of the latter."""
        alpha, sigma = jnp.square(self.sde.alpha(t)), jnp.square(self.sde.sigma(t))
        more = self.spread * sigma / (alpha + sigma)

        def at(score: PosteriorScore, x: Images) -> tuple[Images, PerImage, Images]:
            std = jnp.sqrt(jnp.square(score.measurement.std) + more)
            wider = dataclasses.replace(score.measurement, std=std)
            times = batch_times(x, t)

            def guess(x: Images) -> tuple[Scalar, tuple[PerImage, Images]]:
                unguided = score(x, times)
                x_hat = denoise(self.sde, unguided, x, times)
                log = wider.log_likelihood(score.measured(), x_hat)
                return jnp.sum(log), (log, unguided)

            gradient, (log, unguided) = jax.grad(guess, has_aux=True)(x)
            return unguided, log, gradient

        return self._each(at)(score, x)

    def _resampled(
        self, noise: Noise, k: Index, state: Particles
    ) -> tuple[Integer[Array, "b k"], Particles]:
        """The places of the particles that are kept, and the state with updated weights and evidence."""
        size = effective_size(state.log_weights)
        # below the threshold; at threshold 1, always
        bad = (size < self.threshold * self.particles) | (self.threshold == 1)
        draw = jax.vmap(RESAMPLING[self.resampling])
        drawn = draw(jax.nn.softmax(state.log_weights), uniform(noise(k, 1, state.log_weights)))
        taken = jnp.where(bad[:, None], drawn, jnp.arange(self.particles)[None])
        added = jnp.where(bad, _log_mean(state.log_weights), 0.0)
        return taken, dataclasses.replace(
            state,
            log_weights=jnp.where(bad[:, None], 0.0, state.log_weights),
            log_evidence=state.log_evidence + added,
            least_size=jnp.minimum(state.least_size, size),
        )

    def _chosen(self, noise: Noise, k: Index, log_weights: Weights) -> Integer[Array, "b"]:
        draw = jax.vmap(RESAMPLING["multinomial"])
        return draw(jax.nn.softmax(log_weights), uniform(noise(k, 2, log_weights)))[:, 0]


def _flat(x: Array) -> Float[Array, "b k d"]:
    return x.reshape(*x.shape[:2], -1)


def _log_mean(log_weights: Weights) -> PerImage:
    return jax.nn.logsumexp(log_weights, axis=1) - jnp.log(log_weights.shape[1])
