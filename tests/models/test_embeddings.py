"""Embeddings of the noise level against the published code and against exact values."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.models.embeddings import (
    GaussianFourierProjection,
    positional_embedding,
    sigma_of_label,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "op_embedding.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.parametrize("dim", [32, 33])
def test_published_positional_embedding(golden, dim):
    got = positional_embedding(jnp.asarray(golden["labels"]), dim)
    # Arguments reach 999 radians, where float32 is spaced by 6e-5.
    assert_allclose(got, golden[f"timestep_embedding_{dim}"], atol=2e-4)
    assert got.shape == (6, dim)
    assert dim % 2 == 0 or not got[:, -1].any()


def test_positional_embedding_of_small_labels(golden):
    """For small arguments, to float32 precision: the k-th frequency is 10000^(-k / 15)."""
    labels = np.array([0.0, 0.25, 1.0, 3.0])
    angles = labels[:, None] * 10_000.0 ** (-np.arange(16) / 15)
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    assert_allclose(positional_embedding(jnp.float32(labels), 32), expected, atol=5e-7)


def test_published_fourier_embedding(golden):
    module, W = GaussianFourierProjection(16), golden["W"]
    got = module.apply({"params": {"W": W}}, jnp.log(golden["sigma"]))
    # Arguments reach hundreds of radians; the published float32 values are as far from float64.
    assert_allclose(got, golden["fourier"], atol=3e-4)
    with jax.enable_x64(True):
        log_sigma = jnp.log(jnp.asarray(golden["sigma"], jnp.float64))
        exact = module.apply({"params": {"W": jnp.asarray(W, jnp.float64)}}, log_sigma)
    assert_allclose(exact, golden["fourier_f64"], atol=1e-11)


def test_fourier_frequencies_are_drawn_but_not_trained():
    module = GaussianFourierProjection(4096, scale=16.0)
    params = module.init(jax.random.key(0), jnp.zeros(2))["params"]
    # Standard error of the std of 4096 normals: 16 / sqrt(2 * 4096) = 0.18; five of them.
    assert abs(params["W"].std() - 16) < 0.9
    grad = jax.grad(lambda p: module.apply({"params": p}, jnp.ones(2)).sum())(params)
    assert not grad["W"].any()


def test_sigma_of_label_falls_geometrically():
    labels = jnp.array([0.0, 1.0, 1.9, 4.0])
    sigma = sigma_of_label(labels, sigma_min=0.01, sigma_max=100.0, num_scales=5)
    assert_allclose(sigma, [100.0, 10.0, 10.0, 0.01], rtol=1e-6)


def test_sigma_of_label_outside_the_table_is_nan():
    sigma = sigma_of_label(jnp.array([-1.0, -0.5, 5.0]), 0.01, 100.0, 5)
    assert np.isnan(sigma).all()
