"""The flow's density matches its samples, and it starts as uniform noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import logistic

from score_sde.data.scaling import dequantize, scale, to_levels
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.likelihood.dequantization.flow import (
    DequantizationFlow,
    FlowDequantizer,
    init_params,
)

SHAPES = ((1, 1, 3), (3, 2, 1))


def flow_of(shape, num_levels=17, depth=3):
    return DequantizationFlow(num_levels, width=4, depth=depth)


def random_params(flow, shape, size, dtype=jnp.float32):
    """Weights of which none is zero, unlike the first ones."""
    params = jax.eval_shape(lambda: init_params(flow, shape, jax.random.key(0)))
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    return structure.unflatten(
        [jnp.asarray(size * rng.standard_normal(leaf.shape), dtype) for leaf in leaves]
    )


def images_of(n, shape, num_levels=17, seed=0):
    levels = np.random.default_rng(seed).integers(num_levels, size=(n, *shape))
    return levels.astype(np.min_scalar_type(num_levels - 1))


def test_it_starts_as_uniform_noise():
    """u equals that of the uniform dequantizer for the same keys, and ln q is exactly 0."""
    shape = (3, 4, 3)
    images, keys = images_of(5, shape), jax.random.split(jax.random.key(4), 5)
    flow = flow_of(shape)
    params = jax.jit(lambda: init_params(flow, shape, jax.random.key(0)))()
    u, log_q = jax.jit(FlowDequantizer(params, flow).__call__)(images, keys)
    expected, zero = UniformDequantizer()(images, keys)
    np.testing.assert_allclose(u, expected, atol=3e-7)
    np.testing.assert_array_equal(log_q, np.zeros(5))
    np.testing.assert_array_equal(zero, np.zeros(5))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_density_is_that_of_the_whole_map(shape, x64):
    """ln q(u) = ln f(e) - ln |det du/de|, with the Jacobian by automatic differentiation, in float64."""
    flow = flow_of(shape)
    params = random_params(flow, shape, 0.25, jnp.float64)
    images = jnp.asarray(images_of(3, shape))
    e = jnp.asarray(np.random.default_rng(2).logistic(size=(3, *shape)))

    def with_jacobian(e_and_image):
        def draw(flat):
            out = flow.apply({"params": params}, image[None], flat.reshape(1, *shape))
            return out[0].ravel(), out

        e, image = e_and_image
        return jax.jacfwd(draw, has_aux=True)(e.ravel())

    jacobians, (u, log_q) = jax.jit(lambda *pair: jax.lax.map(with_jacobian, pair))(e, images)
    _, log_dets = np.linalg.slogdet(jacobians)
    log_f = logistic.logpdf(np.asarray(e)).reshape(3, -1).sum(1)
    np.testing.assert_allclose(log_q[:, 0], log_f - log_dets, rtol=1e-10)
    # No number is left as it was drawn, and each depends on the others.
    assert np.abs(np.asarray(u[:, 0]) - logistic.cdf(np.asarray(e))).min() > 1e-6
    assert np.all(np.asarray(jacobians) != 0)


def test_the_density_of_one_pixel_integrates_to_one(x64):
    flow = flow_of((1, 1, 1))
    params = random_params(flow, (1, 1, 1), 0.6, jnp.float64)
    e = np.linspace(-60, 60, 60_001).reshape(-1, 1, 1, 1)
    draw = jax.jit(lambda images: flow.apply({"params": params}, images, jnp.asarray(e)))
    densities = []
    for level in (0, 16):
        u, log_q = draw(jnp.full(e.shape, level))
        u, q = np.asarray(u).ravel(), np.exp(np.asarray(log_q))
        assert u[0] < 1e-4
        assert u[-1] > 1 - 1e-4
        # Far from uniform, or the integral would be one by itself.
        assert np.ptp(q[np.abs(u - 0.5) < 0.4]) > 0.3
        np.testing.assert_allclose(np.trapezoid(q, u), 1, atol=2e-4)
        densities.append(np.interp(0.5, u, q))
    assert abs(densities[0] - densities[1]) > 1e-3  # conditional on the level


def test_noise_that_is_drawn_as_zero_has_a_density(monkeypatch):
    """One uniform number in 8 million is 0: about 20 among CIFAR-10's pixels in an epoch."""
    monkeypatch.setattr(
        "score_sde.likelihood.dequantization.flow.uniform",
        lambda images, keys: jnp.zeros(images.shape),
    )
    flow = flow_of((1, 1, 1))
    dequantizer = FlowDequantizer(random_params(flow, (1, 1, 1), 0.2), flow)
    u, log_q = jax.jit(dequantizer.__call__)(
        images_of(1, (1, 1, 1)), jax.random.split(jax.random.key(0), 1)
    )
    assert np.isfinite(u).all()
    assert np.isfinite(log_q).all()


def test_noise_is_of_the_images_own_key():
    shape = (3, 2, 1)
    flow = flow_of(shape)
    dequantizer = jax.jit(FlowDequantizer(random_params(flow, shape, 0.2), flow).__call__)
    images, keys = images_of(6, shape), jax.random.split(jax.random.key(0), 6)
    u, log_q = dequantizer(images, keys)
    chosen = np.array([5, 0, 2])
    some_u, some_q = dequantizer(images[chosen], keys[chosen])
    np.testing.assert_allclose(some_u, u[chosen], atol=1e-6)
    np.testing.assert_allclose(some_q, log_q[chosen], atol=1e-5)
    same_image, _ = dequantizer(np.repeat(images[:1], 6, axis=0), keys)
    assert len(np.unique(same_image)) == u.size


@pytest.mark.parametrize("num_levels", [2, 17, 256, 65536])
def test_images_come_back_exactly_however_extreme_the_flow(num_levels):
    shape = (4, 3, 1)
    flow = flow_of(shape, num_levels)
    dequantizer = jax.jit(FlowDequantizer(random_params(flow, shape, 4.0), flow).__call__)
    images = images_of(50, shape, num_levels)
    u, log_q = dequantizer(images, jax.random.split(jax.random.key(0), 50))
    # Noise piles up at both edges, where float32 sigmoids are 0 and 1.
    assert u.min() < 1e-6
    assert u.max() > 1 - 1e-6
    assert np.isfinite(log_q).all()
    for centered in (True, False):
        x = scale(dequantize(images, u, num_levels), centered)
        np.testing.assert_array_equal(to_levels(x, num_levels, centered, True), images)
