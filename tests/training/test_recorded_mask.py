"""The picture condition.mask in config.json: known by its contents, not by its name."""

import json

import numpy as np
import pytest
from PIL import Image

from score_sde import data
from score_sde.configs.digits import digits_config
from score_sde.errors import UserError
from score_sde.generation import denoising_errors
from score_sde.modes import likelihood, sample
from score_sde.sde_lib import build_sde
from score_sde.training.recorded_config import (
    check_goes_on,
    check_recorded,
    check_same_run,
    read_config,
    record_config,
)
from score_sde.training.trained_score import LoadedScore


def left_half(path, known=True):
    shades = np.zeros((8, 8), np.uint8)
    shades[:, slice(4) if known else slice(4, 8)] = 255
    Image.fromarray(shades).save(path)


@pytest.fixture
def config(tmp_path):
    """Conditioned on the pixels of a mask, of which the left half is known."""
    left_half(tmp_path / "mask.png")
    config = digits_config("vp")
    config.model.condition_image = "measured"
    config.condition.update(name="mask", mask=str(tmp_path / "mask.png"))
    return config


READERS = {
    "resumes": lambda config, folder: record_config(config, folder, 10),
    "goes on": check_goes_on,
    "is replayed": check_same_run,
    "is read": check_recorded,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_an_inverted_mask_under_the_same_name_is_refused(config, tmp_path, read):
    record_config(config, tmp_path, None)
    kept = (tmp_path / "config.json").read_bytes()
    read(config, tmp_path)
    left_half(tmp_path / "mask.png", known=False)
    with pytest.raises(UserError, match=r"another picture condition.mask='.*mask.png' \(sha256"):
        read(config, tmp_path)
    assert (tmp_path / "config.json").read_bytes() == kept
    left_half(tmp_path / "mask.png")
    read(config, tmp_path)
    assert read_config(tmp_path).condition.mask == str(tmp_path / "mask.png")


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_folder_of_before_masks_were_known_is_read_silently(config, tmp_path, read, capsys):
    record_config(config, tmp_path, None)
    record = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({name: of for name, of in record.items() if name != "condition_mask"})
    )
    read(config, tmp_path)
    assert capsys.readouterr().err == ""


def test_weights_without_the_mask_are_read(config, tmp_path):
    """Weights are exported and merged without their mask."""
    record_config(config, tmp_path, None)
    (tmp_path / "mask.png").unlink()
    check_recorded(config, tmp_path)


def test_without_a_mask_there_is_none(config, tmp_path):
    """Other measurements do not read the field, and networks without a condition image no measurement."""
    for values in ({"condition.name": "half"}, {"model.condition_image": "none"}):
        other = config.copy_and_resolve_references()
        other.update_from_flattened_dict(values)
        record_config(other, tmp_path, None)
        assert "condition_mask" not in json.loads((tmp_path / "config.json").read_text())


def test_results_of_another_mask_are_others(config, tmp_path):
    """Unfinished samples and likelihoods, rows of a trade-off and denoising errors."""
    sde, loaded = build_sde(config), LoadedScore(None, 6)
    datasets = data.load(config)

    def identities():
        return (
            sample.identity(config, tmp_path, loaded),
            likelihood.identity(config, tmp_path, loaded, "split"),
            denoising_errors.identity(config, sde, loaded, datasets),
        )

    before = identities()
    assert identities() == before
    left_half(tmp_path / "mask.png", known=False)
    assert all(now != then for now, then in zip(identities(), before, strict=True))
    config.condition.name = "half"
    assert all("condition_mask" not in found for found in identities())
