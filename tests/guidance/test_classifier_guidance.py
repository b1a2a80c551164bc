"""Classifier guidance: the exact classifier of a mixture gives the score and samples of a component; classifiers from folders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from score_sde.configs.digits import digits_config
from score_sde.errors import UserError
from score_sde.generation.conditions import build_conditions
from score_sde.generation.guides import NO_GUIDES, Guides, ages_of, load_guides, sampled_classes
from score_sde.generation.sampled_score import sampled_score
from score_sde.guidance.autoguidance import Unconditional
from score_sde.guidance.classifier import (
    ClassifierGuided,
    ComponentClassifier,
    classifier_guided,
)
from score_sde.guidance.classifier_free import ClassifierFree
from score_sde.guidance.combinations import Extrapolated
from score_sde.models.exact import GaussianScore, MixtureScore
from score_sde.models.noisy_classifier import NoisyClassifierNetwork
from score_sde.models.one_by_one import OneByOne
from score_sde.models.score import evaluations_of
from score_sde.modes import interpolate, train
from score_sde.modes.sample import check, recorded
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import probability_flow, reverse_diffusion
from score_sde.sde_lib import VE, VP, SubVP, build_sde
from score_sde.spaces import build_space
from score_sde.training.classifier_task import init_classifier
from tests.guidance.saved_networks import random_weights, saved_state
from tests.models.class_gaussians import ClassGaussians, labels

RNG = np.random.default_rng(4)
WEIGHTS, (MEANS, ROOTS) = np.array([0.2, 0.5, 0.3]), RNG.standard_normal((2, 3, 3))
COVARIANCES = np.stack([np.eye(3) * 0.2, np.eye(3) * 0.7, ROOTS @ ROOTS.T + 0.1 * np.eye(3)])
OF = [2, 0, 1, 2]
X, T = RNG.standard_normal((4, 3)), np.array([0.05, 0.3, 0.6, 0.9])


def mixture(sde):
    return MixtureScore.create(*map(jnp.asarray, (WEIGHTS, MEANS, COVARIANCES)), sde)


def component(sde, k):
    return GaussianScore.create(jnp.asarray(MEANS[k]), jnp.asarray(COVARIANCES[k]), sde)


def by_exact_classifier(sde, scale=1.0):
    model = mixture(sde)
    return classifier_guided(Unconditional(model), ComponentClassifier(model), 3, scale)


@jax.jit
def evaluated(score, x, t):
    return score(x, t)


def ask(score):
    return np.asarray(evaluated(score, jnp.asarray(X), jnp.asarray(T)))


@pytest.mark.parametrize(
    "sde", [pytest.param(VE(0.01, 5.0), marks=pytest.mark.slow), SubVP()], ids=repr
)
def test_the_exact_classifier_gives_the_score_of_a_component(x64, sde):
    """For each image; at scale s it equals classifier-free guidance of weight s - 1."""
    components = np.stack([ask(component(sde, k)) for k in range(3)])
    conditional, none = components[OF, range(4)], ask(mixture(sde))
    assert (np.abs(conditional - none)[:3].max(axis=1) > 1e-2).all()
    for scale in (1.0, 2.5, 0.0):
        got = ask(by_exact_classifier(sde, scale).given(labels(*OF)))
        expected = conditional + (scale - 1.0) * (conditional - none)
        assert_allclose(got, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "rule", [pytest.param(probability_flow, marks=pytest.mark.slow), reverse_diffusion]
)
def test_samples_are_those_of_the_component(x64, rule):
    """Sample by sample from the same noise, for deterministic and stochastic samplers."""
    sampler = PredictorCorrector(VP(), rule, None)
    grid, like = log_snr_grid(VP(), 1.0, 1e-3, 12), jnp.asarray(X)
    noise = RecordedNoise(like, jnp.asarray(RNG.standard_normal((12, 1, 4, 3))))

    @jax.jit
    def run(score):
        return sampler(score, grid, noise, like).x

    got = np.asarray(run(by_exact_classifier(VP()).given(labels(1, 1, 1, 1))))
    assert_allclose(got, run(component(VP(), 1)), rtol=1e-8, atol=1e-9)
    assert np.abs(got - np.asarray(run(mixture(VP())))).max() > 0.1


def test_what_is_told_to_whom(x64):
    """Without a condition or a class it is the model; a conditional model gets the label too; classifier-free guidance can wrap it."""
    model = mixture(VP())
    score = by_exact_classifier(VP())
    assert_array_equal(ask(score), ask(model))
    given = score.given(labels(*OF))
    assert_allclose(ask(given.unconditional), ask(model), rtol=1e-14)
    assert_array_equal(given.unconditional.condition["label"], [3] * 4)
    assert given.given(()).condition == ()
    assert evaluations_of(given) == 1
    outer = ClassifierFree(score, Extrapolated(0.7)).given(labels(*OF))
    assert_allclose(ask(outer), ask(model) + 1.7 * (ask(given) - ask(model)), rtol=1e-9, atol=1e-12)
    classes = ClassGaussians(
        jnp.array([0.5, -0.2, 0.3, 0.0]), jnp.array([0.25, 1.0, 0.3, 1.0]), VP()
    )
    both = classifier_guided(classes, ComponentClassifier(model), 3).given(labels(*OF))
    expected = ask(classes.given(labels(*OF))) + ask(given) - ask(model)
    assert_allclose(ask(both), expected, rtol=1e-9, atol=1e-12)


# ---- by folders --------------------------------------------------------------------------------------


def small(**changes):
    config = digits_config("vp")
    config.model.update(nf=8, ch_mult=(1,), attn_resolutions=())
    config.noisy_classifier.update(
        width=32, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), head_channels=32
    )
    config.update_from_flattened_dict(changes)
    return config


def guided_config(folder, **changes):
    return small(**{"sampling.guidance.classifier": str(folder), **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier of seven classes."""
    path = tmp_path_factory.mktemp("classifier")
    config = small(**{"training.task": "classifier", "noisy_classifier.num_classes": 7})
    return saved_state(path, config, init_classifier_of(config), (4,))


