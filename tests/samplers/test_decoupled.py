"""DAPS, PnP-DM and DiffPIR's own sampler: exact distributions on Gaussian data, where each is affine in its noise, in float64.

The reference is a recursion of matrices in NumPy, and PnP-DM's stationary distribution in closed form.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.errors import ConfigError
from score_sde.evaluation.affine_law import affine_law
from score_sde.guidance.proximal import diffpir
from score_sde.measurements.matrices import LinearFunction, Matrix
from score_sde.measurements.measurement import Measurement
from score_sde.models.exact import GaussianScore
from score_sde.samplers.decoupled import DAPS, PnPDM, Renoised, splitting
from score_sde.samplers.given_gaussian import Exact, Langevin
from score_sde.samplers.grids import uniform_grid
from score_sde.sde_lib import VE, VP
from tests.samplers.closed_forms import closed_form

D, M = 2, 1
MU, SIGMA = np.array([0.3, -0.2]), np.array([[1.0, 0.8], [0.8, 1.0]])
A, Y, STD = np.array([[1.2, 0.5]]), np.array([0.9]), 0.4
EPS, STEPS = 1e-3, 5
ONE = np.eye(D)
GRID = np.linspace(1.0, EPS, STEPS + 1)


class Affine(NamedTuple):
    """matrix x + offset + noise of this covariance."""

    matrix: np.ndarray
    offset: np.ndarray
    covariance: np.ndarray

    def then(self, after):
        m = after.matrix
        return Affine(
            m @ self.matrix,
            m @ self.offset + after.offset,
            m @ self.covariance @ m.T + after.covariance,
        )


def scaled(c, noise=0.0, offset=None):
    return Affine(c * ONE, np.zeros(D) if offset is None else offset, noise**2 * ONE)


def denoiser(t):
    """E[x_0 | x_t]."""
    at = closed_form(VP(), t)
    gain = at.alpha * SIGMA @ np.linalg.inv(at.alpha**2 * SIGMA + at.sigma**2 * ONE)
    return Affine(gain, MU - at.alpha * gain @ MU, 0 * ONE)


def combined(a, first, b, second):
    """a first(x) + b second(x), without noise."""
    return Affine(
        a * first.matrix + b * second.matrix, a * first.offset + b * second.offset, 0 * ONE
    )


def between(t, n):
    """n + 1 times from t to EPS, of equal steps of the log-SNR: VP's integral of beta is ln(1 + (sigma/alpha)^2)."""
    ends = [closed_form(VP(), end) for end in (t, EPS)]
    ratios = np.geomspace(*[(end.sigma / end.alpha) ** 2 for end in ends], n + 1)
    return (np.sqrt(0.01 + 4 * 9.95 * np.log1p(ratios)) - 0.1) / (2 * 9.95)


def exact_draw(variance):
    """x_0 given y where it is N(x, variance I) before."""
    gain = variance * A.T @ np.linalg.inv(variance * A @ A.T + STD**2 * np.eye(M))
    return Affine(ONE - gain @ A, gain @ Y, variance * (ONE - gain @ A))


def langevin_draw(variance, steps, rate):
    """Of (x, where the chain is), which begin alike."""
    h = rate / (1 / variance + 1 / STD**2)
    here = Affine(ONE, np.zeros(D), 0 * ONE)
    for _ in range(steps):
        matrix = ONE - h * (ONE / variance + A.T @ A / STD**2)
        here = Affine(
            matrix @ here.matrix + h / variance * ONE,
            matrix @ here.offset + h * A.T @ Y / STD**2,
            matrix @ here.covariance @ matrix.T + 2 * h * ONE,
        )
    return here


def ode(t, n):
    times, here = between(t, n), scaled(1.0)
    for now, then in zip(times[:-2], times[1:-1], strict=True):
        a, b = closed_form(VP(), now), closed_form(VP(), then)
        towards = combined(1 / a.sigma, scaled(1.0), -a.alpha / a.sigma, denoiser(now))
        here = here.then(combined(b.alpha, denoiser(now), b.sigma, towards))
    return here.then(denoiser(times[-2]))


def law_of(sampler, build, slots, begin=1.0, steps=STEPS):
    model = GaussianScore.create(jnp.asarray(MU), jnp.asarray(SIGMA), VP())
    score = build(model, Measurement.of(Matrix.of(A, (D,)), STD), VP())
    told = {"measured": jnp.asarray(Y)}
    return affine_law(sampler, score, uniform_grid(begin, EPS, steps), (D,), told, slots, steps)


def same_law(law, chain):
    """From N(0, I)."""
    assert_allclose(law.mean, chain.offset, atol=1e-9)
    assert_allclose(law.covariance, chain.matrix @ chain.matrix.T + chain.covariance, atol=1e-9)


@pytest.mark.parametrize("draw", [Exact(), Langevin(3, 0.4)], ids=["exact", "langevin"])
def test_daps_by_recursion(x64, draw):
    chain = scaled(1.0)
    for t, s in zip(GRID[:-1], GRID[1:], strict=True):
        at, then = closed_form(VP(), t), closed_form(VP(), s)
        variance = (0.7 * at.sigma / at.alpha) ** 2
        given = exact_draw(variance) if draw == Exact() else langevin_draw(variance, 3, 0.4)
        chain = chain.then(ode(t, 3)).then(given).then(scaled(then.alpha, then.sigma))
    same_law(law_of(DAPS(VP(), draw, 3, 0.7), splitting, 1 + draw.slots), chain)


