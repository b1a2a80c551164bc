"""The denoising errors of a model: estimated once, stored and read again; and sampling with them."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from score_sde import data
from score_sde.configs.digits import digits_config
from score_sde.configs.toy_mixture import get_config
from score_sde.data.mixture import mixture_parameters
from score_sde.errors import UserError
from score_sde.generation import denoising_errors
from score_sde.generation.denoising_errors import error_times, optimal_variance, stand_in
from score_sde.generation.generate import build_generator
from score_sde.generation.sampled_score import sampled_score
from score_sde.models.parameterization import build_parameterization
from score_sde.models.score import NetworkScore
from score_sde.modes import sample
from score_sde.sde_lib import build_sde
from score_sde.spaces import build_space
from score_sde.training.state import init_params
from score_sde.training.trained_score import LoadedScore, load_score_model
from score_sde.unfinished import digest_of
from tests.samplers.closed_forms import closed_form
from tests.training.stub_network import StubNetwork


def asked(variant="vp", **errors):
    config = get_config(variant)
    config.sampling.pc.update(predictor="ancestral_sampling_optimal", corrector="none")
    config.sampling.errors.update(errors)
    return config


def estimated(config, folder):
    sde = build_sde(config)
    return optimal_variance(config, sde, load_score_model(config, sde, folder), folder)


def only_file(folder):
    (path,) = folder.glob("denoising_errors-step0-*.npz")
    return path


def score_norm(sde, t, weights, means, variances):
    """Gamma, the Fisher information of a pixel at t, by adaptive quadrature of p'^2 / p."""
    now = closed_form(sde, t)
    centres, stds = now.alpha * means, np.sqrt(now.alpha**2 * variances + now.sigma**2)

    def integrand(x):
        parts = weights * norm.pdf(x, centres, stds)
        slope = np.sum(parts * (centres - x) / stds**2)
        return slope**2 / np.sum(parts)

    ends = (centres - 12 * stds).min(), (centres + 12 * stds).max()
    return quad(integrand, *ends, points=centres, limit=500)[0]


@pytest.mark.parametrize("variant", [pytest.param("vp", marks=pytest.mark.slow), "subvp"])
def test_errors_are_those_of_the_data(variant, tmp_path):
    """m = 1 - sigma^2 Gamma within 5 standard errors (false alarm 1 in 1.7 million) at each of eight levels."""
    config = asked(variant, num_levels=8, num_images=256)
    config.sampling.batch_size = 64
    sde = build_sde(config)
    measured = estimated(config, tmp_path)
    times = np.array(measured.times)
    gammas = [score_norm(sde, t, *mixture_parameters(config.data)) for t in times]
    exact = 1 - np.array([closed_form(sde, t).sigma for t in times]) ** 2 * gammas
    with np.load(only_file(tmp_path)) as file:
        standard_errors, count = file["errors_se"], int(file["num_images"])
    assert count == 256
    assert np.all(np.abs(np.array(measured.errors) - exact) < 5 * standard_errors)
    assert np.all(standard_errors < 0.02 * exact)


def test_levels_are_of_equal_log_snr_and_span_what_is_sampled():
    config = asked(num_times=5)
    times = error_times(config, build_sde(config))
    now = [closed_form(build_sde(config), t) for t in times]
    steps = np.diff([np.log(a.sigma / a.alpha) for a in now])
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-3)
    np.testing.assert_allclose(times[[0, -1]], [config.sampling.eps, 1.0], rtol=1e-6)


def test_batches_do_not_matter(tmp_path):
    """The same images with the same noise, ten at a time, or four with a remainder of two."""
    tables = []
    for batch_size in (10, 4):
        config = asked(num_times=3, num_images=10)
        config.sampling.batch_size = batch_size
        folder = tmp_path / str(batch_size)
        folder.mkdir()
        tables.append(estimated(config, folder).errors)
    np.testing.assert_allclose(*tables, rtol=1e-4)


def test_the_file_is_made_once_and_read_again(tmp_path, monkeypatch):
    config = asked(num_times=3, num_images=16)
    first = estimated(config, tmp_path)

    def again(*arguments):
        raise AssertionError("estimated again")

    monkeypatch.setattr(denoising_errors, "estimate", again)
    assert estimated(config, tmp_path) == first


def test_another_seed_reads_the_same_file(tmp_path):
    """Either seed would have written the same file, so samples do not depend on which was used first."""
    config, alone = asked(num_times=3, num_images=16), tmp_path / "alone"
    first = estimated(config, tmp_path)
    config.seed += 1
    assert estimated(config, tmp_path) == first
    assert only_file(tmp_path).is_file()
    alone.mkdir()
    assert estimated(config, alone) == first


def test_other_data_more_images_or_earlier_times_are_estimated_anew(tmp_path):
    """Three times as many images, data twice as wide, less noise at the end, another process; then the first file again."""
    config = asked(num_times=3, num_images=16)
    first = estimated(config, tmp_path)
    found, settings = [first], config.to_dict()
    for changes in (
        {"sampling.errors.num_images": 48},
        {"data.mixture_variances": tuple(4 * of for of in config.data.mixture_variances)},
        {"sampling.eps": 1e-4},
        {"model.beta_max": 10.0},
    ):
        config.update_from_flattened_dict(changes)
        found.append(estimated(config, tmp_path))
    assert len({of.errors for of in found}) == 5
    assert found[-1].times[0] == pytest.approx(1e-4, rel=1e-6)
    config.update(settings)
    assert estimated(config, tmp_path) == first
    assert len(list(tmp_path.iterdir())) == 5


