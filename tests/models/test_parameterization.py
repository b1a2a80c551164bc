"""The time inputs of networks and the meaning of their outputs, with stand-in networks.

Golden files: score_sde_pytorch's get_score_fn (commit cb1f359) on its own networks. They contain the network's time
input, its output and the score, so a stand-in that returns the output tests both ends.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.models.parameterization import (
    DiscreteNoisePrediction,
    DiscreteScorePrediction,
    PublishedPCNoisePrediction,
    build_parameterization,
)
from score_sde.models.predictions import NoisePrediction, ScorePrediction
from score_sde.models.score import NetworkScore
from score_sde.sde_lib import SDE, VE, VP, NoDiscreteForm, SubVP

GOLDEN = Path(__file__).parents[1] / "golden"
PROCESSES = {"VPSDE": VP, "subVPSDE": SubVP, "VESDE": VE}


def config(continuous, num_scales=1000, discrete_labels="matched"):
    return SimpleNamespace(
        training=SimpleNamespace(continuous=continuous),
        model=SimpleNamespace(
            name="ncsnpp",
            embedding_type="positional",
            num_scales=num_scales,
            discrete_labels=discrete_labels,
            predicts="process",
            scale_by_sigma=False,
            condition_interval=False,
        ),
    )


class Recorder:
    """A network that returns what it is told to and remembers what it was given."""

    def __init__(self, out):
        self.out = out

    def __call__(self, variables, x, noise_input, condition, dropout_keys):
        self.given = (variables, x, noise_input, dropout_keys)
        return self.out


# ---- against the reference implementation ----------------------------------------------------------


@pytest.mark.parametrize("name", ["vp", "ve", "subvp", "vp_discrete", "ve_discrete"])
def test_golden_score(name):
    with np.load(GOLDEN / f"score_{name}.npz") as arrays:
        golden = dict(arrays)
    parameters = json.loads(str(golden["params_json"]))
    num_scales, continuous = parameters.pop("N"), parameters.pop("continuous")
    sde = PROCESSES[parameters.pop("sde")](**parameters)

    network = Recorder(jnp.asarray(golden["model_out"]))
    fields = config(continuous, num_scales, discrete_labels="published_pc")
    model = NetworkScore({}, network, build_parameterization(fields, sde))
    t = jnp.asarray(golden["t"])
    score = model(jnp.asarray(golden["x"]), t)

    # A product in float32; VE's sigma is the exponential of 8.5 t, 8.5 roundings of 6e-8 on either side.
    assert_allclose(network.given[2], golden["labels"], rtol=1e-6)
    # The reference takes 1 - exp(-B) or 1 - cumprod in float32: it is off by some 6e-8 of that difference.
    lost = (
        0.0
        if sde.predicts == "score"
        else 1.2e-7 / (1.0 - np.asarray(sde.alpha(t), np.float64) ** 2)
    )
    error = np.abs(score - golden["score"]) / np.abs(golden["score"])
    assert np.all(error.reshape(3, -1).max(axis=1) <= 1e-6 + lost)


def test_table_index_is_truncated_as_in_the_reference():
    with np.load(GOLDEN / "sde_vp_default.npz") as arrays:
        t, index = jnp.asarray(arrays["f32/t"]), arrays["f32/timestep"]
    fields = config(continuous=False, discrete_labels="published_pc")
    parameterization = build_parameterization(fields, VP())
    out = -jnp.ones((len(t), 1))
    score = parameterization.score(out, out, t)[:, 0]
    # Equality tells neighbouring levels apart, here by 1e-3 or more except at the noisy end.
    assert_allclose(score, 1.0 / VP().chain(1000).sigmas[index], rtol=1e-6)


# ---- by hand, from the published numbers -----------------------------------------------------------


@pytest.mark.parametrize(("sde", "std"), [(VP(), 0.6901596), (SubVP(), 0.47632028)], ids=repr)
def test_continuous_noise_prediction(sde, std):
    parameterization = build_parameterization(config(continuous=True, num_scales=17), sde)
    assert parameterization == NoisePrediction(sde)
    t, out = jnp.array([0.25, 0.25]), jnp.array([[2.0, -1.0], [0.0, 4.0]])
    assert_allclose(
        parameterization.noise_input(t), [249.75, 249.75], rtol=0
    )  # 999 t, whatever num_scales
    assert_allclose(
        parameterization.score(out, out, t), -np.asarray(out) / std, rtol=3e-7
    )  # float32


def test_continuous_score_prediction():
    parameterization = build_parameterization(config(continuous=True), VE())
    assert parameterization == ScorePrediction(VE())
    t, out = jnp.array([0.0, 0.5, 1.0]), jnp.arange(6.0).reshape(3, 2)
    assert_allclose(
        parameterization.noise_input(t), [0.01, 0.70710678, 50.0], rtol=1e-6
    )  # float32 exp(8.5)
    assert_allclose(parameterization.score(out, out, t), out, rtol=0)


def test_discrete_noise_prediction_is_exact_for_exact_noise(x64):
    """A network that is exact at every level of the chain gives the score of the process at every time.

    Data N(0, 1/4): the noise expected at signal a and spread s is s x / (a^2 / 4 + s^2). At a level between two
    of the table, its log-SNR is interpolated, the only assumption.
    """
    sde, chain = VP(), VP().chain(1000)
    betas = np.linspace(1e-4, 0.02, 1000)
    log_snrs = -np.log(np.expm1(-np.cumsum(np.log1p(-betas))))

    def network(variables, x, label, condition, dropout_keys):
        snr = np.exp(np.interp(label, np.arange(1000), log_snrs))[:, None]
        a2 = snr / (1 + snr)
        return np.sqrt(1 - a2) * x / (a2 / 4 + 1 - a2)

    parameterization = build_parameterization(config(continuous=False), sde)
    assert parameterization == DiscreteNoisePrediction(sde, chain)
    t = jnp.array([0.00123, 0.02, 0.5, 0.731, 1.0])
    x = jnp.linspace(-1.0, 2.0, 5)[:, None]
    a2 = np.exp(-(0.1 * t + 9.95 * t**2))[:, None]
    score = NetworkScore({}, network, parameterization)(x, t)
    # The chain's tables are float32 products.
    assert_allclose(score, -x / (a2 / 4 + 1 - a2), rtol=2e-6)


def test_discrete_noise_prediction_below_the_first_level():
    """For less noise than the chain's lowest level: its first label, and the score of the requested time."""
    parameterization = build_parameterization(config(continuous=False), VP())
    t = jnp.array([1e-5, 5e-4])
    assert_allclose(parameterization.noise_input(t), [0.0, 0.0], rtol=0)
    stds = [0.0010004971, np.sqrt(-np.expm1(-(5e-5 + 9.95 * 25e-8)))]
    out = -jnp.ones((2, 1))
    assert_allclose(parameterization.score(out, out, t)[:, 0], 1 / np.array(stds), rtol=1e-6)


