"""Weighted means of networks as new folders, with low-rank updates merged."""

import jax
import numpy as np
import pytest

from score_sde.command_line import prepared
from score_sde.configs.subvp_digits import get_config as digits_config
from score_sde.errors import UserError
from score_sde.models.networks import NETWORKS, build_network
from score_sde.modes import merge
from score_sde.sde_lib import build_sde
from score_sde.training.adapters import write_adapter
from score_sde.training.checkpoints import checkpoint_folder, saved_steps
from score_sde.training.lock import alone_in
from score_sde.training.recorded_config import read_config, record_config, recorded_classes
from score_sde.training.trained_score import load_score_model
from tests.training.flat_network import Flat, flat_config, random_weights, write_folder


@pytest.fixture(scope="module", autouse=True)
def _flat():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "flat", Flat)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three of one network, of steps 5, 6 and 7; and one that predicts something else."""
    folder = tmp_path_factory.mktemp("folders")
    for i, name in enumerate("abc"):
        write_folder(flat_config(), folder / name, random_weights(i), 5 + i)
    other = flat_config()
    other.model.predicts = "x0"
    write_folder(other, folder / "x0", random_weights(9))
    return folder


def merging(folder, names, **fields):
    config = flat_config()
    config.merge.folders = ", ".join(str(folder / name) for name in names)
    config.update_from_flattened_dict(fields)
    return config


def made(config, workdir):
    """The figures, and what every mode reads of the new folder by its own config."""
    sde = build_sde(config)
    merge.check(config, sde)
    workdir.mkdir()
    figures = merge.run(config, sde, workdir)
    own = read_config(workdir)
    loaded = load_score_model(own, build_sde(own), workdir)
    assert loaded.checkpoint_step == figures["step"]
    return figures, jax.device_get(loaded.model.params), own


def test_the_names_of_classes_are_kept_and_must_be_the_same(tmp_path):
    for name, classes in (("a", ("cat", "dog")), ("b", ("cat", "dog")), ("c", ("dog", "horse"))):
        write_folder(flat_config(), tmp_path / name, random_weights(0), 5)
        record_config(flat_config(), tmp_path / name, None, classes=classes)
    made(merging(tmp_path, "ab"), tmp_path / "new")
    assert recorded_classes(tmp_path / "new") == ("cat", "dog")
    (tmp_path / "newer").mkdir()
    config = merging(tmp_path, "ac")
    with pytest.raises(
        UserError, match=r"/c, in the order of their labels, are dog, horse, .*/a are cat, dog:"
    ):
        merge.run(config, build_sde(config), tmp_path / "newer")


def test_of_one_it_is_the_same_bit_for_bit(folder, tmp_path):
    figures, found, _ = made(merging(folder, "a"), tmp_path / "new")
    jax.tree.map(np.testing.assert_array_equal, found, random_weights(0))
    assert (figures["step"], figures["steps"], figures["weights"]) == (5, [5], [1.0])


@pytest.mark.parametrize("weights", [(), (0.5, 0.75, -0.25)])
def test_of_linear_networks_it_gives_the_mean_of_what_they_give(folder, tmp_path, weights):
    """With weights, also outside the triangle of the three networks."""
    figures, found, _ = made(merging(folder, "abc", **{"merge.weights": weights}), tmp_path / "new")
    network = build_network(flat_config())
    x, told = np.random.default_rng(3).normal(size=(5, 2, 2, 1)).astype(np.float32), np.ones(5)
    outputs = [network.apply({"params": random_weights(i)}, x, told) for i in range(3)]
    expected = np.average(outputs, axis=0, weights=weights or None)
    np.testing.assert_allclose(
        network.apply({"params": found}, x, told), expected, rtol=1e-5, atol=2e-6
    )
    assert figures["step"] == 7


def test_updates_are_merged_once_and_no_folder_of_adapters_is_left(folder, tmp_path):
    """The new config describes full weights, so that no mode looks for adapters; training may continue."""
    rng = np.random.default_rng(4)
    A, B = rng.normal(size=(4, 1)).astype(np.float32), rng.normal(size=(1, 4)).astype(np.float32)
    write_adapter(tmp_path / "one.npz", {"Dense_0": {"kernel": {"A": A, "B": B}}}, 3.0)
    config = merging(
        folder, "a", adapters=str(tmp_path / "one.npz"), adapter_scales=(0.5,),
    )  # fmt: skip
    config.training.init_from = "somewhere"
    config.training.lora.rank = 1
    figures, found, own = made(config, tmp_path / "new")
    before = random_weights(0)["Dense_0"]
    np.testing.assert_allclose(
        found["Dense_0"]["kernel"], before["kernel"] + 1.5 * np.outer(A, B), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(found["Dense_0"]["bias"], before["bias"])
    assert (own.training.lora.rank, own.training.init_from, own.adapters) == (0, "", "")
    assert own.merge.folders == ""
    assert figures["adapters"] == [[str(tmp_path / "one.npz"), 0.5]]


def test_a_class_that_was_not_learned_is_not_merged(folder, tmp_path, monkeypatch):
    """The vector of "no class", of a network that was trained with the class of every image."""
    monkeypatch.setattr(Flat, "conditions", staticmethod(lambda config: ("label",)), raising=False)
    config = merging(folder, "a", **{"training.label_dropout": 0.1})
    with pytest.raises(UserError, match=r"training.label_dropout=0.1 \(trained with 0.0\)"):
        made(config, tmp_path / "new")


def test_what_cannot_be_merged_is_refused_and_leaves_nothing(folder, tmp_path):
    def refusal(names, **fields):
        with pytest.raises(UserError) as error:
            made(merging(folder, names, **fields), tmp_path / f"new{refusal.count}")
        refusal.count += 1
        return str(error.value)

    refusal.count = 0
    assert "merge.folders is empty: expected the folders" in refusal("")
    assert "no checkpoint in" in refusal(["a", "none"])
    message = refusal(["a", "x0"])
    assert "model.predicts='process' (trained with 'x0')" in message
    message = refusal("ab", **{"merge.weights": (1.0,)})
    assert "has 1 numbers for the 2 of merge.folders" in message
    assert "merge.weights=(0.5, 0.4): expected" in refusal("ab", **{"merge.weights": (0.5, 0.4)})
    assert "adapters='none'" in refusal("a", adapters="none")
    assert "model.name=mixture has no weights" in refusal("a", **{"model.name": "mixture"})
    made_before = [*tmp_path.iterdir()]
    assert made_before
    assert not any(child for new in made_before for child in new.iterdir())
    config, before = merging(folder, "a"), sorted((folder / "b").iterdir())
    with pytest.raises(
        UserError, match="already has checkpoints, and a new one would be mixed with them"
    ):
        merge.run(config, build_sde(config), folder / "b")
    assert saved_steps(checkpoint_folder(folder / "b")) == [6]
    assert sorted((folder / "b").iterdir()) == before


def test_a_folder_made_for_a_mean_that_failed_is_removed(folder, tmp_path, monkeypatch):
    """Whatever the error; but not a folder that was there."""
    config = merging(folder, "ab")
    monkeypatch.setattr(merge, "saved", lambda *_: {}[""])
    (tmp_path / "old").mkdir()
    for name in ("new", "old"):
        with pytest.raises(KeyError), prepared(tmp_path / name):
            merge.run(config, build_sde(config), tmp_path / name)
    assert [*tmp_path.rglob("*")] == [tmp_path / "old"]


def test_a_folder_in_which_a_training_has_yet_to_save_is_left_alone(folder, tmp_path):
    saving = tmp_path / "run" / "checkpoints" / "6.orbax-checkpoint-tmp-0"
    saving.mkdir(parents=True)
    config = merging(folder, "a")
    with (
        alone_in(tmp_path / "run"),
        pytest.raises(UserError, match="another run is training in .*run"),
    ):
        merge.run(config, build_sde(config), tmp_path / "run")
    assert saving.is_dir()


def test_controls_are_not_merged():
    """Their base is stored outside the checkpoints and would be missing from a mean."""
    config = digits_config("control")
    config.merge.folders = "a,b"
    with pytest.raises(
        UserError, match="model.name='controlnet' with --mode merge: a ControlNet belongs"
    ):
        merge.check(config, build_sde(config))
