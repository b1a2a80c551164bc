"""Sampling from start images instead of the prior."""

import numpy as np
import pytest
from PIL import Image

from score_sde import data
from score_sde.configs.digits import digits_config
from score_sde.configs.toy_mixture import get_config
from score_sde.configs.vp_captions import get_config as captions_config
from score_sde.errors import UserError
from score_sde.generation.conditions import build_conditions, labels_of_samples
from score_sde.generation.generate import StartImages, build_generator
from score_sde.generation.start_images import check_start_images, load_start_images
from score_sde.modes.sample import check, recorded, run, save_picture
from score_sde.sde_lib import build_sde
from score_sde.spaces import build_space


def test_states_in_a_file_are_gone_on_from(tmp_path):
    """Stopped at t = 0.3 and continued from there by the ODE: the sample of one run, to the solver's tolerance."""
    config = get_config()
    config.sampling.update(sampler="ode", num_images=8, batch_size=8, noise_removal=False)
    whole = np.load(run(config, build_sde(config), tmp_path)["arrays"])["images"]
    config.sampling.eps = 0.3
    states = np.load(run(config, build_sde(config), tmp_path)["arrays"])["images"]
    np.savez(tmp_path / "states.npz", states=states)
    config.sampling.update(eps=1e-3, t_start=0.3, start_images=str(tmp_path / "states.npz"))
    check(config, build_sde(config))
    rest = np.load(run(config, build_sde(config), tmp_path)["arrays"])["images"]
    np.testing.assert_allclose(rest, whole, atol=1e-3)
    assert np.abs(states - whole).max() > 0.1


def test_fewer_start_images_than_images_are_taken_in_turn(tmp_path):
    """Started at a time with hardly any noise, the samples stay close to their start images."""
    config = get_config()
    images = np.stack([np.full((8, 8, 1), -1.0), np.full((8, 8, 1), 0.6)]).astype(np.float32)
    np.savez(tmp_path / "g.npz", images=images)
    config.sampling.update(sampler="ode", num_images=4, batch_size=4, eps=1e-4)
    config.sampling.update(t_start=2e-4, start_images=str(tmp_path / "g.npz"))
    samples = np.load(run(config, build_sde(config), tmp_path)["arrays"])["images"]
    means = samples.mean(axis=(1, 2, 3))
    # noise of 0.005 a pixel, 64 pixels: a mean within 0.005 is eight deviations
    np.testing.assert_allclose(means, [-1.0, 0.6, -1.0, 0.6], atol=0.005)


def test_pictures_of_a_folder_are_those_of_a_file(tmp_path):
    """In the order of their names; 16 levels of shades 17 apart."""
    levels = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8, 1) % 16
    np.savez(tmp_path / "g.npz", images=levels)
    (tmp_path / "pictures").mkdir()
    for i, image in enumerate(levels):
        Image.fromarray(17 * image[..., 0]).save(tmp_path / "pictures" / f"{i}.png")
    config = get_config()
    config.data.update(num_levels=16, stored_levels=256)
    found = []
    for name in ("g.npz", "pictures"):
        config.sampling.update(t_start=0.3, start_images=str(tmp_path / name), num_images=3)
        check_start_images(config.sampling)
        found.append(load_start_images(config, build_space(config)))
    np.testing.assert_array_equal(found[1].x, found[0].x)
    assert not found[1].are_states
    config.sampling.num_images = 2
    np.testing.assert_array_equal(load_start_images(config, build_space(config)).x, found[0].x[:2])


@pytest.mark.parametrize(
    ("t_start", "start_images", "words"),
    [
        (0.3, "", "starting at a time other than T requires both"),
        (0.0, "test", "starting at a time other than T requires both"),
        (0.3, "none.npz", "no such file or folder"),
        (2.0, "test", "sampling.t_start=2.0: expected a time between"),
        (1e-5, "test", "sampling.t_start=1e-05: expected a time between"),
    ],
)
def test_what_cannot_work_is_refused(t_start, start_images, words):
    config = get_config()
    config.sampling.update(t_start=t_start, start_images=start_images)
    with pytest.raises(UserError, match=words):
        check(config, build_sde(config))


def of_digits(**sampling):
    config = digits_config("vp")
    config.model.num_classes = 10
    config.sampling.update(t_start=0.5, start_images="test", num_images=4, **sampling)
    return config


def test_a_sample_is_of_the_class_of_its_start_image():
    """Of each split, in the network's numbering of the classes, and repeated as the images are; unless a class is named."""
    config = of_digits()
    for name in ("test", "train"):
        config.sampling.start_images = name
        own = getattr(data.load(config, ("label",)), name).take(range(4)).condition["label"]
        told = build_conditions(config)(np.arange(6))["label"]
        np.testing.assert_array_equal(told, own[[0, 1, 2, 3, 0, 1]])
        np.testing.assert_array_equal(labels_of_samples(config), own)
    turned = labels_of_samples(config, [str(digit) for digit in reversed(range(10))])
    np.testing.assert_array_equal(turned, 9 - own)
    assert recorded(config)["labels"] == "own"
    config.sampling.labels = (3, 4)
    np.testing.assert_array_equal(labels_of_samples(config), [3, 4, 3, 4])
    config.sampling.update(labels=(), start_images="states.npz")
    np.testing.assert_array_equal(labels_of_samples(config), range(4))
    assert recorded(config)["labels"] == "all"


