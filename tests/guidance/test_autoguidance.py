"""Autoguidance: no effect with the model itself, classifier-free guidance with an unconditional model; and checkpoints from fields."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.configs.digits import digits_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.errors import UserError
from score_sde.generation.guides import ages_of, check_worse, load_guides
from score_sde.generation.sampled_score import sampled_score
from score_sde.guidance.autoguidance import Autoguided, Unconditional
from score_sde.guidance.classifier_free import guided
from score_sde.guidance.combinations import Extrapolated, Projected, Rescaled
from score_sde.models.one_by_one import OneByOne
from score_sde.models.score import evaluations_of
from score_sde.modes import interpolate, train
from score_sde.modes.sample import check, recorded
from score_sde.sde_lib import VP, SubVP, build_sde
from score_sde.spaces import build_space, trained_space
from score_sde.training.trained_score import load_score_model
from tests.guidance.saved_networks import saved
from tests.models.class_gaussians import ClassGaussians, labels

CLASSES = ClassGaussians(jnp.array([0.5, -0.7, -0.2]), jnp.array([0.25, 0.4, 1.0]), VP())
X, T = np.random.default_rng(0).standard_normal((2, 8, 8, 1)), np.array([0.2, 0.7])


@jax.jit
def evaluated(score, x, t):
    return score(x, t)


def ask(score, dtype=jnp.float64):
    return np.asarray(evaluated(score, jnp.asarray(X, dtype), jnp.asarray(T, dtype)))


def ask_network(score):
    return ask(score, jnp.float32)


COMBINATIONS = [
    Extrapolated(3.0), Extrapolated(-2.0), Projected(VP(), 3.0, 0.2, 0.5), Rescaled(Extrapolated(2.0), VP(), 0.7),
]  # fmt: skip


@pytest.mark.parametrize("combine", COMBINATIONS, ids=lambda one: type(one).__name__)
def test_by_itself_a_model_is_itself(x64, combine):
    model = CLASSES.given(labels(1, 0))
    assert_allclose(ask(Autoguided(model, model, combine)), ask(model), rtol=1e-12)


def test_by_a_model_of_no_class_it_is_classifier_free_guidance(x64):
    """For a condition bound before or after, and without one; the evaluations of both models count."""
    told = labels(1, 0)
    expected = guided(CLASSES, 1.5).given(told)
    auto = Autoguided(CLASSES, Unconditional(CLASSES), Extrapolated(1.5))
    assert_allclose(ask(auto.given(told)), ask(expected), rtol=1e-13)
    assert_allclose(ask(auto.given(told).unconditional), ask(CLASSES), rtol=1e-14)
    assert auto.given(told).condition is told
    two = Autoguided(guided(CLASSES, 1.0), CLASSES, Extrapolated(1.5))
    assert evaluations_of(two) == 3
    both = [CLASSES.given(told), CLASSES.given(labels(0, 0))]
    worse_told = Autoguided(both[0], both[1], Extrapolated(1.5)).given(labels(2, 2))
    assert_allclose(ask(worse_told), ask(CLASSES), rtol=1e-14)


def test_without_a_condition_both_models_are_without_it(x64):
    """From the scores of no class of each, whatever class was bound."""
    worse = ClassGaussians(jnp.array([0.1, -0.3, 0.4]), jnp.array([0.5, 0.6, 1.5]), VP())
    auto = Autoguided(CLASSES, worse, Extrapolated(1.5)).given(labels(1, 0))
    good, bad = ask(CLASSES), ask(worse)
    assert_allclose(ask(auto.unconditional), good + 1.5 * (good - bad), rtol=1e-12)


# ---- by folders --------------------------------------------------------------------------------------


def small(**changes):
    config = digits_config("vp")
    config.model.update(name="dit", patch_size=2, width=8, depth=1, num_heads=2)
    config.update_from_flattened_dict(changes)
    return config


def of_classes(**changes):
    return small(**{"model.num_classes": 10, "training.label_dropout": 0.1, **changes})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A network of classes at two steps, and a wider one of no class."""
    root = tmp_path_factory.mktemp("folders")
    return saved(root / "good", of_classes()), saved(
        root / "worse", small(**{"model.width": 16}), (5,)
    )


def guided_by(folder, **guidance):
    config = of_classes()
    config.sampling.guidance.update(weight=2.0, **guidance)
    sde = build_sde(config)
    check(config, sde)
    model = load_score_model(config, sde, folder).model
    guides = load_guides(config, sde, folder)
    return sampled_score(config, sde, build_space(config), model, guides).given(labels(3, 7))


def loaded(config, folder, condition, step=0):
    config.checkpoint_step = step
    return load_score_model(config, build_sde(config), folder).model.given(condition)