def test_published_discrete_noise_predictions():
    """t (N - 1), not rounded, with the table read at its truncation, at levels 499, 999 and 0; or as if continuous."""
    t, out = jnp.array([0.5, 1.0, 0.001]), -jnp.ones((3, 1))
    fields = config(continuous=False, discrete_labels="published_pc")
    parameterization = build_parameterization(fields, VP())
    assert_allclose(parameterization.noise_input(t), [499.5, 999.0, 0.999], rtol=2e-7)
    stds = np.sqrt(1.0 - np.array([0.0785872, 4.03583e-5, 0.9999]))
    assert_allclose(parameterization.score(out, out, t)[:, 0], 1.0 / stds, rtol=3e-7)

    fields = config(continuous=False, num_scales=100, discrete_labels="published_ode")
    parameterization, continuous = build_parameterization(fields, VP()), NoisePrediction(VP())
    assert_allclose(parameterization.noise_input(t), [499.5, 999.0, 0.999], rtol=2e-7)
    assert_allclose(parameterization.score(out, out, t), continuous.score(out, out, t), rtol=0)


def test_unknown_discrete_labels_are_refused():
    fields = config(continuous=False, discrete_labels="rounded")
    with pytest.raises(ValueError, match="discrete_labels='rounded' is unknown.*published_ode"):
        build_parameterization(fields, VP())


def test_discrete_score_prediction():
    parameterization = build_parameterization(config(continuous=False, num_scales=11), VE())
    assert parameterization == DiscreteScorePrediction(VE(), VE().chain(11))
    t, out = jnp.array([1.0, 0.0, 0.32, 0.38]), jnp.arange(4.0)
    # Label 0 is the largest noise, and labels are rounded: 6.8 and 6.2 by hand.
    assert_allclose(parameterization.noise_input(t), [0.0, 10.0, 7.0, 6.0], rtol=0)
    assert_allclose(parameterization.score(out, out, t), out, rtol=0)


def test_labels_span_the_whole_time_of_a_process():
    class Long(VP):
        T = 4.0

    sde, t = Long(), jnp.array([0.0, 1.0, 4.0])
    assert_allclose(NoisePrediction(sde).noise_input(t), [0.0, 249.75, 999.0], rtol=0)
    assert_allclose(
        PublishedPCNoisePrediction(sde, sde.chain(101)).noise_input(t), [0.0, 25.0, 100.0], rtol=0
    )
    assert_allclose(
        DiscreteScorePrediction(sde, sde.chain(101)).noise_input(t), [100.0, 75.0, 0.0], rtol=0
    )


# ---- levels of the discrete chains -----------------------------------------------------------------


