"""The first pictures of a folder, which are those of its first sub-folders: said of the reference and of the images to restore."""

import numpy as np
import pytest
from PIL import Image

from score_sde.configs.subvp_digits import get_config
from score_sde.modes import restore
from score_sde.quality.reference import open_reference
from score_sde.restoration.observed import observe
from score_sde.spaces import build_space


@pytest.fixture
def folder(tmp_path):
    """Six pictures in each of two sub-folders, whose names are no classes of the data."""
    shades = np.random.default_rng(0).integers(0, 256, (12, 8, 8)).astype(np.uint8)
    for i in range(12):
        path = tmp_path / "pictures" / "ab"[i // 6] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shades[i]).save(path)
    return tmp_path / "pictures"


@pytest.mark.parametrize(("count", "noted"), [(1, False), (6, True), (7, False), (0, False)])
def test_a_reference_of_some_sub_folders_is_said_to_be(folder, tmp_path, capsys, count, noted):
    """Six are all of a/; one can only be of one, and seven are of both."""
    config = get_config()
    config.evaluation.update(reference=str(folder), num_reference=count)
    assert open_reference(config, tmp_path).reference.num_images == (count or 12)
    said = f"note: the first {count} pictures of evaluation.reference='{folder}', by name, lie in 1 of its 2 sub-folders"
    assert (said in capsys.readouterr().err) == noted


def test_pictures_to_restore_of_some_sub_folders_are_said_to_be(folder, capsys):
    config = get_config()
    config.restore.update(images=str(folder), num_images=4)
    space = build_space(config)
    observe(config, space, restore.measurement_of(config, space))
    said = capsys.readouterr().err
    assert f"note: the first 4 pictures of restore.images='{folder}', by name, lie in 1 of" in said


def test_pictures_without_sub_folders_are_of_none(folder, tmp_path, capsys):
    config = get_config()
    config.evaluation.update(reference=str(folder / "a"), num_reference=4)
    open_reference(config, tmp_path)
    assert capsys.readouterr().err == ""
