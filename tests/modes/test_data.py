"""--mode data: every figure for eleven known images of 2x3 pixels, and pictures of the inputs of an update."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from score_sde import data
from score_sde.configs.default import get_config
from score_sde.evaluation.pictures import image_grid
from score_sde.modes import data as mode
from score_sde.sde_lib import build_sde
from score_sde.spaces import build_space
from score_sde.training import objective as objectives
from score_sde.training.objective import build_objective

TRAIN = np.zeros((7, 2, 3, 1), np.uint8)
TRAIN[1:6, 0, 0, 0] = (3, 5, 6, 2, 3)  # in the upper left corner
TRAIN[6, 1, 0, 0] = 12
TEST = np.full((4, 2, 3, 1), 15, np.uint8)
TEST[0] = 1


@pytest.fixture
def config(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        images=TRAIN, labels=[0, 0, 2, 2, 2, 0, 2], test_images=TEST, test_labels=[3, 0, 0, 2], more=[1],
    )  # fmt: skip
    config = get_config()
    config.data.update(
        name="arrays", file=str(tmp_path / "a.npz"), image_size=2, image_width=3, num_levels=16, stored_levels=16
    )  # fmt: skip
    return config


def looked_at(config, workdir):
    sde = build_sde(config)
    mode.check(config, sde)
    figures = mode.run(config, sde, workdir)
    (line,) = (workdir / "results.jsonl").read_text().splitlines()
    assert json.loads(line).items() >= json.loads(json.dumps(figures)).items()
    return figures


@pytest.mark.parametrize(("in_memory", "at_once"), [("yes", 100), ("no", 2)])
def test_every_figure(config, tmp_path, capsys, monkeypatch, in_memory, at_once):
    """Levels v are mapped to 2 (v + 1/2) / 16 - 1; two images differ from a black one by 6 and 12 levels in different
    pixels, so they are sqrt(180) levels of 1/8 apart."""
    config.data.in_memory = in_memory
    monkeypatch.setattr(mode, "NUMBERS_AT_ONCE", 6 * at_once)
    figures = looked_at(config, tmp_path)
    assert (figures["train_images"], figures["test_images"]) == (7, 4)
    assert (figures["train_images_read"], figures["test_images_read"]) == (7, 4)
    assert figures["shape"] == [2, 3, 1]
    assert (figures["train_levels_met"], figures["test_levels_met"]) == (6, 2)
    found = [figures[name] for name in ("train_x_min", "train_x_max", "test_x_min", "test_x_max")]
    assert found == pytest.approx([-15 / 16, 9 / 16, -13 / 16, 15 / 16], abs=1e-6)
    assert figures["largest_distance"] == pytest.approx(np.sqrt(180) / 8, rel=1e-6)
    assert (figures["distance_images"], figures["distance_mirrored"]) == (7, False)
    assert figures["classes"] == {"0": [3, 2], "2": [4, 1], "3": [0, 1]}
    assert figures["read"] == {"images": 7, "labels": 7, "test_images": 4, "test_labels": 4}
    assert figures["ignored"] == {"more": 1}
    assert figures["fingerprint"] == data.load(config).fingerprint.hash
    printed = capsys.readouterr().out
    assert (
        "The largest distance between two of all training images is 1.677: for VE this suggests"
        in printed
    )
    assert "3             0         1\n" in printed
    assert "it is" not in printed


def test_on_the_range_of_ve_and_with_mirrored_images(config, tmp_path, capsys):
    """Levels v are mapped to v / 15; the mirror image of the one with 12 is 12 sqrt(2) levels from the original."""
    config.data.update(centered=False, uniform_dequantization=False, random_flip=True)
    config.sde.name = "ve"
    config.model.sigma_max = 20.0
    figures = looked_at(config, tmp_path)
    assert figures["largest_distance"] == pytest.approx(12 * np.sqrt(2) / 15, rel=1e-6)
    assert figures["distance_mirrored"]
    assert figures["sigma_max"] == 20.0
    assert (figures["train_x_min"], figures["test_x_max"]) == (0, 1)
    printed = capsys.readouterr().out
    assert "all training images and their mirror images (data.random_flip) is 1.131: for" in printed
    assert "1.131 (Song and Ermon 2020, technique 1); it is 20 here." in printed


def test_mirror_images_are_not_upside_down(config, tmp_path):
    """Black, and both lower corners at 12 levels: an image that is its own mirror image, but farther from itself upside down."""
    images = np.zeros((2, 2, 3, 1), np.uint8)
    images[1, 1, ::2] = 12
    np.savez(tmp_path / "a.npz", images=images, test_images=images)
    config.data.random_flip = True
    assert looked_at(config, tmp_path)["largest_distance"] == pytest.approx(12 * np.sqrt(2) / 8)


def test_a_part_of_a_large_split_is_said_to_be_one(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mode, "IMAGES_READ", 3)
    monkeypatch.setattr(mode, "PRODUCTS", 6 * 5**2)
    config.data.in_memory = "no"
    figures = looked_at(config, tmp_path)
    assert (figures["train_images_read"], figures["test_images_read"]) == (3, 3)
    assert figures["distance_images"] == 5
    assert 0 < figures["largest_distance"] <= np.sqrt(180) / 8
    assert "two of 5 of the 7 training images" in (printed := capsys.readouterr().out)
    assert " or more (Song" in printed


def test_real_numbers_have_no_levels_and_no_picture(config, tmp_path, capsys):
    config.data.update(name="mixture", file="", num_levels=0, centered=False)
    figures = looked_at(config, tmp_path)
    assert figures["train_levels_met"] is figures["classes"] is None
    assert "picture" not in figures
    x = data.load(config).train.images
    assert figures["train_x_min"] == x.min()
    assert figures["distance_images"] == len(x)
    assert "Not every image has a class." in capsys.readouterr().out


def test_the_picture_is_of_what_the_first_update_is_given(config, tmp_path, monkeypatch):
    """The pictures equal the objective's own x0, captured on its way into the loss."""
    config.data.random_flip = True
    config.training.batch_size = 16
    figures = looked_at(config, tmp_path)
    space, seen = build_space(config), []
    monkeypatch.setattr(objectives, "build_loss", lambda *_: lambda model, x0, *_: seen.append(x0))
    objective = build_objective(config, type("Network", (), {"apply": None}), build_sde(config))
    batch = next(data.load(config).train.batches(config.seed, 16))
    key = objectives.key_of_step(config.seed, 0)
    objective.training_losses(None, jax.tree.map(jnp.asarray, batch), key)
    images = np.asarray(space.decode(seen[0]))
    assert not np.array_equal(images, batch.images)  # some are mirrored
    with PIL.Image.open(figures["picture"]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(image_grid(images, 16)))


