"""Pictures that are evaluated against themselves."""

import shutil

import pytest

from score_sde import data
from score_sde.configs.default import get_config
from score_sde.errors import ConfigError
from score_sde.modes import evaluate
from score_sde.quality.shared_pictures import check_apart
from score_sde.sde_lib import build_sde
from tests.data.picture_folder import save


@pytest.fixture
def config(tmp_path):
    """Four training pictures and two of the test split in sub-folders, and a copy of them elsewhere."""
    for part, numbers in (("train", range(4)), ("test", range(4, 6))):
        for i in numbers:
            save(tmp_path / "data" / part / f"{i}.png", i)
    shutil.copytree(tmp_path / "data" / "train", tmp_path / "copies")
    config = get_config()
    config.data.update(name="folder", folder=str(tmp_path / "data"))
    return config


@pytest.mark.parametrize(
    ("images", "reference", "shared"),
    [
        ("data", "train", "4 of the 6"),
        ("data/train", "train", "4 of the 4"),
        ("data/test", "test", "2 of the 2"),
        ("data", "data/test", "2 of the 6"),
        ("train", "data", "4 of the 4"),
    ],
)
def test_pictures_of_the_reference_are_refused(config, tmp_path, images, reference, shared):
    config.evaluation.images = images if images == "train" else str(tmp_path / images)
    config.evaluation.reference = (
        reference if reference in ("train", "test") else str(tmp_path / reference)
    )
    with pytest.raises(ConfigError, match=f"^{shared} pictures of evaluation.images=.* trivial"):
        check_apart(config)


def test_the_command_refuses_them(config, tmp_path):
    config.data.update(image_size=8, num_channels=3)
    config.evaluation.update(images=config.data.folder, reference="train", features="pixels")
    with pytest.raises(ConfigError, match="4 of the 6 pictures"):
        evaluate.run(config, build_sde(config), tmp_path)


def test_a_folder_that_is_not_divided_is_no_test_split(config, tmp_path):
    """It has the training pictures too, whatever is held out of it."""
    config.data.update(folder=str(tmp_path / "copies"), image_size=8, num_channels=3)
    splits = data.load(config)
    assert splits.test.num_images < splits.train.num_images
    config.evaluation.update(images=str(tmp_path / "copies"), reference="train")
    with pytest.raises(ConfigError, match=f"^{splits.train.num_images} of the 4 pictures"):
        check_apart(config)


@pytest.mark.parametrize("images", ["data/test", "copies", "own.npz"])
def test_other_pictures_are_evaluated(config, tmp_path, images, capsys):
    config.evaluation.update(images=str(tmp_path / images), reference="train")
    check_apart(config)
    assert capsys.readouterr().err == ""


def test_some_pictures_of_the_reference_are_named(config, tmp_path, capsys):
    """One linked training picture among others."""
    (tmp_path / "copies" / "linked.png").symlink_to(tmp_path / "data" / "train" / "0.png")
    config.evaluation.update(images=str(tmp_path / "copies"), reference="train")
    check_apart(config)
    assert "note: 1 of the 5 pictures of evaluation.images=" in capsys.readouterr().err
