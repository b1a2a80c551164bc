"""The exact distribution of the reverse SDE's solvers along a grid, against recursions in NumPy, and their weak orders."""

import jax
import numpy as np
import pytest

from score_sde.samplers.grids import log_snr_grid, uniform_grid
from score_sde.samplers.sde import SDE_SOLVERS, ReverseSDE
from score_sde.sde_lib import VE, VP, SubVP
from tests.fast_cases import fast_where
from tests.samplers.closed_forms import FAST_VP, closed_form
from tests.samplers.gaussian_law import MU, SIGMA, measured_law

EPS = 1e-3


class Line:
    """One step from t to s of dx = (A x + b) ds + G dw in NumPy, on rows [x | 1 | W | H] of coefficients."""

    def __init__(self, sde, h, t, s, mu, sigma):
        self.sde, self.h, self.t, self.ds, self.mu, self.sigma = sde, h, t, t - s, mu, sigma
        d = len(mu)
        self.x, self.w, self.area = (np.eye(d, 3 * d + 1, k) for k in (0, d + 1, 2 * d + 1))

    def drift(self, z, c):
        """A(t - c ds) z + b(t - c ds)."""
        now = closed_form(self.sde, self.t - c * self.ds)
        d = len(self.mu)
        precision = np.linalg.inv(now.alpha**2 * self.sigma + now.sigma**2 * np.eye(d))
        pull = 0.5 * (1 + self.h**2) * now.g_squared * precision
        out = -now.f * z - pull @ z
        out[:, d] += pull @ (now.alpha * self.mu)
        return out

    def noise(self, c):
        return self.h * np.sqrt(closed_form(self.sde, self.t - c * self.ds).g_squared)


def euler(line):
    """Maruyama 1955."""
    return line.x + line.ds * line.drift(line.x, 0) + line.noise(0) * line.w


def heun(line):
    end = euler(line)
    mean_drift = 0.5 * (line.drift(line.x, 0) + line.drift(end, 1))
    return line.x + line.ds * mean_drift + 0.5 * (line.noise(0) + line.noise(1)) * line.w


def growing(line):
    """Integral of G dw where G is linear in s: G_0 W + (G_1 - G_0)(W/2 - H)."""
    return line.noise(0) * line.w + (line.noise(1) - line.noise(0)) * (0.5 * line.w - line.area)


def sea(line):
    """Foster, dos Reis and Strange 2023, Eq. 5.8."""
    middle = line.x + line.noise(0) * (0.5 * line.w + line.area)
    return line.x + line.ds * line.drift(middle, 0) + growing(line)


def sra1(line):
    """Roessler 2010, Table 6.2, whose I_(1,0)/h is W/2 + H."""
    first, g = line.drift(line.x, 0), line.noise(0)
    stage = line.x + 0.75 * line.ds * first + 1.5 * g * (0.5 * line.w + line.area)
    mean_drift = first / 3 + 2 / 3 * line.drift(stage, 0.75)
    return line.x + line.ds * mean_drift + growing(line)


def shark(line):
    """Foster, dos Reis and Strange 2023, Eq. 6.1."""
    shifted = line.x + line.noise(0) * line.area
    first = line.drift(shifted, 0)
    stage = shifted + 5 / 6 * (line.ds * first + line.noise(0) * line.w)
    mean_drift = 0.4 * first + 0.6 * line.drift(stage, 5 / 6)
    return line.x + line.ds * mean_drift + growing(line)


STEPS_IN_NUMPY = {"euler": euler, "heun": heun, "sea": sea, "sra1": sra1, "shark": shark}


def recursion(sde, name, h, grid, mu=MU, sigma=SIGMA):
    """Mean and covariance after the whole grid, from the prior: M' = A M + b, V' = A V A^T + P P^T ds + Q Q^T ds/12."""
    d = len(mu)
    mean, covariance = np.zeros(d), closed_form(sde, grid[0]).prior_std ** 2 * np.eye(d)
    for t, s in zip(grid[:-1], grid[1:], strict=True):
        line = Line(sde, h, t, s, mu, sigma)
        a, b, p, q = np.split(STEPS_IN_NUMPY[name](line), [d, d + 1, 2 * d + 1], axis=1)
        mean = a @ mean + b[:, 0]
        covariance = a @ covariance @ a.T + line.ds * (p @ p.T + q @ q.T / 12)
    return mean, covariance


H_OF = {VP(): 1.0, SubVP(): 0.5, VE(): 1.5}
CASES = [
    *((sde, name, h) for sde, h in H_OF.items() for name in SDE_SOLVERS),
    (VE(), "shark", 1.0),
    (SubVP(), "heun", 0.0),
]


def is_fast(sde, name, h):
    """Every solver under VP, and every h and process by one or two."""
    return sde == VP() or (sde, name, h) in [
        (SubVP(), "euler", 0.5),
        (SubVP(), "heun", 0.0),
        (VE(), "shark", 1.5),
    ]


@pytest.mark.parametrize(("sde", "name", "h"), fast_where(is_fast, CASES), ids=str)
def test_law_on_correlated_data(x64, sde, name, h):
    grid = uniform_grid(sde.T, EPS, 12)
    mean, covariance = measured_law(ReverseSDE(sde, name, h), grid, slots=2)
    expected_mean, expected = recursion(sde, name, h, np.linspace(1.0, EPS, 13))
    # Twelve steps overshoot in VE, whose law reaches 1e3 and more; round-off is that of the largest entry.
    scale = np.abs(expected).max()
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=1e-11 * np.sqrt(scale))


def exact_variance(sde, h, variance):
    """Of the continuous process from the prior at T down to EPS, on data N(0.5, variance); and its mean."""
    start, end = closed_form(sde, 1.0), closed_form(sde, EPS)
    c_start, c_end = (at.alpha**2 * variance + at.sigma**2 for at in (start, end))
    k = (c_end / c_start) ** (0.5 * (1 + h**2)) * (start.alpha / end.alpha) ** (h**2)
    return 0.5 * (end.alpha - k * start.alpha), c_end + k**2 * (start.prior_std**2 - c_start)


def weak_errors(sde, name, h, num_steps):
    """Of mean and variance in the recursion, on a grid of equal steps of the log-SNR."""
    with jax.enable_x64(True):
        grid = np.asarray(log_snr_grid(sde, 1.0, EPS, num_steps))
    mean, covariance = recursion(sde, name, h, grid, np.array([0.5]), np.array([[0.25]]))
    expected_mean, expected = exact_variance(sde, h, 0.25)
    return abs(mean[0] - expected_mean), abs(covariance[0, 0] - expected)


WEAK_ORDERS = {"euler": 1, "heun": 2, "sea": 1, "sra1": 2, "shark": 2}


@pytest.mark.parametrize("name", list(WEAK_ORDERS))
@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_weak_order(sde, name):
    """For every h the distribution converges to that of the continuous process with the order of the method."""
    for h in (0.0, 0.5, 1.0, 1.5):
        coarse, fine = (np.hypot(*weak_errors(sde, name, h, n)) for n in (200, 400))
        assert np.log2(coarse / fine) >= WEAK_ORDERS[name] - 0.15
        assert fine < {1: 0.03, 2: 3e-4}[WEAK_ORDERS[name]]