def test_models_of_folders(folders):
    """From this folder at an earlier step, or from another folder with another architecture; in float32."""
    good, worse = folders
    condition = labels(3, 7)
    newest = ask_network(loaded(of_classes(), good, condition))
    away = {
        (1, ""): ask_network(loaded(of_classes(), good, condition, 1)),
        (5, str(worse)): ask_network(loaded(small(**{"model.width": 16}), worse, ())),
    }
    for (step, of), score in away.items():
        model = guided_by(good, worse=of, worse_step=step)
        assert evaluations_of(model) == 2
        got = ask_network(model)
        scale = np.abs(newest).max()
        assert_allclose(got, newest + 2.0 * (newest - score), rtol=0, atol=3e-6 * scale)
        assert np.abs(score - newest).max() > 1e-2 * scale


def test_what_samples_depend_on(folders):
    """Both models run one image at a time if requested; samples depend on the folder of the worse model and its contents."""
    good, worse = folders
    config = of_classes()
    config.sampling.one_by_one = True
    config.sampling.guidance.update(weight=1.0, worse=str(worse))
    sde = build_sde(config)
    model = sampled_score(config, sde, build_space(config), CLASSES, load_guides(config, sde, good))
    assert (type(model.model), type(model.worse)) == (OneByOne, OneByOne)
    before = ages_of(config, good)
    (worse / "checkpoints" / "other").touch()
    assert ages_of(config, good) != before
    assert recorded(config)["guidance_worse"] == str(worse)
    plain = small()
    plain.sampling.guidance.update(weight=1.0, worse_step=1)
    assert recorded(plain) == {
        "guidance_weight": 1.0,
        "guidance_scale": 2.0,
        "guidance_worse_step": 1,
    }


@pytest.mark.parametrize(
    ("words", "config", "worse", "guidance"),
    [
        ("with weight=0: there is no guidance", {}, "good", {"weight": 0.0}),
        ("does not exist", {}, "nowhere", {}),
        ("another process, .*SubVP", {"sde.name": "subvp"}, "good", {}),
        ("another space of images", {"data.centered": False}, "good", {}),
        ("conditioned on 10 classes, but the guided network on 4", {"model.num_classes": 4}, "good", {}),
        ("conditioned on 10 classes, but the guided network on none", {"model.num_classes": 0}, "good", {}),
    ],
)  # fmt: skip
def test_what_cannot_guide_is_refused(folders, words, config, worse, guidance):
    config = of_classes(**config)
    config.sampling.guidance.update(
        **{"weight": 1.0, "worse": str(folders[0].parent / worse), **guidance}
    )
    with pytest.raises(UserError, match=words):
        check(config, build_sde(config))


def test_a_worse_network_of_a_part_of_the_condition_is_refused(folders):
    """A model of classes for a network of classes and texts: it can neither be given the text nor is it unconditional."""
    config = of_classes(**{"model.name": "ncsnpp", "model.words": "one two"})
    config.sampling.guidance.update(weight=1.0, worse=str(folders[0]))
    with pytest.raises(UserError, match="conditioned on label, but .* on label and text; use"):
        check_worse(config, build_sde(config))


def test_how_samples_are_rounded_is_nothing_to_the_worse_network():
    config = of_classes(**{"sampling.truncate": True, "data.uniform_dequantization": False})
    trained = of_classes(**{"data.uniform_dequantization": False})
    assert build_space(config) != build_space(trained)
    assert trained_space(config) == trained_space(trained) != trained_space(of_classes())
    # Also of a folder that recorded a rounding in which it cannot draw.
    assert trained_space(of_classes(**{"sampling.truncate": True})) == trained_space(of_classes())


def test_an_exact_score_is_guided_by_another_folder(tmp_path):
    """By its own it is itself, at float32. It has no earlier checkpoints to be guided by."""
    config = toy_config()
    sde, space = build_sde(config), build_space(config)
    (tmp_path / "config.json").write_text(config.to_json())
    config.sampling.guidance.update(weight=1.5, worse=str(tmp_path))
    check(config, sde)
    exact = load_score_model(config, sde, tmp_path).model
    model = sampled_score(config, sde, space, exact, load_guides(config, sde, tmp_path))
    assert isinstance(model, Autoguided)
    assert_allclose(ask_network(model), ask_network(exact), rtol=1e-5)
    config.sampling.guidance.update(worse="", worse_step=5)
    with pytest.raises(UserError, match="worse_step=5 with model.name='mixture'"):
        check(config, sde)


def test_where_nothing_can_be_guided_so(folders):
    """Refused without a folder, in training, and in interpolation."""
    config = small()
    config.sampling.guidance.update(weight=1.0, worse_step=1)
    with pytest.raises(UserError, match="without a folder of checkpoints"):
        load_guides(config, VP(), None)
    with pytest.raises(UserError, match="the pictures drawn in training use the network alone"):
        train.check(config, VP())
    config.sampling.sampler = "ode"
    with pytest.raises(UserError, match="sampling.guidance with --mode interpolate"):
        interpolate.check(config, VP())
    with pytest.raises(UserError, match="the checkpoints in .* are|no checkpoint"):
        load_guides(config, SubVP(), folders[1].parent / "empty")
