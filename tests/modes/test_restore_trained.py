"""--mode restore by a network conditioned on the measurement: an exact one with known posterior, in every mode that uses it."""

import json

import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.errors import UserError
from score_sde.measurements.condition_image import build_condition_image
from score_sde.models.networks import NETWORKS
from score_sde.modes import classify, evaluate, likelihood, restore, sample
from score_sde.restoration.table import table
from score_sde.sde_lib import VP, build_sde
from score_sde.spaces import build_space
from score_sde.training.score_task import train
from tests.models.gaussian_given_image import ExactNetwork, GaussianGivenImage

MEAN, VARIANCE, SIGMA_Y = 0.2, 0.5, 0.4
N, DRAWS = 40, 9


class GivenColumn(ExactNetwork):
    """2x2 independent numbers N(.2, .5), of which the left column is measured."""

    def law(self):
        left = np.eye(4)[[0, 2]]
        pixels = np.full(4, MEAN), VARIANCE * np.eye(4)
        return GaussianGivenImage.of(*pixels, left, SIGMA_Y, VP())


def of_toy():
    config = toy_config()
    config.data.update(
        image_size=2, mixture_weights=(1.0,), mixture_means=(MEAN,), mixture_variances=(VARIANCE,)
    )
    config.sde.name = "vp"
    config.model.update(name="exact_given", condition_image="measured")
    config.condition.update(name="half", sigma_y=SIGMA_Y)
    config.optim.lr = 1e-12
    config.training.update(batch_size=8, n_iters=1, eval_freq=1, snapshot_freq=0, log_freq=1)
    config.sampling.update(sampler="pc", batch_size=360, num_images=40)
    config.sampling.pc.update(predictor="ancestral_sampling", corrector="none", num_steps=60)
    config.sampling.grid.name = "log_snr"
    config.restore.update(method="trained", num_images=N, draws=DRAWS)
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One update that moves nothing, with images dropped as guidance needs it; its held-out loss stands beside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "exact_given", GivenColumn)
        folder = tmp_path_factory.mktemp("trained")
        config = of_toy()
        config.training.label_dropout = 0.1
        train(config, folder)
        yield folder


def test_draws_are_the_posteriors(folder):
    """As for MMPS in test_restore.py: normalized by the posterior of each number, draws have mean 0 and variance 1, within 4.9
    standard errors plus a thousandth for the grid."""
    config = of_toy()
    restore.check(config, build_sde(config))
    figures = restore.run(config, build_sde(config), folder)
    with np.load(figures["arrays"]) as file:
        y, draws, x = (file[name] for name in ("y", "draws", "x"))
    gain = VARIANCE / (VARIANCE + SIGMA_Y**2)
    mean, variance = np.full((N, 2, 2), MEAN), np.full((2, 2), VARIANCE)
    mean[:, :, 0], variance[:, 0] = MEAN + gain * (y.reshape(N, 2) - MEAN), VARIANCE * (1 - gain)
    z = (draws[..., 0] - mean[:, None]) / np.sqrt(variance)
    for column in range(2):
        part = z[..., column]
        assert abs(part.mean()) < 4.9 / np.sqrt(part.size) + 0.01
        assert part.var() == pytest.approx(1.0, abs=4.9 * np.sqrt(2 / part.size) + 0.01)
    assert (figures["nfe"], figures["jacobian_products"]) == (61, 0)
    assert (figures["measurement"], figures["sigma_y"]) == ("half", SIGMA_Y)
    assert "y measures images at the middle of each level" in table(figures)
    assert min(figures["ranks_p_value"], figures["coverage_p_value"]) > 1e-3
    # Once in a million outside: y is of these images.
    noise = (y.reshape(N, 2) - x[:, :, 0, 0]) / SIGMA_Y
    assert abs(noise.var() - 1) < 4.9 * np.sqrt(2 / noise.size)


def test_guidance_moves_the_posteriors_mean_and_leaves_its_variance(folder):
    """s = (1 + w) s(x | y) - w s(x | no image): two Gaussians of equal variance, so the distribution is known for every w. For this
    network, no image means y = 0. Bounds as above."""
    config, weight = of_toy(), 1.0
    config.training.label_dropout = 0.1
    config.sampling.guidance.weight = weight
    restore.check(config, build_sde(config))
    figures = restore.run(config, build_sde(config), folder)
    with np.load(figures["arrays"]) as file:
        y, draws = (file[name] for name in ("y", "draws"))
    gain = VARIANCE / (VARIANCE + SIGMA_Y**2)
    told = (1 + weight) * y.reshape(N, 1, 2)  # - w 0
    mean, variance = MEAN + gain * (told - MEAN), VARIANCE * (1 - gain)
    z = (draws[..., 0, 0] - mean) / np.sqrt(variance)
    assert abs(z.mean()) < 4.9 / np.sqrt(z.size) + 0.01
    assert z.var() == pytest.approx(1.0, abs=4.9 * np.sqrt(2 / z.size) + 0.01)


