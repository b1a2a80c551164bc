"""Chains with cosine rates and with fewer levels, against improved-diffusion's tables."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from score_sde.errors import ConfigError
from score_sde.sde_lib import VE, VP, Cosine
from score_sde.sde_lib.respacing import AtKeptLevels, kept_levels
from tests.fast_cases import product_where

SCHEDULES = Path(__file__).parents[1] / "golden" / "peers" / "gd_schedules.npz"
RESPACED = ["1000/ddim10", "1000/10,5,3", "1000/25", "300/10,15,20", "50/50", "100/2", "100/7,7"]


@pytest.fixture(scope="module")
def tables():
    with np.load(SCHEDULES) as file:
        return dict(file)


@pytest.mark.parametrize("levels", [4, 50, 1000])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_published_rates(x64, tables, name, levels):
    # Linear rates of 4 levels would reach 5, and are no chain here.
    if (name, levels) == ("linear", 4):
        pytest.skip("beta_max/N is above 1")
    chain = (VP() if name == "linear" else Cosine()).chain(levels)
    assert_allclose(chain.betas, tables[f"betas/{name}_{levels}"], rtol=1e-11)


@pytest.mark.parametrize("case", RESPACED)
def test_published_levels(case, tables):
    total, text = case.split("/")
    assert_array_equal(kept_levels(int(total), text), tables[f"respaced/{case}/timesteps"])


@pytest.mark.parametrize(
    ("case", "name"),
    product_where(
        lambda case, name: name == "cosine" or case == "1000/25", RESPACED, ["linear", "cosine"]
    ),
)
def test_published_rates_of_fewer_levels(x64, case, name, tables):
    """Also the variance of x_{i-1} given x_i and x_0, from tables of alpha and sigma."""
    total, text = case.split("/")
    chain = (VP() if name == "linear" else Cosine()).chain(int(total))
    fewer = chain.keeping(kept_levels(int(total), text))
    assert_allclose(fewer.betas, tables[f"respaced/{case}/betas_{name}"], rtol=1e-9)
    below = np.concatenate([[0.0], fewer.sigmas[:-1]])
    variances = np.square(fewer.step_sigmas * below / fewer.sigmas)
    # Theirs is 1 - ab of a number near 1.
    expected = tables[f"respaced/{case}/posterior_variance_{name}"]
    assert_allclose(variances, expected, rtol=1e-8)


def test_marginals_stay(x64):
    chain = Cosine().chain(100)
    kept = kept_levels(100, "7,7")
    fewer = chain.keeping(kept)
    assert fewer.num_scales == 14
    for table in ("alphas", "sigmas"):
        assert_allclose(getattr(fewer, table), getattr(chain, table)[np.array(kept)], rtol=1e-11)


def test_a_network_is_asked_at_its_own_levels():
    class Told:
        def at_level(self, x, level):
            return x * level[:, None]

    model = AtKeptLevels(Told(), (0, 7, 40))
    assert_array_equal(model.at_level(jnp.ones((2, 1)), jnp.array([1, 2])), [[7.0], [40.0]])


@pytest.mark.parametrize("text", ["x", "0", "ddim10,5", "", "1", "60,60", "ddim999", "ddim1"])
def test_levels_that_cannot_be_kept_are_refused(text):
    with pytest.raises(ConfigError, match="likelihood.chain_levels="):
        kept_levels(100, text)


def test_chains_whose_variance_grows_keep_all():
    with pytest.raises(ConfigError, match="only variance-preserving chains"):
        VE().chain(100).keeping((0, 50, 99))
