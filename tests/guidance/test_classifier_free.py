"""Classifier-free guidance against exact distributions of guided Gaussians, without sampling: everything is affine in the noise."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.configs.digits import digits_config
from score_sde.errors import UserError
from score_sde.generation.generate import build_generator
from score_sde.generation.guided import led_away, scores_a_call
from score_sde.generation.guides import NO_GUIDES
from score_sde.generation.sampled_score import sampled_score
from score_sde.guidance.classifier_free import ClassifierFree, guided
from score_sde.guidance.combinations import Extrapolated
from score_sde.models.networks import network_score
from score_sde.models.one_by_one import OneByOne
from score_sde.models.predictions import NoisePrediction
from score_sde.models.score import evaluations_of, score_and_variance
from score_sde.models.thresholding import StaticThreshold, ThresholdedScore
from score_sde.modes.sample import check, recorded
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.samplers.sde import ReverseSDE
from score_sde.sde_lib import VP, expand
from score_sde.spaces import build_space
from tests.generation.test_drivers import SHAPE, small
from tests.models.class_gaussians import ClassGaussians, labels
from tests.models.test_networks import SMALLEST, compiled, random_params
from tests.samplers.mixture_flow import mixture

EPS = 1e-3


def classes(mean=0.0):
    """Class 0 is N(mean, 1/4), no class N(0, 1)."""
    return ClassGaussians(jnp.array([mean, 0.0]), jnp.array([0.25, 1.0]), VP())


def asked(weight, n, mean=0.0):
    return guided(classes(mean), weight).given({"label": jnp.zeros(n, jnp.int32)})


def flow_law(weight, mean=0.0):
    """Mean and variance of the ODE's samples from N(0, 1): it carries 0 to the mean, and 1 a standard deviation further."""
    flow, x = ProbabilityFlow(VP(), AdaptiveSolver("dopri8", 1e-11, 1e-11)), jnp.eye(1, 2).T
    run = jax.jit(lambda model: flow(model, jnp.array([1.0, EPS]), None, x, x).x)
    one, nought = np.asarray(run(asked(weight, 2, mean)))[:, 0]
    return nought, (one - nought) ** 2


def sde_law(weight, num_steps, mean=0.0):
    """The same of the reverse SDE: one image without noise, each of the others with 1 in one of its places."""
    places = 1 + 2 * num_steps
    z = np.concatenate([np.zeros((1, places)), np.eye(places)])
    steps = jnp.asarray(z[:, 1:].reshape(-1, num_steps, 2, 1).transpose(1, 2, 0, 3))
    noise, like = RecordedNoise(jnp.asarray(z[:, :1]), steps), jnp.zeros((places + 1, 1))
    grid = log_snr_grid(VP(), 1.0, EPS, num_steps)
    run = jax.jit(lambda model, noise: ReverseSDE(VP(), "shark")(model, grid, noise, like).x)
    x = np.asarray(run(asked(weight, places + 1, mean), noise))[:, 0]
    return x[0], np.sum((x[1:] - x[0]) ** 2)


# Variances from (c_c(eps)/c_c(T))^(1+w) (c_u(eps)/c_u(T))^(-w), evaluated elsewhere in float64; not those of the tilted
# density p_c^(1+w) p_u^(-w), .142857 at w = 1 and .076923 at w = 3.
@pytest.mark.parametrize(
    ("weight", "variance"),
    [
        pytest.param(0, 0.2500906, marks=pytest.mark.slow),
        (1, 0.0625453),
        (3, 0.0039119),
        pytest.param(-1, 1.0, marks=pytest.mark.slow),
    ],
)
def test_variance_under_the_ode(x64, weight, variance):
    got_mean, got = flow_law(weight)
    assert abs(got - variance) < 0.51e-7
    assert abs(got_mean) < 1e-12


def test_mean_under_the_ode(x64):
    """A class with mean .5 and weight 1: the result lies beyond the class; the tilted density has mean .5714286."""
    assert abs(flow_law(1, mean=0.5)[0] - 0.6884507) < 0.51e-7


@pytest.mark.slow  # Samplers know nothing of guidance, and the ODE's laws are above.
@pytest.mark.parametrize(("weight", "variance"), [(1, 0.1094214), (3, 0.0476371)])
def test_law_under_the_sde(x64, weight, variance):
    """The distribution of the continuous process, extrapolated from two grids with the solver's weak order, 2."""
    coarse, fine = (np.array(sde_law(weight, n, mean=0.5)) for n in (100, 200))
    mean, limit = fine + (fine - coarse) / 3
    assert abs(limit - variance) < 1e-5
    if weight == 1:
        assert abs(mean - 0.6250042) < 1e-5
    assert abs(fine[1] - variance) < 1e-3


# ---- against the model it is made of ---------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    """A network of three classes bound to two images, and what asks a model for scores."""
    net = SMALLEST["ncsnpp"].copy(num_classes=3)
    model = network_score(net, random_params(net)["params"], NoisePrediction(VP()))
    x, t = jax.random.normal(jax.random.key(0), (2, 4, 4, 3)), jnp.array([0.2, 0.7])
    ask = compiled(lambda model: model(x, t))
    return model.given(labels(0, 2)), ask


def test_one_doubled_batch_is_two_calls(network):
    """In float32, for scores of order 1 and either order of binding."""
    model, ask = network
    conditional, free = np.asarray(ask(model)), np.asarray(ask(model.unconditional))
    assert (np.abs(conditional - free).max(axis=(1, 2, 3)) > 1e-2).all()
    scale = np.abs(conditional).max()
    got = ask(guided(model, 2.0))
    np.testing.assert_allclose(got, 3.0 * conditional - 2.0 * free, rtol=0, atol=3e-6 * scale)
    again = guided(model.given(()), 2.0).given(model.condition)
    np.testing.assert_array_equal(ask(again), got)
    one_by_one = ask(guided(OneByOne(model), 2.0))
    np.testing.assert_allclose(one_by_one, got, rtol=0, atol=3e-6 * scale)


