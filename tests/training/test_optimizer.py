"""The optimizer and the EMA of the weights, against calculations by hand or in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_sde.configs.default import get_config
from score_sde.training.optimizer import build_optimizer, learning_rate
from score_sde.training.state import ema_rate, update_ema


def optim(**fields):
    config = get_config()
    config.optim.update(fields)
    return config


def run(config, params, gradients):
    """The parameters before and after each update."""
    optimizer = build_optimizer(config)
    state, path = optimizer.init(params), [params]
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, path[-1])
        path.append(optax.apply_updates(path[-1], updates))
    return path


def test_warm_up_is_linear_from_zero():
    rate = learning_rate(optim(lr=0.8, warmup=4))
    # Powers of two, so float32 has them exactly but for lr itself.
    values = [float(rate(jnp.int32(n))) for n in (0, 1, 2, 4, 1000)]
    assert values == pytest.approx([0.0, 0.2, 0.4, 0.8, 0.8], rel=1e-6)
    assert float(learning_rate(optim(lr=0.8, warmup=0))(jnp.int32(0))) == pytest.approx(0.8)


def test_cosine_decay_begins_after_the_warm_up_and_ends_at_zero():
    config = optim(lr=1.0, warmup=10, decay="cosine")
    config.training.n_iters = 30
    rate = learning_rate(config)
    values = [float(rate(jnp.int32(n))) for n in (5, 10, 15, 20, 30, 99)]
    # (1 + cos(pi/4)) / 2 = .853553 a quarter of the way; 1e-7 is float32's cos(pi) + 1.
    assert values == pytest.approx([0.5, 1.0, 0.85355339, 0.5, 0.0, 0.0], abs=2e-7)


def test_the_first_update_of_a_warm_up_moves_nothing():
    params = {"a": jnp.array([1.0, -2.0])}
    gradient = {"a": jnp.array([0.3, 0.1])}
    start, first, second = run(optim(warmup=5), params, [gradient, gradient])
    np.testing.assert_array_equal(first["a"], start["a"])
    assert np.all(first["a"] != second["a"])


def test_the_clip_is_of_the_global_norm():
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    clip, state = build_optimizer(optim(grad_clip=1.0, warmup=0)), None
    state = clip.init(params)
    _, after = clip.update({"a": jnp.array([3.0]), "b": jnp.array([4.0])}, state, params)
    # |(3, 4)| = 5, so Adam is given (3, 4)/5, and its first moment is (1 - beta1) of that.
    assert float(after[1].mu["a"][0]) == pytest.approx(0.1 * 0.6, rel=1e-6)
    assert float(after[1].mu["b"][0]) == pytest.approx(0.1 * 0.8, rel=1e-6)
    for gradient, max_norm in ((0.5, 1.0), (3.0, -1.0)):  # below the norm; switched off
        optimizer = build_optimizer(optim(grad_clip=max_norm))
        _, after = optimizer.update(
            {"a": jnp.array([gradient]), "b": jnp.zeros(1)}, optimizer.init(params), params
        )
        assert float(after[1].mu["a"][0]) == pytest.approx(0.1 * gradient, rel=1e-6)


def test_adam_with_clip_and_decay_is_the_recursion_in_numpy():
    config = optim(
        lr=0.05, beta1=0.8, beta2=0.95, eps=1e-3, warmup=3, grad_clip=1.0, weight_decay=0.1
    )
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(5, 4))
    path = run(config, {"a": jnp.ones(4)}, [{"a": jnp.asarray(g, jnp.float32)} for g in gradients])

    p, m, v = np.ones(4), np.zeros(4), np.zeros(4)
    for n, gradient in enumerate(gradients):
        g = gradient / max(np.linalg.norm(gradient), 1.0)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        direction = (m / (1 - 0.8 ** (n + 1))) / (np.sqrt(v / (1 - 0.95 ** (n + 1))) + 1e-3)
        p = p - 0.05 * min(n / 3, 1.0) * (direction + 0.1 * p)
        # Float32 through a division by sqrt(v): a few ulp of the step, which is at most .05.
        np.testing.assert_allclose(path[n + 1]["a"], p, atol=1e-6)


def test_weight_decay_leaves_fourier_frequencies_alone():
    params = {"GaussianFourierProjection_0": {"W": jnp.ones(3)}, "Dense_0": {"kernel": jnp.ones(3)}}
    zero = jax.tree.map(jnp.zeros_like, params)
    _, after = run(optim(lr=0.1, warmup=0, weight_decay=0.5), params, [zero])
    np.testing.assert_array_equal(after["GaussianFourierProjection_0"]["W"], np.ones(3))
    np.testing.assert_allclose(after["Dense_0"]["kernel"], np.full(3, 1 - 0.1 * 0.5), rtol=1e-6)


def test_names_in_the_state_do_not_depend_on_the_settings():
    params = {"a": jnp.zeros(2)}
    plain, full = (
        build_optimizer(optim(**fields)).init(params)
        for fields in ({"grad_clip": -1.0}, {"weight_decay": 0.1, "decay": "cosine"})
    )
    names = [[p for p, _ in jax.tree_util.tree_leaves_with_path(s)] for s in (plain, full)]
    assert names[0] == names[1]


def test_the_average_by_hand():
    ema = update_ema({"a": jnp.array([1.0, 8.0])}, {"a": jnp.array([3.0, 0.0])}, jnp.float32(0.75))
    np.testing.assert_array_equal(ema["a"], [1.5, 6.0])


def test_the_average_of_a_parameter_that_rests_does_not_drift():
    p = jax.random.normal(jax.random.key(0), (1000,))
    ema = {"a": p}
    for n in range(50):
        ema = update_ema(ema, {"a": p}, jnp.float32(0.9 + 0.001 * n))
    np.testing.assert_array_equal(ema["a"], p)


def test_the_rate_of_the_average_warms_up():
    config = get_config()
    config.model.ema_rate = 0.9
    rates = [float(ema_rate(config, jnp.int32(step))) for step in (0, 1, 80, 10_000)]
    # (1 + n)/(10 + n) with n = 1 at the first update; it reaches .9 at n = 80.
    assert rates == pytest.approx([2 / 11, 3 / 12, 0.9, 0.9], rel=1e-6)
    config.model.ema_warmup = False
    assert float(ema_rate(config, jnp.int32(0))) == pytest.approx(0.9, rel=1e-6)