def test_classes_of_a_part_are_said_to_be(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mode, "LABELS_READ", 5)
    figures = looked_at(config, tmp_path)
    assert sum(train for train, _ in figures["classes"].values()) == 5
    assert "\nClasses of 5 of the 7 training images:\n" in capsys.readouterr().out


@pytest.fixture
def pictures(tmp_path):
    """Sixty grey images of 4x4 in two classes, and a class folder without images."""
    for i in range(60):
        path = tmp_path / "pictures" / ("even", "odd")[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("L", (4, 4), i).save(path)
    (tmp_path / "pictures" / "none").mkdir()
    config = get_config()
    config.data.update(
        name="folder", folder=str(tmp_path / "pictures"), image_size=4, num_channels=1
    )
    return config


def test_class_folders_without_images_are_named(pictures, tmp_path):
    assert looked_at(pictures, tmp_path / "run")["ignored"] == {"folder none/ without images": 1}


@pytest.mark.parametrize("resize", [False, True])
def test_all_files_that_cannot_be_used_are_named_at_once(pictures, tmp_path, resize):
    pictures.data.resize = resize
    broken = [tmp_path / "pictures" / "odd" / f"{i:02}.png" for i in (1, 7, 31)]
    broken[0].write_bytes(b"")
    broken[1].write_text("no image")
    broken[2].write_bytes(broken[2].read_bytes()[:-20])
    with pytest.raises(data.DatasetError, match="^3 images of .* cannot be used") as error:
        looked_at(pictures, tmp_path / "run")
    lines = str(error.value).splitlines()[1:]
    assert [line.split(":")[0] for line in sorted(lines)] == [f"odd/{one.name}" for one in broken]
    for i in range(1, 60, 2):
        (tmp_path / "pictures" / "odd" / f"{i:02}.png").write_text("no image")
    with pytest.raises(data.DatasetError, match="^30 images of .*; the first 10:") as error:
        looked_at(pictures, tmp_path / "run")
    assert len(str(error.value).splitlines()) == 11


def test_a_single_file_keeps_its_error(pictures, tmp_path):
    (tmp_path / "pictures" / "odd" / "01.png").write_text("no image")
    with pytest.raises(data.DatasetError, match=r"01.png cannot be used as an image: .*Pillow"):
        looked_at(pictures, tmp_path / "run")
