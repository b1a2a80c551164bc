"""The published finite chains: tables against products of their steps and published constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.sde_lib import VE, VP, DDPMChain, SMLDChain

CHAINS = [VP().chain(1000), VP(0.3, 12.0).chain(100), VE().chain(1000), VE(0.02, 90.0).chain(100)]


@pytest.fixture(params=CHAINS, ids=repr)
def chain(request):
    return request.param


def compose(chain):
    """Mean coefficient and variance of x_i | x_0, by taking the forward steps one after the other."""
    levels = jnp.arange(chain.num_scales)
    shift, noise = jax.jit(chain.step)(jnp.ones((chain.num_scales, 1)), levels)
    factors = 1.0 + np.asarray(shift, np.float64)[:, 0]
    noise = np.asarray(noise, np.float64)
    mean, variance, means, variances = 1.0, 0.0, [], []
    for a, g in zip(factors, noise, strict=True):
        mean, variance = a * mean, a**2 * variance + g**2
        means.append(mean)
        variances.append(variance)
    return np.array(means), np.array(variances)


@pytest.mark.usefixtures("x64")
def test_steps_compose_to_the_tables(chain):
    means, variances = compose(chain)
    # N steps, each rounded at 2e-16: at most 2e-13 for N = 1000.
    assert_allclose(chain.alphas, means, rtol=1e-12)
    assert_allclose(chain.sigmas**2, variances, rtol=1e-12)
    assert_allclose(np.cumprod(chain.step_alphas), means, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_step_acts_image_by_image(chain):
    x = jnp.arange(2 * 3 * 4, dtype=jnp.float64).reshape(2, 3, 4)
    level = jnp.array([0, chain.num_scales - 1])
    shift, noise = jax.jit(chain.step)(x, level)
    for image, i in enumerate(level):
        a = float(chain.step_alphas[i])
        assert_allclose(x[image] + shift[image], a * x[image], rtol=1e-14)
    # A difference of neighbouring variances, rounded otherwise outside jit.
    assert_allclose(noise, chain.step_sigmas[level], rtol=1e-13)


def test_float32_tables_keep_their_digits(chain):
    means, variances = compose(chain)
    assert chain.sigmas.dtype == jnp.float32
    # The steps read back are float32 themselves: a sum of N roundings of 6e-8, which average out as sqrt(N).
    assert_allclose(chain.alphas, means, rtol=1e-5)
    assert_allclose(chain.sigmas**2, variances, rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_ddpm_constants():
    chain = VP().chain(1000)
    alphas_bar = np.asarray(chain.alphas) ** 2
    assert_allclose(np.asarray(chain.betas)[[0, -1]], [1e-4, 0.02], rtol=1e-14)
    assert_allclose(
        alphas_bar[[0, 499]], [0.9999, 0.0785872], rtol=7e-7
    )  # half a unit of the last digit
    assert_allclose(alphas_bar[999], 4.03583e-5, rtol=2e-6)
    # beta_i N = beta(i/(N-1)): the chain samples the rate of the continuous process.
    assert_allclose(1000 * chain.betas, VP().beta(jnp.arange(1000) / 999), rtol=1e-13)


@pytest.mark.usefixtures("x64")
def test_smld_constants():
    sigmas = np.asarray(VE().chain(1000).sigmas)
    assert_allclose(sigmas[[0, -1]], [0.01, 50.0], rtol=1e-14)
    assert_allclose(sigmas[1:] / sigmas[:-1], 1.00856, rtol=5e-6)
    # sigma_i = sigma(i/(N-1)): the chain samples the continuous process.
    assert_allclose(sigmas, VE().sigma(jnp.arange(1000) / 999), rtol=1e-12)


@pytest.mark.parametrize("num_scales", [1, 0, -3])
@pytest.mark.parametrize("sde", [VP(), VE()], ids=repr)
def test_a_chain_has_at_least_two_levels(sde, num_scales):
    with pytest.raises(ValueError, match=rf"num_scales={num_scales}: .* at least 2"):
        sde.chain(num_scales)


@pytest.mark.parametrize("num_scales", [2, 19, 20])
def test_ddpm_needs_more_levels_than_beta_max(num_scales):
    with pytest.raises(ValueError, match=rf"beta_max=20.0 with model.num_scales={num_scales}"):
        VP().chain(num_scales)
    assert np.all(np.isfinite(VP().chain(21).sigmas))


def test_chains_are_hashable_values():
    assert VP().chain(1000) == DDPMChain(1000, 0.1, 20.0)
    assert hash(VE().chain(10)) == hash(SMLDChain(10, 0.01, 50.0))
