"""Figures per class of newly drawn samples: correct for a model that draws the right classes, and not for one that mixes them up."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.features.extractors import Features
from score_sde.modes import evaluate, sample
from score_sde.modes.evaluated_samples import Evaluated, strata_of_samples
from score_sde.quality.frechet import variance_of
from score_sde.quality.image_sets import ImageSet
from score_sde.quality.moments import moments
from score_sde.quality.reference import Reference
from score_sde.sde_lib import SDE, build_sde
from score_sde.training.trained_score import LoadedScore

MEANS = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.5, 0.0], [0.0, -1.5, 0.0, 0.3]], np.float32)
DEVIATION = 0.4
LABELS = (2, 0, 1)  # in turn; batches of 128 begin with any of them


@flax.struct.dataclass
class ClassScore:
    """The score of N(mean of the class, DEVIATION^2 I) by the label that an image is told."""

    means: jax.Array
    sde: SDE = flax.struct.field(pytree_node=False)
    condition: Any = ()

    def given(self, condition):
        return self.replace(condition=condition)

    def __call__(self, x, t):
        each = (-1, *[1] * (x.ndim - 1))
        alpha, sigma = self.sde.alpha(t).reshape(each), self.sde.sigma(t).reshape(each)
        mean = self.means[self.condition["label"]].reshape(x.shape)
        return -(x - alpha * mean) / (alpha**2 * DEVIATION**2 + sigma**2)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A file of 400 images of each class."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(3), 400))
    images = MEANS[labels] + DEVIATION * rng.standard_normal((1200, 4)).astype(np.float32)
    path = tmp_path_factory.mktemp("real") / "real.npz"
    np.savez(path, images=images.reshape(-1, 2, 2, 1), labels=labels)
    return path


def toy_of_classes():
    config = get_config()
    config.data.image_size = 2
    # Told three classes; the score in its place is exact.
    config.model.update(name="ncsnpp", num_classes=3)
    config.sampling.update(sampler="ddim", num_images=600, batch_size=128, labels=LABELS)
    config.sampling.exponential.num_steps = 40
    return config


def evaluated(folder, monkeypatch, reference, means, per_class=True, **sampling):
    config = toy_of_classes()
    config.sampling.update(sampling)
    config.evaluation.update(reference=str(reference), per_class=per_class)
    sde = build_sde(config)
    loaded = LoadedScore(ClassScore(jnp.asarray(means), sde), None)
    monkeypatch.setattr(evaluate, "load_score_model", lambda *_: loaded)
    return evaluate.run(config, sde, folder)


def errors_from(found, truths):
    """Of each class's limit, in its own errors."""
    classes = found["classes"]
    assert classes.keys() == {"0", "1", "2"}
    return [
        abs(classes[str(label)]["frechet_limit"] - truth)
        / classes[str(label)]["frechet_limit_error"]
        for label, truth in enumerate(truths)
    ]


def test_a_model_that_draws_each_class_has_no_distance_in_any(tmp_path, monkeypatch, real, capsys):
    """Zero within four errors for each class and for all, with the bias of sets that have equally many images per class; and full
    precision, which images of another class would not have."""
    found = evaluated(tmp_path, monkeypatch, real, MEANS)
    assert abs(found["frechet_limit"]) < 4 * found["frechet_limit_error"]
    said = capsys.readouterr().out
    assert all(f"the {what} are equally many per" in said for what in ("images", "real images"))
    assert max(errors_from(found, (0, 0, 0))) < 4
    assert min(of["precision"] for of in found["classes"].values()) > 0.9
    for of in found["classes"].values():
        low, high = of["kid_interval"]
        assert high - low == pytest.approx(2 * 2.2622 * of["kid_error"], rel=1e-4)


def test_a_model_that_mixes_classes_up_is_seen_in_each_of_them_and_in_no_other_figure(
    tmp_path, monkeypatch, real
):
    """It draws class k + 1 in place of k: all images together have the right distribution, and those of a class are
    at |mean - mean of the next|^2, within four errors."""
    moved = np.roll(MEANS, -1, axis=0)
    found = evaluated(tmp_path, monkeypatch, real, moved)
    truths = np.sum((MEANS - moved) ** 2, axis=1)
    assert max(errors_from(found, truths)) < 4
    assert all(
        low > 0 for low, _ in (of["frechet_limit_interval"] for of in found["classes"].values())
    )
    low, high = found["frechet_limit_interval"]
    assert low < 0.0
    assert high < 0.1 * truths.min()
    assert found["precision"] > 0.9