def test_a_sample_is_of_the_text_of_its_start_image():
    config = captions_config()
    config.sampling.update(t_start=0.5, start_images="test", num_images=3)
    own = data.load(config, ("text",)).test.take(range(3)).condition["text"]
    np.testing.assert_array_equal(build_conditions(config)(np.arange(3))["text"], own)
    assert recorded(config)["text"] == "own"
    config.sampling.text = "blue"
    assert (build_conditions(config)(np.arange(3))["text"][:, 1:] == 0).all()


def test_images_without_classes_are_refused(tmp_path):
    images = np.random.default_rng(0).integers(0, 17, (40, 8, 8, 1)).astype(np.uint8)
    np.savez(tmp_path / "d.npz", images=images, test_images=images[:8])
    config = of_digits()
    config.data.update(name="arrays", file=str(tmp_path / "d.npz"), stored_levels=17)
    with pytest.raises(UserError, match="start_images='test': .*no label.* or say by --config"):
        labels_of_samples(config)
    config.sampling.labels = (3,)
    np.testing.assert_array_equal(labels_of_samples(config), [3] * 4)


def test_the_picture_has_rows_of_classes_only_where_they_take_turns(tmp_path):
    """Four images of two classes, of which the second is the darkest: below the first where classes take turns, otherwise beside it."""
    config = of_digits()
    config.model.num_classes = 2
    images = np.full((4, 8, 8, 1), 16, np.uint8)
    images[1] = 0
    for start, row, column in (("states.npz", 1, 0), ("test", 0, 1)):
        config.sampling.start_images = start
        pixels = np.asarray(save_picture(config, tmp_path / "a.png", images, 17).convert("L"))
        place = np.unravel_index(pixels.argmin(), pixels.shape)
        assert (2 * place[0] // pixels.shape[0], 2 * place[1] // pixels.shape[1]) == (row, column)


BAD = [
    (np.nan, "not finite"),
    (-np.inf, "not finite"),
    (1e300, "not finite"),  # it is in float64
    (True, "of type bool: expected integers or real numbers"),
    (1j, "of type complex128"),
]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures": np.zeros((1, 8, 8, 1))}, "has pictures, expected images or states"),
        ({"images": np.zeros((8, 8, 1))}, r"shape \(8, 8, 1\), expected \(n, 8, 8, 1\)"),
        ({"states": np.zeros((0, 8, 8, 1))}, r"shape \(0, 8, 8, 1\)"),
        *(
            ({key: np.full((2, 8, 8, 1), bad)}, words)
            for key in ("images", "states")
            for bad, words in BAD
        ),
    ],
)
def test_unusable_files_are_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "g.npz", **arrays)
    config = get_config()
    config.sampling.update(t_start=0.3, start_images=str(tmp_path / "g.npz"))
    with pytest.raises(UserError, match=words):
        load_start_images(config, build_space(config))
    (tmp_path / "g.npz").write_bytes(b"not a zip file")
    with pytest.raises(UserError, match="cannot be read as an .npz file"):
        load_start_images(config, build_space(config))


def test_images_that_are_not_levels_are_refused(tmp_path):
    """Pixels in [0, 1] would be read as black."""
    np.savez(tmp_path / "g.npz", images=np.full((2, 8, 8, 1), 0.5, np.float32))
    config = get_config()
    config.data.num_levels = 17
    config.sampling.update(t_start=0.3, start_images=str(tmp_path / "g.npz"))
    with pytest.raises(UserError, match="expected integer levels 0 to 16"):
        load_start_images(config, build_space(config))


@pytest.mark.parametrize("level", [-1, 17])
def test_levels_that_there_are_not_are_refused(tmp_path, level):
    images = np.zeros((2, 8, 8, 1), np.int32)
    images[1, 3, 3] = level
    np.savez(tmp_path / "g.npz", images=images)
    config = get_config()
    config.data.num_levels = 17
    config.sampling.update(t_start=0.3, start_images=str(tmp_path / "g.npz"))
    with pytest.raises(UserError, match=f"levels from .*{level}, expected 0 to 16|from -1 to 0"):
        load_start_images(config, build_space(config))


@pytest.mark.parametrize(
    ("x", "words"),
    [(np.zeros((2, 8, 8, 3)), r"the shape \(2, 8, 8, 3\)")]
    + [(np.full((2, 8, 8, 1), bad), words) for bad, words in BAD],
)
def test_a_script_is_refused_them_too(x, words):
    config = get_config()
    with pytest.raises(UserError, match=f"the start images.*{words}"):
        build_generator(config, build_sde(config), (8, 8, 1), StartImages(x, False))
