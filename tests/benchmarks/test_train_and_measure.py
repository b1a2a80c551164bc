"""Training and measuring a benchmark's network for which both results are known."""

import math

import jax.numpy as jnp
import pytest

from benchmarks.trained import train_and_measure, without_records
from score_sde.models.networks import NETWORKS
from tests.benchmarks.still import Still, still


def test_a_network_that_stands_still(monkeypatch):
    """A zero score. B is the integral of beta, (0.1 + 20)/2 up to 1e-5 of it, and 2/17 is the width of a level.

    The flow shrinks an image by exp(-B/2): -ln p = ln(2 pi)/2 + B/2 a number. The bound has E x_T^2 / 2 = 1/2 more. It is the mean of
    38/2 |z|^2 over 38 of log-SNR at most, whose standard error, of 4096 draws for each of 4 images of 64 numbers, is 0.027 a number.
    """
    monkeypatch.setitem(NETWORKS, "still", Still)
    config = without_records(still(), 2)
    config.likelihood.bound_draws = 4096
    found = train_and_measure(config)
    nats = 0.5 * math.log(2 * math.pi) + 0.25 * 20.1 + math.log(17 / 2)
    ode, ode_error, bound, bound_error = found.figures
    assert ode * math.log(2) == pytest.approx(nats, abs=2e-3)
    assert bound * math.log(2) == pytest.approx(nats + 0.5, abs=0.13)
    # Of four images, whose flows differ by nothing.
    assert ode_error < 1e-3 < bound_error < 0.1
    assert found.model(jnp.ones((1, 8, 8, 1)), jnp.ones(1)) == pytest.approx(0, abs=1e-6)