def test_weights_that_cost_nothing(network):
    """Weight 0 is the conditional and -1 the unconditional model, bit for bit, whether the condition is bound before or after."""
    model, ask = network
    assert guided(model, 0.0) is model
    expected = ask(model.unconditional)
    for free in (guided(model, -1.0), guided(model.given(()), -1.0).given(model.condition)):
        np.testing.assert_array_equal(ask(free), expected)
        np.testing.assert_array_equal(ask(free.unconditional), expected)
    np.testing.assert_allclose(ask(ClassifierFree(model, Extrapolated(-1.0))), expected, atol=1e-5)
    np.testing.assert_array_equal(ask(guided(model, 2.0).unconditional), expected)


@flax.struct.dataclass
class TellsItsClass(ClassGaussians):
    """A model whose variance output is the class that it was asked with."""

    def with_variance(self, x, t):
        return self(x, t), expand(self.condition["label"].astype(x.dtype), x)


@pytest.mark.parametrize(
    ("weight", "said"), [(0.0, [0, 1]), (1.5, [0, 1]), (-1.0, [2, 2])], ids=str
)
def test_the_variance_is_that_given_the_class(weight, said):
    """And with weight -1 that without a class, here the last of three."""
    model = TellsItsClass(jnp.array([0.5, -1.0, 0.0]), jnp.array([0.25, 0.04, 1.0]), VP())
    around = guided(model, weight).given(labels(0, 1))
    _, v = score_and_variance(around, jnp.ones((2, 1)), jnp.array([0.2, 0.7]))
    np.testing.assert_array_equal(v[:, 0], said)


def test_each_image_is_guided_alone(x64):
    """With step sizes per image, an image in a mixed batch equals that in a batch of its class, bit for bit."""
    model = ClassGaussians(jnp.array([0.5, -1.0, 0.0]), jnp.array([0.25, 0.04, 1.0]), VP())
    flow = ProbabilityFlow(VP(), AdaptiveSolver("bosh3", 1e-3, 1e-3), each_image=True)
    x = jnp.linspace(-1.5, 1.5, 6).reshape(3, 2)
    run = jax.jit(lambda model: flow(model, jnp.array([1.0, EPS]), None, x, x).x)
    mixed = run(guided(model, 1.5).given(labels(1, 0, 1)))
    for k in (0, 1):
        of_class = run(guided(model, 1.5).given(labels(k, k, k)))
        rows = np.array([1, 0, 1]) == k
        np.testing.assert_array_equal(mixed[rows], of_class[rows])


# ---- what it costs ---------------------------------------------------------------------------------


def test_evaluations_are_of_the_model_inside():
    model = classes()
    costs = {weight: evaluations_of(guided(model, weight)) for weight in (-1.0, 0.0, 0.3)}
    assert costs == {-1.0: 1, 0.0: 1, 0.3: 2}
    around = ThresholdedScore(OneByOne(guided(model, 1.0)), VP(), StaticThreshold())
    assert evaluations_of(around) == 2
    assert evaluations_of(guided(guided(model, 1.0), 1.0)) == 4


@pytest.mark.parametrize("sampler", ["pc", pytest.param("ode", marks=pytest.mark.slow)])
def test_generated_images_count_both_evaluations(sampler):
    config = small(sampler)
    nfe = {
        weight: build_generator(config, VP(), SHAPE)(
            guided(mixture(VP()), weight), 4, seed=0, show=False
        ).nfe
        for weight in (0.0, 1.0)
    }
    np.testing.assert_array_equal(nfe[1.0], 2 * nfe[0.0])


def test_what_cannot_be_guided_is_refused():
    config = digits_config("vp")
    config.sampling.guidance.weight = 1.0
    with pytest.raises(
        UserError, match="guidance.weight=1.0 with a model that is not conditioned on classes"
    ):
        check(config, VP())
    config.model.num_classes = 10
    with pytest.raises(UserError, match="label_dropout=0 has not learned"):
        check(config, VP())
    config.training.label_dropout = 0.1
    check(config, VP())
    config.sampling.guidance.weight = float("nan")
    with pytest.raises(UserError, match="guidance.weight=nan: expected a number"):
        check(config, VP())


def test_sampling_guides_within_the_range_and_records_the_weight():
    """Thresholding follows guidance, which runs one image at a time if requested; both weight conventions are recorded."""
    config = get_config()
    config.sampling.update(threshold="static", one_by_one=True)
    config.sampling.guidance.weight = 1.5
    model = sampled_score(config, VP(), build_space(config), classes())
    kinds = [type(m) for m in (model, model.model, model.model.model)]
    assert kinds == [ThresholdedScore, ClassifierFree, OneByOne]
    config.model.num_classes = 3
    found = recorded(config)
    assert (found["guidance_weight"], found["guidance_scale"]) == (1.5, 2.5)


@pytest.mark.parametrize(
    "guidance",
    [
        {},
        {"weight": 1.5},
        {"weight": -1.0},
        {"weight": -1.0, "rescale": 0.5},
        {"weight": -1.0, "eta": 0.5},
    ],
    ids=str,
)
def test_a_call_costs_what_the_score_says(guidance):
    """Only a weight of -1 costs a single evaluation."""
    sampling = get_config().sampling
    sampling.guidance.update(guidance)
    model = led_away(sampling, VP(), classes(), NO_GUIDES)
    assert scores_a_call(sampling) == evaluations_of(model)
