"""Weightings against the squared errors they stand for, and against numbers by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.errors import ConfigError, UserError
from score_sde.models.exact import GaussianScore
from score_sde.models.score import denoise, predicted_noise
from score_sde.sde_lib import SDES, VE, VP, SubVP, build_sde
from score_sde.training.weightings import FLOW_WEIGHTINGS, WEIGHTINGS, build_weighting


def weighting(name, sde, **fields):
    config = get_config()
    config.training.update(weighting=name, **fields)
    return build_weighting(config, sde)


@pytest.mark.parametrize("sde", [VP(), SubVP(), VE()], ids=repr)
def test_errors_of_x0_and_of_the_velocity(x64, sde):
    """For any score, |x0_hat - x0|^2 and |v_hat - v|^2 are the squared error of the noise times the weight."""
    rng = np.random.default_rng(0)
    x0, z = (jnp.asarray(rng.normal(size=(5, 3))) for _ in range(2))
    t = jnp.array([1e-4, 0.1, 0.4, 0.7, 1.0])
    alpha, sigma = sde.alpha(t)[:, None], sde.sigma(t)[:, None]
    x = alpha * x0 + sigma * z
    score = GaussianScore.create(0.3 * jnp.ones(3), 0.7 * jnp.eye(3), sde)(x, t)
    noise, x0_hat = predicted_noise(sde, score, t), denoise(sde, score, x, t)
    r = jnp.sqrt(alpha**2 + sigma**2)
    velocity = (alpha * z - sigma * x0) / r, (alpha * noise - sigma * x0_hat) / r
    squares = jnp.sum((noise - z) ** 2, axis=1)
    for name, error in (("x0", x0_hat - x0), ("velocity", velocity[1] - velocity[0])):
        expected = jnp.sum(error**2, axis=1)
        np.testing.assert_allclose(weighting(name, sde)(t) * squares, expected, rtol=1e-9)


def test_the_velocity_of_a_variance_preserving_process(x64):
    """Its squared error is that of the noise over alpha^2 (Salimans & Ho 2022)."""
    t = jnp.array([0.01, 0.5, 1.0])
    np.testing.assert_allclose(weighting("velocity", VP())(t), VP().alpha(t) ** -2, rtol=1e-9)


def test_weights_at_known_signal_to_noise_ratios(x64):
    """SNR 20, 10, 1 and 1/4: min(5 / SNR, 1), 1 / (1 + SNR), and with k = 2, gamma = 1/2."""
    t = VP().time_of_log_snr(jnp.log(jnp.array([20.0, 10.0, 1.0, 0.25])))
    np.testing.assert_allclose(weighting("min_snr", VP())(t), [0.25, 0.5, 1, 1], rtol=1e-9)
    np.testing.assert_allclose(
        weighting("min_snr", VP(), min_snr=2.0)(t), [0.1, 0.2, 1, 1], rtol=1e-9
    )
    np.testing.assert_allclose(weighting("p2", VP())(t), [1 / 21, 1 / 11, 0.5, 0.8], rtol=1e-9)
    np.testing.assert_allclose(
        weighting("p2", VP(), p2_k=2.0, p2_gamma=0.5)(t),
        [22**-0.5, 12**-0.5, 3**-0.5, 2.25**-0.5],
        rtol=1e-9,
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda t: VP().log_snr(t),
            r"'own' is -0.0\d+ at t=0.26",
        ),  # negative once there is more noise than signal
        (lambda t: 1.0 / (1.0 - t), r"'own' is inf at t=1:"),
        (lambda t: jnp.sqrt(t - 0.5), r"'own' is nan at t=1e-05"),
        (lambda t: -1.0, r"'own' is -1 at t=1e-05"),
    ],
    ids=["negative", "infinite", "not a number", "constant"],
)
def test_weights_that_are_negative_or_not_finite_are_refused(wrong, message, monkeypatch):
    monkeypatch.setitem(WEIGHTINGS, "own", lambda config, sde: wrong)
    with pytest.raises(ConfigError, match=message):
        weighting("own", VP())


def test_a_weight_may_be_zero(monkeypatch):
    monkeypatch.setitem(
        WEIGHTINGS, "own", lambda config, sde: lambda t: jnp.where(t < 0.5, 0.0, 1.0)
    )
    weighting("own", VP())


@pytest.mark.parametrize("name", [*WEIGHTINGS, *FLOW_WEIGHTINGS])
@pytest.mark.parametrize("process", SDES)
def test_no_weighting_of_a_process_is_refused(name, process):
    config = get_config()
    config.sde.name = process
    weighting(name, build_sde(config))


def test_unknown_weightings_are_refused():
    with pytest.raises(UserError, match=f"choose one of {', '.join(WEIGHTINGS)}"):
        weighting("x", VP())