def test_samples_told_images_are_together_of_the_datas_law(folder):
    """The posteriors of all images together give the prior, within four errors."""
    config = of_toy()
    config.sampling.update(num_images=300, batch_size=100)
    config.evaluation.num_reference = 500
    sde = build_sde(config)
    figures = evaluate.run(config, sde, folder, *evaluate.check(config, sde))
    for name, truth in (("frechet_limit", 0), ("kid", 0), ("nearer_than_held_out", 0.5)):
        assert abs(figures[name] - truth) < 4 * figures[f"{name}_error"], name


def test_samples_are_told_images_of_the_test_split(folder):
    config = of_toy()
    sample.check(config, build_sde(config))
    figures = sample.run(config, build_sde(config), folder)
    assert (figures["condition_images"], figures["condition_cascade"]) == ("test", "")
    record = json.loads((folder / "results.jsonl").read_text().splitlines()[-1])
    assert record["condition_noise"] == 0.0


def test_likelihoods_are_given_what_is_told(folder):
    """ln p(x | y) of the posterior, with known mean: the entropy of two numbers with the prior's variance and two with the
    posterior's. For 256 images within 4.9 standard errors; the standard deviation is sqrt(d / 2) nats."""
    config = of_toy()
    config.likelihood.update(bound_draws=0, batch_size=256, num_images=256, probe="orthogonal")
    config.likelihood.num_probes = 4
    likelihood.check(config, build_sde(config))
    figures = likelihood.run(config, build_sde(config), folder)
    gain = VARIANCE / (VARIANCE + SIGMA_Y**2)
    entropy = np.log(2 * np.pi * np.e * VARIANCE) + np.log(2 * np.pi * np.e * VARIANCE * (1 - gain))
    expected = entropy / 4 / np.log(2)  # bits a dimension, in the units of the data
    error = 4.9 * np.sqrt(4 / 2 / 256) / 4 / np.log(2)
    assert figures["ode_bits_per_dim"] == pytest.approx(expected, abs=error + 0.01)


def test_a_random_mask_is_the_one_that_was_trained():
    """Of half the pixels of 8x8, whatever the seed of the restoration."""
    config = of_toy()
    config.data.image_size = 8
    config.condition.update(name="random", fraction=0.5)
    config.seed = 7
    restored = restore.measurement_of(config, build_space(config))
    trained = build_condition_image(config).measurement
    x = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1)
    np.testing.assert_array_equal(restored.linear(x), trained.linear(x))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"restore.method": "pigdm"}, "method='pigdm' with a network of model.condition_image"),
        ({"model.condition_image": "none"}, "'trained' with model.condition_image='none'"),
        (
            {"restore.measurement.sigma_y": 0.1},
            "restore.measurement.sigma_y with restore.method='tr",
        ),
        ({"condition.cascade": "runs/small"}, "cascade='runs/small' with --mode restore"),
        ({"model.name": "mixture"}, "an exact score is not conditioned on images"),
        ({"condition.noise": 0.1}, "condition.noise=0.1 with model.condition_noise=0.0"),
    ],
)
def test_what_cannot_be_restored_is_refused(fields, words, folder):
    config = of_toy()
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=words):
        restore.check(config, build_sde(config))


def test_images_of_samples_are_not_asked_for(folder):
    """Those of config.condition.images, from which --mode sample measures."""
    config = of_toy()
    config.condition.images = "none.npz"
    restore.check(config, build_sde(config))
    with pytest.raises(UserError, match="condition.images='none.npz': no such file"):
        sample.check(config, build_sde(config))


def test_measurements_of_another_shape_are_refused(folder, tmp_path):
    """By the name of the measurement that the network was trained for."""
    np.savez(tmp_path / "y.npz", y=np.ones((N, 3)))
    config = of_toy()
    config.restore.measured = str(tmp_path / "y.npz")
    restore.check(config, build_sde(config))
    with pytest.raises(UserError, match=r"expected \(n, 2\) of condition.name='half'"):
        restore.run(config, build_sde(config), folder)


def test_classes_of_pairs_are_refused(folder):
    config = of_toy()
    config.data.image_size = 8
    config.model.update(name="ncsnpp", condition_image="paired", condition_channels=1)
    config.model.attn_resolutions = ()
    with pytest.raises(UserError, match="classify with model.condition_image='paired'"):
        classify.check(config, build_sde(config))
