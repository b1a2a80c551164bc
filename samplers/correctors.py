"""Correctors: one Langevin step at a fixed time t, which (nearly) preserves the marginal at t.

Each is a function (score_model, sde, x, t, a, z, snr) -> x with x and z (b, ...), t a scalar and `a` the mean coefficient
alpha(t_k)/alpha(t_{k+1}) of one step of the grid. It takes one evaluation of the score model. Both return

    x + step score + sqrt(2 step) z

and differ in the step size. score_sde scales it by alpha_i = 1 - beta_i for VP and 1 for VE, which is a^2 for any process. A
finite step leaves a bias: on isotropic data the variance under Langevin steps converges to 1 + snr^2 times the true one, 2.6
% too much at 0.16, however many steps there are.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from score_sde.models.score import ScoreModel, score_at
from score_sde.samplers.predictors import batch_times
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Images, PerImage, Scalar

Corrector = Callable[[ScoreModel, SDE, Images, Scalar, Scalar, Images, float], Images]


def _norms(x: Images) -> PerImage:
    """L2 norm of each image."""
    return jnp.linalg.norm(x.reshape(x.shape[0], -1), axis=1)


def langevin(
    score: ScoreModel, sde: SDE, x: Images, t: Scalar, a: Scalar, z: Images, snr: float
) -> Images:
    """Langevin corrector with step = 2 a^2 (snr |z| / |score|)^2 (Song et al. 2021, Alg. 4 and 5).

    The norms are those of each image; score_sde averages them over the batch, which makes an image depend on the others in
    it.
    """
    gradient = score_at(score, x, batch_times(x, t))
    step = expand(2.0 * jnp.square(a * snr * _norms(z) / _norms(gradient)), x)
    return x + step * gradient + jnp.sqrt(2.0 * step) * z


def annealed_langevin(
    score: ScoreModel, sde: SDE, x: Images, t: Scalar, a: Scalar, z: Images, snr: float
) -> Images:
    """Annealed Langevin corrector with step = 2 a^2 (snr sigma(t))^2 (Song and Ermon 2019, Alg. 1).

    For VE, where a = 1, this is NCSN's step eta sigma^2 / sigma_min^2 with snr = sqrt(eta / 2) / sigma_min, which is 0.316
    for its eta = 2e-5 and sigma_min = 0.01. This follows the NCSN code; the step of the algorithm as printed is half of it,
    snr = 0.224.
    """
    step = 2.0 * jnp.square(a * snr * sde.sigma(t))
    return x + step * score_at(score, x, batch_times(x, t)) + jnp.sqrt(2.0 * step) * z


CORRECTORS: dict[str, Corrector | None] = {
    "langevin": langevin,
    "ald": annealed_langevin,
    "none": None,
}