def test_ddpm_labels_are_the_levels():
    parameterization = build_parameterization(config(continuous=False), VP())
    level = jnp.array([0, 499, 999])
    assert_allclose(parameterization.noise_input_at_level(level), [0.0, 499.0, 999.0], rtol=0)
    stds = np.sqrt(1.0 - np.array([0.9999, 0.0785872, 4.03583e-5]))
    score = parameterization.score_at_level(-jnp.ones((3, 2, 2)), level)
    assert_allclose(score, np.broadcast_to(1.0 / stds[:, None, None], (3, 2, 2)), rtol=3e-7)


def test_smld_labels_count_down_from_the_largest_noise():
    parameterization = build_parameterization(config(continuous=False), VE())
    level = jnp.array([0, 998, 999])  # ascending noise
    assert_allclose(parameterization.noise_input_at_level(level), [999.0, 1.0, 0.0], rtol=0)
    assert_allclose(
        parameterization.score_at_level(jnp.arange(3.0), level), jnp.arange(3.0), rtol=0
    )


@pytest.mark.parametrize("sde", [VP(), VE()], ids=repr)
def test_levels_and_times_name_the_same_networks_inputs(sde):
    fields = config(continuous=False, discrete_labels="published_pc")
    parameterization = build_parameterization(fields, sde)
    level = jnp.array([0, 3, 500, 998])
    t = (level + 0.25) / 999  # inside the level for truncation and for rounding alike
    given = parameterization.noise_input_at_level(level)
    assert_allclose(parameterization.noise_input(t), given, atol=0.25 + 1e-3)
    out = jnp.ones((4, 2))
    assert_allclose(
        parameterization.score(out, out, t), parameterization.score_at_level(out, level), rtol=0
    )


# ---- which one -------------------------------------------------------------------------------------


def test_a_process_without_a_chain_has_no_discrete_training():
    with pytest.raises(NoDiscreteForm, match=r"SubVP .* set training\.continuous=True"):
        build_parameterization(config(continuous=False), SubVP())


def test_a_user_process_chooses_its_prediction():
    class Scores(SDE):
        predicts = "score"

        def alpha(self, t):
            return jnp.ones_like(t)

        def sigma(self, t):
            return 3.0 * t

    parameterization = build_parameterization(config(continuous=True), Scores())
    assert_allclose(parameterization.noise_input(jnp.array([0.5])), [1.5], rtol=0)


# ---- a network as a score model --------------------------------------------------------------------


def linear(variables, x, noise_input, condition, dropout_keys):
    del condition, dropout_keys
    return variables["params"]["scale"] * x + noise_input[:, None]


def network(scale, apply=linear):
    return NetworkScore({"scale": jnp.float32(scale)}, apply, NoisePrediction(VP()))


def test_network_score_is_network_and_parameterization():
    x, t = jnp.array([[1.0, 2.0], [3.0, -4.0]]), jnp.array([0.25, 0.25])
    expected = -(2.0 * np.asarray(x) + 249.75) / 0.6901596
    assert_allclose(network(2.0)(x, t), expected, rtol=3e-7)  # float32


def test_network_is_given_its_parameters_and_dropout_keys():
    stub = Recorder(jnp.zeros((2, 3)))
    model = NetworkScore("weights", stub, build_parameterization(config(continuous=False), VP()))
    x, t, keys = jnp.ones((2, 3)), jnp.full(2, 0.5), jax.random.split(jax.random.key(0))
    model(x, t)
    assert stub.given[0] == {"params": "weights"}
    assert stub.given[3] is None
    model(x, t, keys)
    assert stub.given[3] is keys
    model.at_level(x, jnp.array([1, 2]), keys)
    assert stub.given[1] is x
    assert stub.given[3] is keys
    assert_allclose(stub.given[2], [1.0, 2.0], rtol=0)


def test_at_level_is_network_and_parameterization():
    stub = Recorder(-jnp.ones((2, 1)))
    model = NetworkScore({}, stub, build_parameterization(config(continuous=False), VP()))
    score = model.at_level(jnp.zeros((2, 1)), jnp.array([0, 999]))
    stds = np.sqrt(1.0 - np.array([0.9999, 4.03583e-5]))
    assert_allclose(score[:, 0], 1.0 / stds, rtol=3e-7)


def test_only_other_networks_retrace():
    traces = []

    @jax.jit
    def evaluate(model, x, t):
        traces.append(None)
        return model(x, t)

    x, t = jnp.ones((2, 3)), jnp.full(2, 0.5)
    first, second = evaluate(network(1.0), x, t), evaluate(network(2.0), x, t)
    assert len(traces) == 1  # the parameterizations are two equal objects
    assert not np.allclose(first, second)
    evaluate(network(1.0, apply=lambda *args: linear(*args)), x, t)
    assert len(traces) == 2


def test_parameters_are_the_only_leaves():
    assert jax.tree.leaves(network(1.5)) == [jnp.float32(1.5)]
    doubled = jax.tree.map(lambda leaf: 2 * leaf, network(1.5))
    assert doubled.params["scale"] == 3.0
    assert doubled.parameterization == NoisePrediction(VP())
