"""The distributions that the reverse processes reach from the prior on Gaussian data, against closed forms.

For dx = [f x - (1 + h^2)/2 g^2 score] dt + h g dw with the exact score, a direction of variance l ends at eps as

    mean  alpha_eps mu - K alpha_T mu,    variance  c_eps + K^2 (prior^2 - c_T),
    K = (c_eps/c_T)^((1 + h^2)/2) (alpha_T/alpha_eps)^(h^2),    c_t = alpha_t^2 l + sigma_t^2:

the marginal plus the remaining mismatch of the prior. On Gaussian data the moments obey ODEs,
dm/dt = b(m) and dV/dt = 2 b' V - h^2 g^2 with affine drift b, so no path is simulated.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.models.exact import GaussianScore
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.sde_lib import (
    EDM,
    VE,
    VP,
    Cosine,
    ScaledLinear,
    ShiftedCosine,
    SubVP,
    Trigonometric,
)
from tests.fast_cases import fast_where, product_where

MEAN, VARIANCE = 0.5, 0.25
EPS = {
    VP(): 1e-3, SubVP(): 1e-3, VE(): 1e-5, Cosine(): 1e-3, ShiftedCosine(log_snr_shift=-1.4): 1e-3,
    ScaledLinear(0.85, 12.0): 1e-3, EDM(): 2e-3, Trigonometric(): 4e-3,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("x64")


def law_at_eps(sde, h):
    """Mean and variance, by the moments' equations from the prior at T down to eps."""
    score = GaussianScore(jnp.full(1, MEAN), jnp.full(1, VARIANCE), jnp.eye(1), sde)

    def moments(t, state, score):
        mean, variance = state
        times = t[None]

        def drift(x):
            x = x[None, None]
            return sde.reverse_drift(x, times, score(x, times), h)[0, 0]

        rate, slope = jax.jvp(drift, (mean,), (jnp.ones(()),))
        return rate, 2 * slope * variance - sde.reverse_diffusion(times, h)[0] ** 2

    start = jnp.zeros(()), jnp.asarray(sde.prior_std**2)
    solver = AdaptiveSolver("dopri8", 1e-11, 1e-11)
    times = jnp.asarray([sde.T, EPS[sde]])
    mean, variance = jax.jit(lambda y: solver.solve(moments, y, times, score).y)(start)
    return float(mean), float(variance)


@pytest.mark.parametrize(
    ("sde", "h"),
    product_where(
        # Sub-VP's is below.
        lambda sde, h: (
            (h == 0.5 and sde not in (SubVP(), VE())) or (sde, h) in [(VP(), 0.0), (VE(), 1.5)]
        ),
        EPS,
        [0.0, 0.5, 1.0, 1.5],
    ),
    ids=str,
)
def test_law_of_the_family(sde, h):
    times = jnp.asarray([EPS[sde], sde.T])
    (alpha_eps, alpha_end), sigmas = np.asarray(sde.alpha(times)), np.asarray(sde.sigma(times))
    c_eps, c_end = (
        alpha_eps**2 * VARIANCE + sigmas[0] ** 2,
        alpha_end**2 * VARIANCE + sigmas[1] ** 2,
    )
    gain = (c_eps / c_end) ** ((1 + h**2) / 2) * (alpha_end / alpha_eps) ** (h**2)
    mean = alpha_eps * MEAN - gain * alpha_end * MEAN
    variance = c_eps + gain**2 * (sde.prior_std**2 - c_end)
    # A hundred tolerances of the solver; of VE's variances, which begin at 2,500, more.
    np.testing.assert_allclose(law_at_eps(sde, h), (mean, variance), rtol=1e-8)


# of the reverse SDE, to seven digits
SDE_LAW = {
    VP(): (0.4999671, 0.2500825),
    SubVP(): (0.4999671, 0.2499725),
    VE(): (0.4999500, 0.2501000),
}


@pytest.mark.parametrize("sde", fast_where(lambda sde: sde == SubVP(), zip(SDE_LAW)), ids=repr)
def test_law_of_the_reverse_sde(sde):
    """The ODE's reference values are in tests/samplers/test_ode.py."""
    assert law_at_eps(sde, 1.0) == pytest.approx(SDE_LAW[sde], abs=6e-8)


def test_white_data_are_at_rest_under_vp():
    """N(0, I) is VP's marginal at all times: the score is -x, and the flow does not move."""
    x, t = jnp.asarray([[1.0, -2.0], [0.3, 5.0]]), jnp.asarray([0.1, 0.9])
    velocity = VP().reverse_drift(x, t, -x, h=0.0)
    np.testing.assert_allclose(velocity, 0.0, atol=1e-14)