def test_two_of_three_classes_have_their_lines(tmp_path, monkeypatch, real, capsys):
    found = evaluated(tmp_path, monkeypatch, real, MEANS, labels=(1, 2), num_images=300)
    assert found["classes"].keys() == {"1", "2"}
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows if row[:1] in (["1"], ["2"])] == [
        ["1", "150", "400"],
        ["2", "150", "400"],
    ]


def test_a_file_of_samples_is_judged_as_the_samples(tmp_path, monkeypatch, real):
    """Its classes are known, and that they are equally frequent, which changes the limit and its error."""
    drawn = evaluated(tmp_path, monkeypatch, real, MEANS)
    config = toy_of_classes()
    sde = build_sde(config)
    loaded = LoadedScore(ClassScore(jnp.asarray(MEANS), sde), None)
    monkeypatch.setattr(sample, "load_score_model", lambda *_: loaded)
    config.evaluation.update(
        reference=str(real), per_class=True, images=sample.run(config, sde, tmp_path)["arrays"]
    )
    found = evaluate.run(config, sde, tmp_path)
    assert found["classes"] == drawn["classes"]
    same = ("frechet", "frechet_error", "frechet_limit", "frechet_limit_error")
    assert [found[name] for name in same] == [drawn[name] for name in same]
    config.sampling.labels = (2,)  # of a file with more
    assert evaluate.run(config, sde, tmp_path)["classes"] == {"2": drawn["classes"]["2"]}


@flax.struct.dataclass
class TextScore(ClassScore):
    """The same by the one word that an image is told."""

    def given(self, condition):
        return self.replace(condition={"label": condition["text"][:, 0] - 1})


def test_samples_of_texts_have_as_many_of_each(tmp_path, monkeypatch, real, capsys):
    """Images that equal those drawn by labels have the same limit and error."""
    expected = evaluated(tmp_path, monkeypatch, real, MEANS, per_class=False)
    capsys.readouterr()
    config = toy_of_classes()
    config.model.update(num_classes=0, words="a b c")
    config.sampling.update(labels=(), text=",".join("abc"[label] for label in LABELS))
    config.evaluation.reference = str(real)
    sde = build_sde(config)
    loaded = LoadedScore(TextScore(jnp.asarray(MEANS), sde), None)
    monkeypatch.setattr(evaluate, "load_score_model", lambda *_: loaded)
    found = evaluate.run(config, sde, tmp_path)
    assert "the images are equally many per" in capsys.readouterr().out
    same = ("frechet", "frechet_error", "frechet_limit", "frechet_limit_error")
    assert [found[name] for name in same] == [expected[name] for name in same]
    config.sampling.update(num_images=35, text="a,b a,b")
    strata = strata_of_samples(config, 0).labels
    np.testing.assert_array_equal(strata == strata[0], np.arange(35) % 3 == 0)
    config.model.words, config.sampling.text = "", ""
    assert strata_of_samples(config, 0) is None


def test_ten_samples_of_each_image_tell_no_more_of_a_class_than_one():
    """They are copies, so the variance that they add is that of the 15 different images: 149/14 times that of 150 independent ones with these
    moments."""
    config, rng, labels = toy_of_classes(), np.random.default_rng(0), np.arange(300) % 2
    config.sampling.labels = (0, 1)
    config.evaluation.per_class = True
    x = np.tile(rng.normal(size=(30, 4)), (10, 1))
    images = ImageSet(300, lambda rows: x[rows], lambda: labels, None, 30)
    real, of_real = rng.normal(size=(200, 4)), np.arange(200) % 2
    reference = Reference(200, None, None, lambda: real, lambda: of_real)
    variances = {}
    for name, reused in (("shared", 30), ("independent", 0)):
        these = dataclasses.replace(images, reused=reused)
        found, _ = evaluate.of_classes(config, Evaluated(these, Features(x, None), {}), reference)
        variances[name] = [
            of.figures["frechet"].error ** 2
            - variance_of(real[label::2], moments(real[label::2]), moments(x[label::2]))
            for label, of in found.items()
        ]
    ratio = np.divide(variances["shared"], variances["independent"])
    np.testing.assert_allclose(ratio, 149 / 14, rtol=1e-6)