def init_classifier_of(config):
    network = NoisyClassifierNetwork.from_config(config)
    return lambda: init_classifier(config, network)


def test_the_classifier_of_a_folder(folder):
    """Its weights are loaded whatever the config says about classifiers; images get the classes it knows in turn."""
    config = guided_config(
        folder, **{"noisy_classifier.width": 64, "sampling.guidance.classifier_scale": 3.0}
    )
    sde = build_sde(config)
    check(config, sde)
    guides = load_guides(config, sde, None)
    shapes = jax.eval_shape(init_classifier_of(small(**{"noisy_classifier.num_classes": 7})))
    expected = jax.tree.leaves(random_weights(shapes, 4))
    for got, leaf in zip(jax.tree.leaves(guides.classifier.params), expected, strict=True):
        assert_array_equal(got, leaf)
    assert sampled_classes(config) == 7
    assert build_conditions(config)(np.arange(9))["label"].tolist() == [*range(7), 0, 1]
    assert recorded(config) == {
        "labels": "all", "guidance_weight": 0.0, "guidance_scale": 1.0, "guidance_classifier": str(folder), "guidance_classifier_scale": 3.0,
    }  # fmt: skip
    assert len(ages_of(config, folder)) == 1


def test_what_is_around_what(folder):
    """The classifier wraps the rest, whose model gets a label only if it takes one; one image at a time if requested."""
    config = guided_config(folder, **{"sampling.guidance.classifier_scale": 3.0})
    guides = Guides(classifier="classifier")
    around = sampled_score(config, VP(), build_space(config), mixture(VP()), guides)
    assert (type(around), type(around.model)) == (ClassifierGuided, Unconditional)
    assert (around.scale, around.num_classes, around.classifier) == (3.0, 7, "classifier")
    config.model.num_classes, config.sampling.guidance.weight = 7, 1.0
    config.sampling.one_by_one = True
    around = sampled_score(config, VP(), build_space(config), mixture(VP()), guides)
    kinds = [type(m) for m in (around, around.model, around.model.model, around.model.model.model)]
    assert kinds == [OneByOne, ClassifierGuided, ClassifierFree, OneByOne]
    assert sampled_score(small(), VP(), build_space(config), 1, NO_GUIDES) == 1


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("another process, .*SubVP", {"sde.name": "subvp"}),
        ("another space of images", {"data.centered": False}),
        ("has 7 classes, but the guided network has 10", {"model.num_classes": 10}),
        ("expected classes from 0 to 6", {"sampling.labels": (7,)}),
        ("classifier='nowhere': .*does not exist", {"sampling.guidance.classifier": "nowhere"}),
        ("classifier_scale=2.0 without a classifier", {"sampling.guidance.classifier": "", "sampling.guidance.classifier_scale": 2.0}),
        ("a classifier has no score", {"training.task": "classifier"}),
    ],
)  # fmt: skip
def test_what_cannot_guide_is_refused(folder, words, changes):
    config = guided_config(folder, **changes)
    with pytest.raises(UserError, match=words):
        check(config, build_sde(config))


def test_where_a_classifier_is_refused(folder):
    """A classifier is refused as a worse model, in training and in interpolation; and a score network as a classifier."""
    config = guided_config(
        "", **{"sampling.guidance.worse": str(folder), "sampling.guidance.weight": 1.0}
    )
    with pytest.raises(UserError, match="expected a folder of training.task='score'"):
        check(config, VP())
    config = guided_config(folder)
    with pytest.raises(UserError, match="the pictures drawn in training use the network alone"):
        train.check(config, VP())
    config.sampling.sampler = "ode"
    with pytest.raises(UserError, match="sampling.guidance with --mode interpolate"):
        interpolate.check(config, VP())
