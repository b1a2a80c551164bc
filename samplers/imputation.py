"""Imputation of the known part of an image into every state, at the noise level of the state: imputation, MCG, RePaint.

    known(t) = alpha x_known + sigma z,    the other modes as the sampler has them,

in the modes of a measurement without noise: the pixels for inpainting, the basis of `grey` for colorization, which is Song
et al. 2021, App. I.2 and I.3, for any A with known singular values.

The known parts are noised independently of the rest of the state. Without a corrector, samples therefore do not follow the
posterior, however many steps there are: for two numbers of unit variance and correlation r, one of which is y, the mean of
the other is y (1 - sqrt(1 - r^2)) / r and its variance (1 - r^2)/(2 r) ln((1 + r)/(1 - r)). Correctors repair this, as do
the repetitions of RePaint. MCG's step towards the measurement leads to another wrong distribution.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.guidance.posterior import PosteriorScore, Unguided
from score_sde.measurements.measurement import Measurement, spectral
from score_sde.models.score import ScoreModel, denoise
from score_sde.samplers.correctors import Corrector
from score_sde.samplers.noise import Noise
from score_sde.samplers.predictors import Predictor, ancestral_forward, batch_times
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE
from score_sde.shapes import Array, Images, Index, Points, Scalar


def imputing(
    model: ScoreModel, measurement: Measurement, sde: SDE, method: str = "imputation"
) -> Unguided:
    """The score model for the samplers below, to which y is bound as {"measured": y}. Errors name the `method`.

    Raises:
      ConfigError: the singular values of A are not known, or sigma_y > 0.
    """
    spectral(measurement, method)
    if measurement.std > 0:
        raise ConfigError(
            f"{method} with sigma_y={measurement.std}: {method} treats the measurement as exact; set restore.measurement.sigma_y=0, or "
            "restore.method=ddrm"
        )
    return Unguided(model, measurement, sde)


def impute(score: PosteriorScore, sde: SDE, x: Images, t: Scalar, z: Images) -> Images:
    """x with its measured modes replaced by those of y at time t, using standard normal noise z."""
    linear, (known, is_known) = spectral(score.measurement, "imputation"), known_modes(score)
    return linear.image(
        jnp.where(is_known, sde.alpha(t) * known + sde.sigma(t) * z, linear.modes(x))
    )


def known_modes(score: PosteriorScore) -> tuple[Images, Array]:
    """The modes of x_0 that y determines, 0 for the others, and a mask (1, *dims) of which they are."""
    linear = spectral(score.measurement, "imputation")
    s = linear.singular_values[None]
    known = linear.measured_modes(score.measured()) / jnp.where(s > 0, s, 1.0)
    return jnp.where(s > 0, known, 0.0), s > 0


@dataclasses.dataclass(frozen=True)
class Imputation(SteppedSampler):
    """A predictor step, then corrector steps at the new time, each followed by imputation (Song et al. 2021, Alg. 4 and I.2).

    Noise slots: the predictor's, that of the imputation after it, and the same two for each corrector step.
    """

    sde: SDE
    predictor: Predictor
    corrector: Corrector | None = None
    snr: float = 0.16
    corrector_steps: int = 1

    def nfe(self, num_steps: int) -> int:
        return num_steps * (1 + (0 if self.corrector is None else self.corrector_steps))

    def step(self, score: Any, grid: Points, noise: Noise, k: Index, state: Images) -> Images:
        t, s = grid[k], grid[k + 1]
        x = self.predictor(score, self.sde, state, t, s, noise(k, 0, state))
        x = impute(score, self.sde, x, s, noise(k, 1, x))
        corrector, a = self.corrector, self.sde.alpha_between(s, t)
        if corrector is None:
            return x

        def correct(j: Index, x: Images) -> Images:
            z, put_in = noise(k, 2 + 2 * j, x), noise(k, 3 + 2 * j, x)
            x = corrector(score, self.sde, x, s, a, z, self.snr)
            return impute(score, self.sde, x, s, put_in)

        return jax.lax.fori_loop(0, self.corrector_steps, correct, x)


def found(score: Images) -> Any:
    """A score model that returns this score, for a predictor that evaluates it once, at the state where it was computed."""
    return lambda x, t: score


@dataclasses.dataclass(frozen=True)
class MCG(SteppedSampler):
    """Imputation preceded by a step towards the measurement (Chung et al. 2022, manifold constraints).

        x <- predicted x - alpha d/dx_t |y - A x_hat(x_t)|^2 = predicted x + 2 alpha J^T A^T (y - A x_hat),

    where `scale` is 2 alpha, the same at all steps; the published code divides it by |y - A x_hat|. This is not a step of a process, so a finer grid samples another
    distribution. Cost: per step one evaluation, whose score the predictor reuses, and one product with the Jacobian. Noise
    slots: the predictor's, that of the imputation.
    """

    sde: SDE
    predictor: Predictor = ancestral_forward
    scale: float = 1.0

    def nfe(self, num_steps: int) -> int:
        return num_steps

    def jacobian_products(self, num_steps: int) -> int:
        return num_steps

    def step(self, score: Any, grid: Points, noise: Noise, k: Index, state: Images) -> Images:
        t, s = grid[k], grid[k + 1]
        times = batch_times(state, t)

        def mean(x: Images) -> tuple[Images, Images]:
            here = score(x, times)
            return denoise(self.sde, here, x, times), here

        x_hat, pullback, here = jax.vjp(mean, state, has_aux=True)
        r = score.measurement.residual(score.measured(), x_hat)
        (towards,) = pullback(spectral(score.measurement, "MCG").transpose(r))
        x = self.predictor(found(here), self.sde, state, t, s, noise(k, 0, state))
        return impute(score, self.sde, x + self.scale * towards, s, noise(k, 1, x))


@dataclasses.dataclass(frozen=True)
class RePaint(SteppedSampler):
    """Takes every `jump` steps `repeats` times, going back over them by the forward process in between (Lugmayr et al. 2022).

    The last steps are repeated too, unlike in the paper. A step of the loop is a jump, so a path has one state per jump.
    Noise slots of each repetition: those of the predictor and of the imputation for each step, and that of the forward
    process.

    Raises:
      ConfigError: fewer than one repetition or step per jump, or a grid that is not a whole number of jumps.
    """

    sde: SDE
    repeats: int = 10
    predictor: Predictor = ancestral_forward
    jump: int = 1

    def __post_init__(self):
        if self.repeats < 1 or self.jump < 1:
            raise ConfigError(
                f"RePaint with repeats={self.repeats}, jump={self.jump}: expected 1 or more of each"
            )

    def num_steps(self, grid: Points) -> int:
        steps = grid.shape[0] - 1
        if steps % self.jump:
            raise ConfigError(
                f"RePaint with jump={self.jump} along a grid of {steps} steps: expected a whole number of jumps"
            )
        return steps // self.jump

    def nfe(self, num_steps: int) -> int:
        return num_steps * self.repeats * self.jump

    def step(self, score: Any, grid: Points, noise: Noise, k: Index, state: Images) -> Images:
        first, slots = k * self.jump, 2 * self.jump + 1
        t, s = grid[first], grid[first + self.jump]
        a, variance = self.sde.alpha_between(s, t), self.sde.variance_between(s, t)

        def down(i: Index, x: Images) -> Images:
            def one(j: Index, x: Images) -> Images:
                now, then, slot = grid[first + j], grid[first + j + 1], i * slots + 2 * j
                x = self.predictor(score, self.sde, x, now, then, noise(k, slot, x))
                return impute(score, self.sde, x, then, noise(k, slot + 1, x))

            return jax.lax.fori_loop(0, self.jump, one, x)

        def down_and_up(i: Index, x: Images) -> Images:
            x = down(i, x)
            return a * x + jnp.sqrt(variance) * noise(k, i * slots + slots - 1, x)

        last = self.repeats - 1
        return down(last, jax.lax.fori_loop(0, last, down_and_up, state))
