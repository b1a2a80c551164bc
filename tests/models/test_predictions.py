"""The outputs of exact networks of each prediction kind, converted to the score in closed form."""

from contextlib import nullcontext

import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.errors import ConfigError
from score_sde.models.exact import GaussianScore
from score_sde.models.parameterization import build_parameterization
from score_sde.models.predictions import FlowPrediction
from score_sde.models.score import NetworkScore, denoise
from score_sde.sde_lib import VE, VP, Linear, SubVP
from score_sde.sde_lib.edm import EDM

PROCESSES = [VP(), SubVP(), VE()]
T = np.array([1e-4, 0.05, 0.3, 0.8])  # float64, as the tests under x64 are


def built(sde, predicts="process", continuous=True, **model):
    config = get_config()
    config.training.continuous = continuous
    config.model.update(predicts=predicts, **model)
    return build_parameterization(config, sde)


def states(sde, ell, mean=0.2):
    """x at the times T, its score, and E[x_0 | x] and E[eps | x] by regression, for data N(mean, ell)."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
    score = GaussianScore.create(mean * jnp.ones(3), ell * jnp.eye(3), sde)(x, T)
    alpha, sigma = sde.alpha(T)[:, None], sde.sigma(T)[:, None]
    c = alpha**2 * ell + sigma**2
    x0 = mean + alpha * ell / c * (x - alpha * mean)
    noise = sigma / c * (x - alpha * mean)
    return x, score, x0, noise


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_exact_outputs_give_the_exact_score(x64, sde):
    x, score, x0, noise = states(sde, 0.3)
    alpha, sigma = sde.alpha(T)[:, None], sde.sigma(T)[:, None]
    velocity = (alpha * noise - sigma * x0) / jnp.sqrt(alpha**2 + sigma**2)
    flow = sde.reverse_drift(x, T, score, h=0.0)
    spread = 0.25 * alpha**2 + sigma**2
    edm = (x0 - 0.25 * alpha * x / spread) * jnp.sqrt(spread) / (0.5 * sigma)
    outputs = {
        "noise": noise,
        "score": score,
        "x0": x0,
        "velocity": velocity,
        "flow": flow,
        "edm": edm,
    }
    for predicts, out in outputs.items():
        got = built(sde, predicts).score(out, x, T)
        np.testing.assert_allclose(got, score, rtol=1e-6, err_msg=predicts)
        got = built(sde, predicts).velocity(out, x, T)
        # Two terms of opposite signs: at t = 1e-4 they are a thousand times as large as what is left.
        np.testing.assert_allclose(got, flow, rtol=1e-8, atol=1e-8, err_msg=predicts)


@pytest.mark.parametrize("predicts", ["x0", "velocity", "flow", "edm"])
def test_velocities_at_the_end_of_the_straight_path(x64, predicts):
    """Only noise is left: E[x_0 | x] is the mean of the data for any x, and the velocity is x minus it."""
    x, mean, end = jnp.array([[0.3, -2.0]]), 0.2, jnp.ones(1)
    outputs = {
        "x0": mean * jnp.ones_like(x),
        "velocity": -mean * jnp.ones_like(x),
        "flow": x - mean,
    }
    outputs["edm"] = outputs["x0"] / 0.5
    got = built(Linear(), predicts).velocity(outputs[predicts], x, end)
    np.testing.assert_allclose(got, x - mean, rtol=1e-14)


@pytest.mark.parametrize("predicts", ["noise", "score"])
def test_what_says_nothing_at_the_end_is_refused(predicts):
    with pytest.raises(ValueError, match="set model.predicts=flow, velocity, x0 or edm"):
        built(Linear(), predicts)
    assert isinstance(built(Linear(), "process"), FlowPrediction)


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_edms_constants(x64, sde):
    """At sigma = sigma_data = 1/2: c_skip = 1/2, c_out = 1/(2 sqrt 2), c_in = sqrt 2, c_noise = ln(1/2)/4."""
    t = sde.time_of_log_snr(jnp.full(2, 2 * np.log(2.0)))
    x, out = jnp.array([[0.3], [-2.0]]), jnp.array([[0.7], [0.1]])
    edm = built(sde, "edm")
    np.testing.assert_allclose(edm.noise_input(t), np.log(0.5) / 4, rtol=1e-9)
    x_hat = x / sde.alpha(t)[:, None]
    np.testing.assert_allclose(edm.inputs(x, t), np.sqrt(2) * x_hat, rtol=1e-9)
    denoised = denoise(sde, edm.score(out, x, t), x, t)
    np.testing.assert_allclose(denoised, x_hat / 2 + out / (2 * np.sqrt(2)), rtol=1e-9)
    # A Fourier embedding takes a logarithm first.
    fourier = built(sde, "edm", embedding_type="fourier")
    np.testing.assert_allclose(jnp.log(fourier.noise_input(t)), np.log(0.5) / 4, rtol=1e-9)


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_edms_zero_output_is_right_for_white_data(x64, sde):
    """Data N(0, sigma_data^2): E[x_0 | x] = c_skip x, and the network's input has variance 1 at every time."""
    x, score, _, _ = states(sde, 0.09, mean=0.0)
    edm = built(sde, "edm", sigma_data=0.3)
    np.testing.assert_allclose(edm.score(jnp.zeros_like(x), x, T), score, rtol=1e-9)
    spread = jnp.sqrt(sde.alpha(T) ** 2 * 0.09 + sde.sigma(T) ** 2)[:, None]
    np.testing.assert_allclose(edm.inputs(spread * x, T), x, rtol=1e-9)


