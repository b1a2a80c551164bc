"""EDM's preconditioning, and its formulations of older models (Karras et al. 2022, Table 1); table: parameterization.py."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from score_sde.models.predictions import NoisePrediction, Prediction
from score_sde.sde_lib import expand
from score_sde.shapes import Images, PerImage


@dataclasses.dataclass(frozen=True)
class EDMPreconditioning(Prediction):
    """E[x_0 | x_t] = c_skip x/alpha + c_out F(c_in x/alpha; ln(rho)/4) (Karras et al. 2022, Eq. 7, Table 1).

    If sigma_data is the standard deviation of the data, the input and the target of F have variance 1 at every noise
    level, and a network that outputs 0 is the best linear denoiser of white data.
    """

    sigma_data: float = 0.5
    fourier: bool = False
    """Whether the embedding takes the logarithm of its noise input, which then is exp(ln(rho)/4)."""

    def noise_input(self, t: PerImage) -> PerImage:
        noise = -0.125 * self.sde.log_snr(t)
        return jnp.exp(noise) if self.fourier else noise

    def inputs(self, x: Images, t: PerImage) -> Images:
        return x / expand(self._spread(t), x)

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        """(alpha D - x) / sigma^2, with the two terms in x combined, as their difference loses digits at small sigma."""
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        spread = expand(self._spread(t), x)
        return self.sigma_data * alpha / (sigma * spread) * out - x / jnp.square(spread)

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        spread = expand(self._spread(t), x)
        # In the plane of x_0 / sigma_data and eps, x / spread is the component along (alpha sigma_data, sigma), and out the
        # one orthogonal to it.
        given = x / spread
        x0 = self.sigma_data * (alpha * self.sigma_data * given + sigma * out) / spread
        noise = (sigma * given - alpha * self.sigma_data * out) / spread
        return self.sde.velocity(x0, noise, t)

    def _spread(self, t: PerImage) -> PerImage:
        """Standard deviation of x_t for white data, alpha sqrt(rho^2 + sigma_data^2)."""
        return jnp.hypot(self.sde.sigma(t), self.sigma_data * self.sde.alpha(t))


class VEPreconditioning(Prediction):
    """E[x_0 | x_t] = x/alpha + rho F(x/alpha; ln(rho/2)), as EDM writes Song et al.'s VE (Karras et al. 2022, Table 1)."""

    def noise_input(self, t: PerImage) -> PerImage:
        return -0.5 * self.sde.log_snr(t) - math.log(2.0)

    def inputs(self, x: Images, t: PerImage) -> Images:
        return x / expand(self.sde.alpha(t), x)

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        return out / expand(self.sde.sigma(t), out)


IDDPM_LEVELS = 1000


class IDDPMPreconditioning(NoisePrediction):
    """E[x_0 | x_t] = x/alpha - rho F(x/r; M - 1 - j), where u_j is the level of Improved DDPM nearest to rho (Table 1).

    This is EDM's notation: F is eps_hat, and takes an integer level.
    """

    def noise_input(self, t: PerImage) -> PerImage:
        # Without u_M = 0, at which no network was trained.
        levels = jnp.asarray(iddpm_levels()[:-1], t.dtype)
        rho = jnp.exp(-0.5 * self.sde.log_snr(t))
        nearest = jnp.argmin(jnp.abs(rho[:, None] - levels[None, :]), axis=1)
        return (IDDPM_LEVELS - 1 - nearest).astype(t.dtype)

    def inputs(self, x: Images, t: PerImage) -> Images:
        return x / expand(jnp.hypot(self.sde.alpha(t), self.sde.sigma(t)), x)


def iddpm_levels() -> np.ndarray:
    """Levels u_0 > ... > u_M = 0, M = 1000: sigma/alpha of the cosine chain (Nichol & Dhariwal 2021, Eq. 17; Karras et al. 2022, Table 1).

    Each step to more noise keeps at least a thousandth of alpha^2.
    """
    angles = 0.5 * np.pi * np.arange(IDDPM_LEVELS + 1) / (IDDPM_LEVELS * 1.008)
    alpha_squared = np.sin(angles) ** 2
    levels = np.zeros(IDDPM_LEVELS + 1)
    for j in range(IDDPM_LEVELS, 0, -1):
        kept = max(alpha_squared[j - 1] / alpha_squared[j], 0.001)
        levels[j - 1] = np.sqrt((levels[j] ** 2 + 1.0) / kept - 1.0)
    return levels