def test_a_file_is_of_its_weights_images_and_noise_levels(tmp_path):
    """Images replaced in a file of the same name and size, retrained weights, other labels for DDPM; other units and conditions."""
    config = digits_config("vp")
    config.data.update(name="arrays", file=str(tmp_path / "images.npy"), num_levels=256)
    sde, images = build_sde(config), np.zeros((20, 8, 8, 1), np.uint8)

    def known(weights=(1.0, 2.0)):
        np.save(config.data.file, images)
        loaded = LoadedScore({"w": np.array(weights)}, 7)
        return digest_of(denoising_errors.identity(config, sde, loaded, data.load(config)))

    found = [known(), known((1.0, 2.5))]
    images[:, 0, 0] = 1
    found.append(known())
    config.model.discrete_labels = "floor"
    found.append(known())
    config.data.centered = not config.data.centered
    found.append(known())
    config.condition.noise = 0.5
    found.append(known())
    assert len(set(found)) == 6
    assert known() == found[-1]


def test_who_draws_otherwise_is_told_so(tmp_path, capsys):
    config = asked(num_times=3, num_images=16)
    estimated(config, tmp_path)
    assert "note:" not in capsys.readouterr().err
    config.sampling.threshold = "static"
    estimated(config, tmp_path)
    assert "those of the network without the guidance and threshold" in capsys.readouterr().err


def test_one_image_is_refused():
    config, alone = asked(num_times=3, num_images=16), SimpleNamespace(num_images=1)
    with pytest.raises(UserError, match="2 or more training images, and the data have one"):
        denoising_errors.estimate(config, build_sde(config), None, 0, alone)


def test_a_damaged_file_is_named(tmp_path):
    config = asked(num_times=3, num_images=16)
    estimated(config, tmp_path)
    only_file(tmp_path).write_bytes(b"PK")
    with pytest.raises(UserError, match="is damaged .*: remove the file"):
        estimated(config, tmp_path)


def test_who_does_not_ask_gets_none(tmp_path):
    config = asked()
    config.sampling.pc.predictor = "reverse_diffusion"
    assert estimated(config, tmp_path) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("centered", "half_range"), [(True, 1.0), (False, 0.5)])
def test_the_bound_is_that_of_the_datas_range(centered, half_range):
    """Data of half range h have m <= h^2 alpha^2 / sigma^2, which is small at T; real-valued data have no bound."""
    config = digits_config("vp")
    config.data.centered = centered
    sde, end = build_sde(config), closed_form(build_sde(config), 1.0)
    bound = (half_range * end.alpha / end.sigma) ** 2
    assert float(stand_in(config, sde).error(sde, jnp.asarray(1.0))) == pytest.approx(
        bound, rel=1e-3
    )
    config.data.num_levels = 0
    assert float(stand_in(config, sde).error(sde, jnp.asarray(1.0))) == 0.5


SAMPLED = {
    "optimal variance": {"sampler": "pc"},
    "dp grid": {"sampler": "dpm_solver_pp_2m", "grid": {"name": "dp", "candidates": 100}},
}


@pytest.mark.parametrize("changes", list(SAMPLED.values()), ids=list(SAMPLED))
def test_samples_have_the_law_of_the_data(changes, tmp_path):
    """8,192 coordinates within the DKW band, false alarm 1e-6; discretization errors are far below it."""
    config = asked(num_times=12, num_images=128)
    config.sampling.update(num_images=128, batch_size=128)
    config.sampling.update(changes)
    config.sampling.pc.num_steps = 400
    config.sampling.exponential.num_steps = 90
    figures = sample.run(config, build_sde(config), tmp_path)
    assert figures["ks_distance"] < figures["ks_band"]
    assert only_file(tmp_path).is_file()


# ---- thresholds ------------------------------------------------------------------------------------


def random_network(config):
    """A score model of a small network whose last layer is not near 0, as those of a fresh one often are."""
    config.model.nf = 8
    network = StubNetwork.from_config(config)
    params = jax.jit(lambda: init_params(config, network))()
    return NetworkScore(params, network.apply, build_parameterization(config, build_sde(config)))


@pytest.mark.parametrize(("threshold", "centered"), [("static", True), ("dynamic", False)])
def test_thresholds_keep_samples_in_the_datas_range(threshold, centered):
    """Exactly the result of the last denoising is clipped to the range; without it a random network's samples exceed it."""
    config = digits_config("vp")
    config.data.centered = centered
    config.sampling.update(sampler="ddim", num_images=16, batch_size=16)
    config.sampling.exponential.num_steps = 2
    network, sde, space = random_network(config), build_sde(config), build_space(config)
    generator = build_generator(config, sde, space.shape)
    samples = []
    for name in ("none", threshold):
        config.sampling.threshold = name
        model = sampled_score(config, sde, space, network)
        samples.append(generator(model, 16, seed=42, show=False).x)
    low, free, kept = -1.0 if centered else 0.0, *samples
    assert free.min() < low - 0.1
    assert free.max() > 1.1
    # The whole range: clipped to [0, 1], samples of [-1, 1] would keep to theirs too.
    assert kept.min() == pytest.approx(low, abs=1e-5)
    assert kept.max() == pytest.approx(1.0, abs=1e-5)
