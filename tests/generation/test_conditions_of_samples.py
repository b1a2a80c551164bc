"""Condition images of samples, from a split, a file, a folder or a smaller network; exact distributions of the samples."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde import data
from score_sde.configs.digits import digits_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.data.loader import FIRST_IMAGES
from score_sde.data.scaling import scale
from score_sde.data.splits import ImagesReadOnce
from score_sde.errors import UserError
from score_sde.generation.cascade import base_config, small_images
from score_sde.generation.conditions import (
    build_conditions,
    build_labels_and_texts,
    different_images,
    labels_of_samples,
)
from score_sde.generation.generate import Generator, StartImages, build_generator
from score_sde.measurements.axes import Axes
from score_sde.measurements.condition_image import ConditionImage, build_condition_image
from score_sde.measurements.measurement import Measurement
from score_sde.measurements.resampling import box_rows
from score_sde.models.exact import GaussianScore
from score_sde.models.networks import NETWORKS, network_score
from score_sde.models.one_by_one import OneByOne
from score_sde.models.parameterization import build_parameterization
from score_sde.modes.evaluated_samples import reused
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.noise import RecordedNoise
from score_sde.sde_lib import VP, build_sde
from score_sde.spaces import PixelSpace
from tests.models.gaussian_given_image import ExactNetwork, GaussianGivenImage


def field(std=0.0, level=0.0):
    """Eight pixels of correlation .9 from one to the next, told the means of pairs; the law and what tells."""
    c = 0.9 ** np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    mean = np.linspace(-0.3, 0.4, 8)
    means = Axes.of_matrices((box_rows(8, 2), None, None), (8, 1, 1))
    measurement = Measurement.of(means, std)
    space = PixelSpace((8, 1, 1), None, True, True)
    maker = ConditionImage(space, measurement, True, max(level, 1e-9), level)
    return (
        mean,
        c,
        maker,
        GaussianGivenImage.of(mean, c, np.asarray(means.matrix(), float), std, VP()),
    )


def laws_of_cascade(std, level, told_level=None):
    """Mean and covariance after the exact second stage of an exact first one whose images have noise of this level."""
    with jax.enable_x64(True):
        mean, c, maker, model = field(std, level)
        a = np.asarray(model.matrix)
        small_mean, small = a @ mean, a @ c @ a.T + std**2 * np.eye(4)

        def second(y):
            """The posterior that a network would sample, told y as it is told it."""
            told = maker._with_image(
                y.reshape(-1, 4, 1, 1),
                (),
                jnp.full(len(y), level if told_level is None else told_level),
            )
            return model.posterior(told)

        units = np.concatenate([np.zeros((1, 4)), np.eye(4)])
        means, covariances = map(np.asarray, second(jnp.asarray(small_mean + units)))
    gain = (means[1:] - means[0]).T
    noisy = small + level**2 * np.eye(4)
    return means[0], gain @ noisy @ gain.T + covariances[0], mean, c


@pytest.mark.parametrize(("std", "level"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.5), (0.2, 0.5)])
def test_a_cascade_of_exact_laws_is_exact(std, level):
    """The law of total covariance, to 1e-12, with and without noise in the condition image."""
    found_mean, found, mean, c = laws_of_cascade(std, level)
    np.testing.assert_allclose(found_mean, mean, atol=1e-12)
    np.testing.assert_allclose(found, c, atol=1e-12)


def test_noise_that_is_not_told_is_not_taken_out():
    """The noise level must be passed to the network: another level gives another variance."""
    _, found, _, c = laws_of_cascade(0.0, 0.5, told_level=0.1)
    assert abs(np.trace(found) / np.trace(c) - 1) > 0.05


def test_samples_given_an_image_are_the_posteriors():
    """The sampler, as an affine function of its noise, gives up to rounding what it gives for the exact posterior, and is close to
    the posterior after 300 steps. The posterior is computed from precisions."""
    with jax.enable_x64(True):
        mean, c, maker, model = field(0.3)
        y = np.array([0.5, -1.0, 0.2, 0.8])
        told = maker._with_image(jnp.asarray(y).reshape(1, 4, 1, 1), (), jnp.zeros(1))
        sde, a = model.sde, np.asarray(model.matrix)
        covariance = np.linalg.inv(np.linalg.inv(c) + a.T @ a / 0.09)
        centre = covariance @ (np.linalg.solve(c, mean) + a.T @ y / 0.09)
        sampler = ExponentialSampler(sde, "ddim")
        units = np.concatenate([np.zeros((1, 8)), np.eye(8)]).reshape(9, 8, 1, 1)
        condition = jax.tree.map(lambda leaf: jnp.repeat(leaf, 9, axis=0), told)
        exact = GaussianScore.create(jnp.asarray(centre), jnp.asarray(covariance), sde)

        def law(score, steps):
            grid = log_snr_grid(sde, 1.0, 1e-3, steps)
            run = jax.jit(lambda noise: sampler(score, grid, noise, noise.start, None).x)
            x = np.asarray(
                run(RecordedNoise(jnp.asarray(units), jnp.zeros((steps, 1, 9, 8, 1, 1))))
            )
            x = x.reshape(9, 8)
            return x[0], (x[1:] - x[0]).T @ (x[1:] - x[0])

        for found, expected in zip(law(model.given(condition), 6), law(exact, 6), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-12)
        near_mean, near = law(model.given(condition), 300)
    np.testing.assert_allclose(near_mean, centre, atol=0.02)
    np.testing.assert_allclose(near, covariance, atol=0.02)


# Of the split, files and folders


def told_digits(**fields):
    config = digits_config("vp")
    config.model.condition_image = "measured"
    config.condition.update(name="half", sigma_y=0.0, **fields)
    config.sampling.update(num_images=6, batch_size=6)
    return config


def middle(images):
    return np.asarray(scale((images + 0.5) / 17, True), np.float32)


def test_images_of_splits_and_files_in_turn(tmp_path):
    levels = data.load(told_digits()).train.take(range(4)).images
    np.savez(tmp_path / "four.npz", images=levels)
    for config, expected in (
        (told_digits(images="train"), data.load(told_digits()).train.take(range(6)).images),
        (told_digits(), data.load(told_digits()).test.take(range(6)).images),
        (told_digits(images=str(tmp_path / "four.npz")), levels[[0, 1, 2, 3, 0, 1]]),
    ):
        told = build_conditions(config)(np.arange(6))
        np.testing.assert_allclose(told["image"][:, :, :4], middle(expected)[:, :, :4], atol=1e-6)
        assert not told["image"][:, :, 4:].any()
    assert different_images(config) == reused(config) == 4
    config.sampling.num_images = 4
    assert different_images(config) == 4
    assert reused(config) == 0
    assert reused(config, start_images=StartImages(np.zeros((3, 8, 8, 1)), False)) == 3
    config = told_digits(images="train")
    assert different_images(config) == 6
    config.model.condition_image = "none"
    assert different_images(config) == 0


def test_an_image_has_its_own_class_unless_another_is_named():
    config = told_digits()
    config.model.num_classes = 10
    own = data.load(config, ("label",)).test.take(range(6)).condition["label"]
    np.testing.assert_array_equal(build_conditions(config)(np.arange(6))["label"], own)
    config.sampling.labels = (3, 4)
    found = build_conditions(config)(np.arange(6))
    np.testing.assert_array_equal(found["label"], [3, 4] * 3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"condition.images": "none.npz"}, "condition.images='none.npz': no such file"),
        ({"condition.cascade": "none"}, "condition.cascade='none': none"),
        (
            {"model.condition_image": "none", "condition.cascade": "base"},
            "'base' with a network that is not conditioned on images",
        ),
        (
            {
                "model.condition_image": "paired",
                "model.condition_channels": 3,
                "condition.images": "WRONG",
            },
            r"paired has the shape \(2, 4, 4, 3\), expected \(n, 8, 8, 3\)",
        ),
        (
            {"model.condition_image": "paired", "model.condition_channels": 3},
            "the dataset has no paired images",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(fields, words, tmp_path):
    np.savez(tmp_path / "wrong.npz", paired=np.zeros((2, 4, 4, 3), np.uint8))
    config = told_digits()
    for name, value in fields.items():
        value = str(tmp_path / "wrong.npz") if value == "WRONG" else value
        config.update_from_flattened_dict({name: value})
    with pytest.raises(UserError, match=words):
        build_conditions(config)(np.arange(2))


@pytest.mark.parametrize("kind", [np.uint8, np.float64, np.int64, bool])
def test_the_pairs_of_a_file(tmp_path, kind):
    """Shades range from black, -1, to white; real numbers are used unchanged; other integer types are ambiguous and refused."""
    shades = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1))
    np.savez(tmp_path / "pairs.npz", paired=shades.astype(kind))
    config = told_digits(images=str(tmp_path / "pairs.npz"))
    config.model.update(condition_image="paired", condition_channels=1)
    if kind in (np.int64, bool):
        words = f"paired is {np.dtype(kind)} .*expected .* of uint8, or of real numbers"
        with pytest.raises(UserError, match=words):
            build_conditions(config)(np.arange(6))
        return
    expected = 2 * shades / 255 - 1 if kind is np.uint8 else shades
    found = build_conditions(config)(np.arange(6))["image"]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


# A cascade of two exact networks

CENTRE, VARIANCE = 0.2, 0.5


class FromMean(ExactNetwork):
    """2x2 independent pixels N(.2, .5), given their mean with noise of sigma_y."""

    sigma_y: float = 0.0

    def law(self):
        pixels = np.full(4, CENTRE), VARIANCE * np.eye(4)
        return GaussianGivenImage.of(*pixels, np.full((1, 4), 0.25), self.sigma_y, VP())


def cascade(folder, monkeypatch, sigma_y=0.0):
    """The small images are single pixels N(.2, .125), of the exact score that needs no training."""
    base = toy_config()
    base.data.update(image_size=1, mixture_weights=(1.0,), mixture_means=(CENTRE,))
    base.data.mixture_variances = (VARIANCE / 4,)
    base.sde.name = "vp"
    (folder / "config.json").write_text(json.dumps(json.loads(base.to_json())))
    monkeypatch.setitem(NETWORKS, "from_mean", FromMean)
    config = toy_config()
    config.data.update(image_size=2)
    config.sde.name = "vp"
    config.model.update(name="from_mean", condition_image="measured")
    config.condition.update(name="box_mean", sigma_y=sigma_y, cascade=str(folder))
    config.sampling.update(sampler="unipc_3", num_images=4000, batch_size=1000)
    config.sampling.exponential.update(steps="grid", num_steps=12)
    config.sampling.grid.name = "log_snr"
    return config


@pytest.mark.parametrize("sigma_y", [0.0, 0.35])
def test_a_cascade_of_exact_networks_draws_the_data(tmp_path, monkeypatch, sigma_y):
    """Mean and covariance of 4000 images within 4.9 standard errors plus .005 for the steps: a false alarm in 60,000. So are the variance of
    the images' means, which would be a quarter too small if the second network were given small images without sigma_y, and that of
    what it is given. Without noise each image has the mean of its own condition."""
    config = cascade(tmp_path, monkeypatch, sigma_y)
    assert different_images(config) == 0  # as each has its own
    sde = build_sde(config)
    score = network_score(
        FromMean(sigma_y), {"nothing": jnp.zeros(())}, build_parameterization(config, sde)
    )
    generator = build_generator(config, sde, (2, 2, 1))
    x = generator(score, 4000, config.seed, show=False).x.reshape(4000, 4)
    small = generator.conditions(np.arange(4000))["image"].reshape(4000, 4)
    assert len(np.unique(small[:, 0])) > 3990  # float32 has some twice
    np.testing.assert_array_equal(small, np.repeat(small[:, :1], 4, axis=1))
    if sigma_y == 0:
        np.testing.assert_allclose(x.mean(axis=1), small[:, 0], atol=0.01)
    y = small[:, 0] * (sigma_y**2 + 1 / 4) / (1 / 4)
    for found, expected in (
        (x.mean(axis=1), VARIANCE / 4),
        (y, VARIANCE / 4 + sigma_y**2),
    ):
        within = 4.9 * np.sqrt(2 / 4000) * expected + 0.005
        assert found.var() == pytest.approx(expected, abs=within)
    error = 4.9 * VARIANCE / np.sqrt(4000)
    np.testing.assert_allclose(x.mean(axis=0), CENTRE, atol=4.9 * np.sqrt(VARIANCE / 4000) + 0.005)
    covariance = np.cov(x.T)
    np.testing.assert_allclose(covariance, VARIANCE * np.eye(4), atol=np.sqrt(2) * error + 0.005)


def test_who_asks_for_labels_makes_no_images(tmp_path, monkeypatch):
    """Neither for a split, whose classes come with its images, nor for a smaller network; only the first images are read, for a check."""
    config = told_digits()
    config.model.num_classes = 10
    config.sampling.num_images = 40
    own = data.load(config, ("label",)).test.take(range(40)).condition["label"]
    take, read = ImagesReadOnce.take, []

    def seen(self, indices):
        read.extend(indices)
        return take(self, indices)

    monkeypatch.setattr(ImagesReadOnce, "take", seen)
    of_cascade = cascade(tmp_path, monkeypatch)
    for name in ("in_use", "of_measured", "of_noiseless"):
        monkeypatch.setattr(ConditionImage, name, lambda *_: pytest.fail("an image was made"))
    np.testing.assert_array_equal(labels_of_samples(config), own)
    assert max(read) < FIRST_IMAGES
    assert build_labels_and_texts(of_cascade)(np.arange(7)) == ()


def test_the_small_images_do_not_depend_on_batches(tmp_path, monkeypatch):
    config = cascade(tmp_path, monkeypatch)
    config.sampling.update(sampler="ddim", batch_size=8)
    config.sampling.exponential.num_steps = 2
    whole = build_conditions(config)(np.arange(6))["image"]
    config.sampling.batch_size = 4
    parts = build_conditions(config)(np.arange(1, 6))["image"]
    np.testing.assert_allclose(parts, whole[1:], atol=1e-6)


def test_the_smaller_network_is_asked_as_the_larger_is(tmp_path, monkeypatch):
    """For example one image at a time; texts that the smaller network does not take are not passed to it."""
    config = cascade(tmp_path, monkeypatch)
    config.sampling.update(sampler="ddim", batch_size=4, one_by_one=True, text="two")
    config.sampling.exponential.num_steps = 2
    maker, asked, draw = build_condition_image(config), [], Generator.draw
    base = base_config(config, maker)
    assert base.sampling.text == ""

    def seen(self, model, *rest):
        asked.append(type(model))
        return draw(self, model, *rest)

    monkeypatch.setattr(Generator, "draw", seen)
    small_images(config, base)(np.arange(2))
    assert asked == [OneByOne]


def test_small_images_are_of_the_classes_that_the_larger_network_knows(tmp_path):
    """One of ten classes that was trained with images of three of them is given small images of these."""
    base = digits_config("vp")
    base.model.num_classes = 10
    (tmp_path / "config.json").write_text(base.to_json())
    config = base.copy_and_resolve_references()
    config.data.image_size = 16
    config.model.condition_image = "measured"
    config.condition.update(name="box_mean", factor=2, cascade=str(tmp_path))
    maker = build_condition_image(config)
    for classes, labels in ((("a", "b", "c"), (0, 1, 2)), ((), tuple(range(10)))):
        assert base_config(config, maker, classes).sampling.labels == labels
        told = build_labels_and_texts(config, classes)(np.arange(len(labels)))["label"]
        assert tuple(told) == labels


def test_a_smaller_network_of_some_levels_is_not_asked_between_them(tmp_path, monkeypatch):
    config = cascade(tmp_path, monkeypatch)
    path = tmp_path / "config.json"
    base = json.loads(path.read_text())
    base["training"]["continuous"], base["sde"]["name"] = False, "ve"
    path.write_text(json.dumps(base))
    with pytest.raises(UserError, match=r"condition.cascade=.* training.continuous=False"):
        build_conditions(config)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"condition.factor": 1}, r"draws images of shape \(1, 1, 1\) .* of shape \(2, 2, 1\)"),
        ({"sampling.t_start": 0.5}, "sampling.t_start, start_images or a sampler"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(fields, words, tmp_path, monkeypatch):
    config = cascade(tmp_path, monkeypatch)
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=words):
        build_conditions(config)
