"""--mode interpolate: encoding by the ODE, great circles between latents, and decoding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from score_sde.configs.digits import digits_config
from score_sde.configs.toy_mixture import get_config
from score_sde.data.array_files import read_images
from score_sde.errors import UserError
from score_sde.generation.latents import slerp
from score_sde.models.exact import GaussianScore
from score_sde.modes import interpolate as mode
from score_sde.modes.interpolate import check, interpolate, run
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.samplers.record import Samples
from score_sde.sde_lib import VE, VP, Cosine, build_sde
from score_sde.spaces import build_space


def test_slerp_turns_by_equal_angles_at_constant_length():
    """Between two orthogonal vectors of length 2, at 0, 30, 60 and 90 degrees."""
    a, b = 2 * jnp.eye(3)[0], 2 * jnp.eye(3)[2]
    points = np.stack([slerp(a, b, w) for w in np.linspace(0, 1, 4)])
    angles = np.radians([0, 30, 60, 90])
    expected = 2 * np.stack([np.cos(angles), 0 * angles, np.sin(angles)], axis=1)
    np.testing.assert_allclose(points, expected, atol=1e-6)


def test_slerp_of_parallel_vectors_is_the_line():
    a = jnp.asarray([1.0, 2.0])
    np.testing.assert_allclose(slerp(a, 3 * a, 0.25), 1.5 * a, rtol=1e-5)


@pytest.mark.parametrize("sde", [VP(), pytest.param(VE(), marks=pytest.mark.slow)], ids=repr)
def test_isotropic_gaussian_data(x64, sde):
    """The flow of N(0, l) only scales, so the images lie on the great circle through the two given ones."""
    score = GaussianScore(jnp.zeros(4), jnp.full(4, 0.3), jnp.eye(4), sde)
    flow = ProbabilityFlow(sde, AdaptiveSolver("dopri8", 1e-10, 1e-10))
    pair = jax.random.normal(jax.random.key(0), (2, 4))
    grid = jnp.asarray([1.0, 1e-3])
    frames, up, down = interpolate(flow, grid, score, pair, 5)
    expected = np.stack([slerp(pair[0], pair[1], w) for w in np.linspace(0, 1, 5)])
    np.testing.assert_allclose(frames, expected, atol=1e-8)
    stretch = {VP(): 1.0 / (0.3 + 1e-4) ** 0.5, VE(): 50.0 / 0.3**0.5}[sde]
    np.testing.assert_allclose(up.x, stretch * pair, rtol=2e-2)
    assert up.nfe > 0
    assert down.success


def test_images_are_encoded_up_to_the_end_of_the_process():
    """On every grid, though sampling starts a little earlier under `cosine`."""
    config = get_config()
    config.sde.name = "cosine"
    config.sampling.sampler = "ode"
    config.sampling.ode.steps = "grid"
    (configured,) = check(config, Cosine())
    assert configured.settings["grid"] == "log_snr"
    assert configured.grid[0] == Cosine().signal_end


def test_the_mode_writes_what_it_reports(tmp_path, capsys):
    config = get_config()
    config.sampling.sampler = "ode"
    config.sampling.ode.num_steps = 7
    config.interpolation.update(images=(3, 1, 0, 2), frames=3)
    check(config, build_sde(config))
    figures = run(config, build_sde(config), tmp_path)
    assert "sampling.ode.num_steps=7 is ignored" in capsys.readouterr().err
    with np.load(figures["arrays"]) as file:
        frames, images = file["frames"], file["originals"]
    assert frames.shape == (2, 3, 8, 8, 1)
    difference = np.concatenate([row[[0, -1]] for row in frames]) - images
    with pytest.raises(UserError, match="has frames, originals, expected images"):
        read_images(config, "evaluation.images", figures["arrays"])
    assert figures["round_trip_rms"] == pytest.approx(np.sqrt(np.mean(difference**2)))
    assert figures["round_trip_rms"] < 1e-3
    assert not np.array_equal(images[0], images[1])
    assert not {"noise_removal", "threshold"} & figures.keys()


def test_a_row_of_the_picture_goes_from_the_first_image_to_the_second(tmp_path):
    """Images of one level each, of two pairs and three frames between."""
    config = digits_config("vp")
    levels = np.array([[2, 4, 8, 12, 14], [16, 11, 9, 5, 0]])
    images = np.broadcast_to(levels.reshape(10, 1, 1, 1), (10, 8, 8, 1)).astype(np.uint8)
    x = np.asarray(build_space(config).encode_middle(images)).reshape(2, 5, 8, 8, 1)
    ends = x[:, [0, -1]].reshape(4, 8, 8, 1)
    found = mode.write(config, tmp_path, ends, x[:, 1:-1], "step0")
    with Image.open(found["picture"]) as picture:
        pixels = np.asarray(picture)
    middles = [[(2 * i + 1) * n // (2 * m) for i in range(m)] for n, m in zip(pixels.shape, (2, 5))]
    np.testing.assert_array_equal(pixels[np.ix_(*middles)], np.round(levels * 255 / 16))


def test_evaluations_are_those_there_and_back(tmp_path, monkeypatch):
    """Of two images 6 and 8 there, of three frames 10, 11 and 12 back."""

    def solved(sampler, grid, model, pair, frames):
        there, back = jnp.array([6.0, 8.0]), jnp.array([10.0, 11.0, 12.0])
        images = jnp.stack([pair[0], pair[0], pair[1]])
        return images, Samples(pair, there), Samples(images, back)

    monkeypatch.setattr(mode, "interpolate", solved)
    config = get_config()
    config.sampling.sampler = "ode"
    config.interpolation.update(images=(3, 1), frames=3)
    figures = run(config, build_sde(config), tmp_path)
    assert (figures["nfe_encode"], figures["nfe_decode"]) == (7.0, 11.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": (0, 1, 2)}, "expected indices of images in pairs"),
        ({"images": (0, -1)}, "expected indices of images in pairs"),
        ({"frames": 1}, "expected 2 or more"),
        ({"split": "all"}, "interpolation.split='all' is unknown"),
    ],
)
def test_what_cannot_work_is_refused(changes, words):
    config = get_config()
    config.sampling.sampler = "ode"
    config.interpolation.update(changes)
    with pytest.raises(UserError, match=words):
        check(config, build_sde(config))


def test_a_sampler_without_latents_is_refused():
    with pytest.raises(UserError, match="only the probability-flow ODE gives an image a latent"):
        check(get_config(), VP())


@pytest.mark.parametrize(
    "changes", [{"threshold": "static"}, {"one_by_one": True}, {"t_start": 0.5}]
)
def test_what_would_have_no_effect_is_refused(changes):
    config = get_config()
    config.sampling.update(sampler="ode", **changes)
    with pytest.raises(UserError, match="with --mode interpolate: the ODE encodes"):
        check(config, build_sde(config))


def test_an_image_that_is_not_there_is_refused(tmp_path):
    config = get_config()
    config.sampling.sampler = "ode"
    config.interpolation.images = (0, 10**6)
    with pytest.raises(UserError, match="images, with indices up to"):
        run(config, build_sde(config), tmp_path)