def test_pnp_dm_by_recursion(x64):
    """eta decreases with the times to .5 and stays there."""
    end, chain = closed_form(VP(), EPS), scaled(1.0)
    for t in GRID[:-1]:
        at = closed_form(VP(), t)
        eta = max(0.5, at.sigma / at.alpha)
        chain = chain.then(scaled(1 / end.alpha)).then(exact_draw(eta**2))
        begins = (np.sqrt(0.01 + 4 * 9.95 * np.log1p(eta**2)) - 0.1) / (2 * 9.95)
        chain = chain.then(scaled(closed_form(VP(), begins).alpha))
        times = between(begins, 4)
        for now, then in zip(times[:-1], times[1:], strict=True):
            a, b = closed_form(VP(), now), closed_form(VP(), then)
            ratio = a.alpha / b.alpha
            tau = np.sqrt(a.sigma**2 - ratio**2 * b.sigma**2)
            pull = tau**2 / a.sigma**2  # of the score, (alpha x_hat - x) / sigma^2
            mean = combined((1 - pull) / ratio, scaled(1.0), a.alpha * pull / ratio, denoiser(now))
            chain = chain.then(mean).then(scaled(1.0, tau))
    same_law(law_of(PnPDM(VP(), 0.5, 4), splitting, 5), chain)


def test_the_start_of_pnp_dm_is_of_the_datas_size():
    """If the prior has size 50, like eta, the start would otherwise contribute half of the first coupled image."""
    z = jnp.asarray([[0.3, -1.0]])
    assert_allclose(PnPDM(VE()).begin(VE().prior_sample(z)), z, rtol=1e-6)


def test_the_stationary_law_of_pnp_dm(x64):
    """With fixed coupling it is the posterior for the noise sigma_y^2 I + eta^2 A A^T, extrapolated from two numbers of
    prior steps. The noise of the images at eps is 1e-4."""
    eta = 1.2
    coarse, fine = (law_of(PnPDM(VP(), eta, n), splitting, 1 + n, 0.2, 20) for n in (16, 32))
    of_y = A @ SIGMA @ A.T + STD**2 * np.eye(M) + eta**2 * A @ A.T
    gain = SIGMA @ A.T @ np.linalg.inv(of_y)
    mean, covariance = MU + gain @ (Y - A @ MU), SIGMA - gain @ A @ SIGMA
    assert_allclose(2 * fine.mean - coarse.mean, mean, atol=3e-3)
    assert_allclose(2 * fine.covariance - coarse.covariance, covariance, atol=3e-3)
    gain = (
        SIGMA @ A.T @ np.linalg.inv(of_y - eta**2 * A @ A.T)
    )  # the posterior's, from which it is far
    assert np.abs(MU + gain @ (Y - A @ MU) - mean).max() > 0.05
    assert np.abs(gain @ A @ SIGMA - (SIGMA - covariance)).max() > 0.05


def test_diffpirs_own_sampler_by_recursion(x64):
    zeta, weight, chain = 0.3, 2.0, scaled(1.0)
    for t, s in zip(GRID[:-1], GRID[1:], strict=True):
        at, then = closed_form(VP(), t), closed_form(VP(), s)
        moved = exact_draw((at.sigma / at.alpha) ** 2 / weight)
        image = denoiser(t).then(moved._replace(covariance=0 * ONE))
        left = combined(1 / at.sigma, scaled(1.0), -at.alpha / at.sigma, image)
        chain = chain.then(combined(then.alpha, image, then.sigma * np.sqrt(1 - zeta), left))
        chain = chain.then(scaled(1.0, then.sigma * np.sqrt(zeta)))
    same_law(law_of(Renoised(VP(), zeta), lambda *to: diffpir(*to, weight=weight), 1), chain)


def test_langevin_goes_to_the_exact_draw():
    """For many small steps, with the distribution by a recursion: only the variances are too large, by less than the rate."""
    variance = 0.5
    exact, found = exact_draw(variance), langevin_draw(variance, 2000, 0.02)
    assert_allclose(found.matrix, exact.matrix, atol=1e-6)
    assert_allclose(found.offset, exact.offset, atol=1e-6)
    assert_allclose(found.covariance, exact.covariance, atol=0.02)


def test_costs():
    assert (
        DAPS(VP(), ode_steps=4).nfe(10),
        PnPDM(VP(), prior_steps=7).nfe(10),
        Renoised(VP()).nfe(10),
    ) == (40, 70, 10)
    assert {
        sampler.jacobian_products(10) for sampler in (DAPS(VP()), PnPDM(VP()), Renoised(VP()))
    } == {0}


def test_what_they_refuse():
    linear, function = Matrix.of(A, (D,)), LinearFunction.of(lambda x: x[:1], (D,))
    for refused, words in (
        (lambda: DAPS(VP(), ode_steps=0), "ode_steps=0"),
        (lambda: DAPS(VP(), scale=0.0), "scale=0.0"),
        (lambda: PnPDM(VP(), prior_steps=0), "prior_steps=0"),
        (lambda: PnPDM(VP(), coupling=200.0), r"coupling in \[0, 152"),
        (lambda: Renoised(VP(), 1.1), "zeta=1.1"),
        (lambda: Langevin(0), "steps=0"),
        (lambda: Langevin(1, 0.0), "rate=0.0"),
        (
            lambda: splitting(None, Measurement.of(function, 0.1), VP()),
            "exact draw of x_0 needs the singular",
        ),
        (
            lambda: splitting(None, Measurement.of(linear, 0.0), VP(), Langevin()),
            "Langevin steps with sigma_y=0",
        ),
    ):
        with pytest.raises(ConfigError, match=words):
            refused()
    splitting(None, Measurement.of(function, 0.1), VP(), Langevin())
