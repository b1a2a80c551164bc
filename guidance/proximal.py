"""The denoised image corrected towards the measurement, without a Jacobian: DDNM, DiffPIR.

The denoised image x_hat is replaced by the mean of x_0 given y under N(x_hat, V) with V = (sigma/alpha)^2 / lambda I,

    x_hat' = x_hat + A^T (lambda sigma_y^2 (alpha/sigma)^2 I + A A^T)^{-1} (y - A x_hat),

and the score by the one whose denoised image is x_hat', so that it works with every sampler and process. The sampler
of the DiffPIR paper is `Renoised` in samplers/decoupled.py.
"""

from __future__ import annotations

import flax.struct
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.guidance.posterior import PosteriorScore
from score_sde.measurements.measurement import Measurement, spectral
from score_sde.models.score import ScoreModel, denoise
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Images, PerImage


@flax.struct.dataclass
class ProximalScore(PosteriorScore):
    """The score whose denoised image is x_hat'. Cost: one evaluation."""

    weight: float = flax.struct.field(pytree_node=False, default=1.0)
    """The weight lambda."""

    def __call__(self, x: Images, t: PerImage) -> Images:
        y, score = self.measured(), self.model(x, t)
        r = self.measurement.residual(y, denoise(self.sde, score, x, t))
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        noise = self.weight * jnp.square(self.measurement.std * alpha / sigma)
        moved = spectral(self.measurement, "DDNM or DiffPIR").regularized(r, noise, 1.0)
        return score + alpha / jnp.square(sigma) * moved


def ddnm(model: ScoreModel, measurement: Measurement, sde: SDE) -> ProximalScore:
    """DDNM: lambda = 0, x_hat' = A^+ y + (I - A^+ A) x_hat (Wang et al. 2023), which reproduces y including its noise.

    With a final Tweedie step, A x_0 = y up to rounding.

    Raises:
      ConfigError: the singular values of A are not known, or sigma_y > 0.
    """
    spectral(measurement, "DDNM")
    if measurement.std > 0:
        raise ConfigError(
            f"DDNM with sigma_y={measurement.std} would reproduce the noise; use DiffPIR or DDRM, or set sigma_y=0 if that is intended"
        )
    return ProximalScore(model, measurement, sde, weight=0.0)


def diffpir(
    model: ScoreModel, measurement: Measurement, sde: SDE, weight: float = 1.0
) -> ProximalScore:
    """DiffPIR's proximal step (Zhu et al. 2023); `weight` is its lambda.

    Raises:
      ConfigError: the singular values of A are not known, or lambda <= 0.
    """
    spectral(measurement, "DiffPIR")
    if not weight > 0:
        raise ConfigError(f"DiffPIR with lambda={weight}: expected a positive weight; 0 is DDNM")
    return ProximalScore(model, measurement, sde, weight=weight)