@pytest.mark.parametrize("predicts", ["x0", "velocity", "edm"])
def test_networks_are_told_and_asked_as_their_prediction_says(predicts):
    """A network that returns its input: it receives `inputs`, and `score` gets the state itself."""
    sde = VP()
    parameterization = built(sde, predicts)
    model = NetworkScore(
        {}, lambda v, x, noise, condition, keys: x * noise[:, None], parameterization
    )
    x, t = jnp.ones((2, 3)), jnp.array([0.2, 0.6])
    out = parameterization.inputs(x, t) * parameterization.noise_input(t)[:, None]
    np.testing.assert_allclose(model(x, t), parameterization.score(out, x, t), rtol=1e-6)


def test_noise_inputs_follow_the_process():
    """Labels for networks of noise, sigma for networks of the score, also if they predict noise."""
    t = jnp.array([0.5])
    for predicts in ("noise", "velocity"):
        np.testing.assert_allclose(built(VP(), predicts).noise_input(t), 499.5, rtol=1e-6)
        np.testing.assert_allclose(built(VE(), predicts).noise_input(t), np.sqrt(0.5), rtol=1e-6)


# A network divides by sigma only where it is given sigma, or a label of the table; a logarithm is of what is above 0.
BY_SIGMA, FOURIER, DDPM = (
    {"scale_by_sigma": True},
    {"embedding_type": "fourier"},
    {"name": "ddpm"},
)
LABELS = "Set model.embedding_type=fourier .ncsnpp., or model.scale_by_sigma=False"
LEVELS = "set model.embedding_type=positional, or training.continuous=True"
NOT_POSITIVE = "set model.embedding_type=positional, or model.name=edm_unet"


@pytest.mark.parametrize(
    ("sde", "continuous", "model", "refusal"),
    [
        (VE(), True, BY_SIGMA, LABELS),
        (VE(), True, BY_SIGMA | FOURIER | DDPM, LABELS),  # DDPM's embedding is always positional
        (VP(), True, BY_SIGMA | {"predicts": "score"}, LABELS),
        (VE(), True, BY_SIGMA | FOURIER, None),
        (VE(), True, BY_SIGMA | {"name": "uvit"}, None),  # which divides by nothing
        (VE(), False, BY_SIGMA, None),
        (VE(), False, BY_SIGMA | FOURIER | DDPM, None),
        (VE(), False, FOURIER, LEVELS),
        (VP(), False, FOURIER, LEVELS),
        (VP(), True, FOURIER, None),
        (VE(), True, FOURIER | {"predicts": "edm_ve"}, NOT_POSITIVE),
        (EDM(), True, FOURIER | {"predicts": "edm_iddpm"}, NOT_POSITIVE),
        (EDM(), True, FOURIER | {"predicts": "edm"}, None),
        (VE(), True, FOURIER | {"predicts": "edm_ve", "name": "edm_unet"}, None),
    ],
)
def test_noise_inputs_that_a_network_would_misread_are_refused(sde, continuous, model, refusal):
    """They used to give scores divided by the largest sigma at every noise level, or NaN."""
    expected = pytest.raises(ConfigError, match=refusal) if refusal else nullcontext()
    with expected:
        built(sde, continuous=continuous, **model)


def test_predictions_that_cannot_be_are_refused():
    with pytest.raises(
        ValueError, match="choose one of process, noise, score, x0, velocity, flow, edm"
    ):
        built(VP(), "x")
    with pytest.raises(ValueError, match="set model.scale_by_sigma=False"):
        built(VE(), "x0", scale_by_sigma=True)
    config = get_config()
    config.training.continuous, config.model.predicts = False, "velocity"
    with pytest.raises(ValueError, match="a chain's network predicts noise"):
        build_parameterization(config, VP())
