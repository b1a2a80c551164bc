"""Checkpoints: restored state equals saved state, and mismatches are refused by name."""

import functools
import itertools
import shutil

import jax
import numpy as np
import pytest

from score_sde.devices import replicated
from score_sde.errors import UserError
from score_sde.models.networks import build_network
from score_sde.training import checkpoints as checkpoints_module
from score_sde.training.checkpoints import Checkpoints, restore_ema, saved_steps
from score_sde.training.optimizer import build_optimizer
from score_sde.training.state import init_params, init_state
from tests.training.stub_network import stub_config


@functools.cache
def shapes_of(features):
    """Of the state of a stub network of so many features, which must have its name."""
    config = stub_config()
    config.model.nf = features
    return jax.eval_shape(
        lambda: init_state(config, build_network(config), build_optimizer(config))
    )


def shapes_only(config):
    return shapes_of(config.model.nf)


def make_state(config, devices=None):
    """A state whose arrays all differ, so that none can be taken for another."""
    rng = np.random.default_rng(0)
    flat, treedef = jax.tree.flatten(shapes_only(config))
    flat = [
        (rng.uniform(-0.5, 0.5, leaf.shape) + i).astype(leaf.dtype) for i, leaf in enumerate(flat)
    ]
    return jax.device_put(jax.tree.unflatten(treedef, flat), replicated(devices))


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@pytest.mark.parametrize("num_devices", [1, 4])
def test_a_state_comes_back_on_all_devices_whichever_saved_it(config, tmp_path, num_devices):
    state = make_state(config, jax.devices()[:num_devices])
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, state)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(shapes_only(config))
    assert_equal(restored, state)
    assert all(len(leaf.addressable_shards) == 4 for leaf in jax.tree.leaves(restored))


def test_the_average_alone_comes_back(config, tmp_path):
    state = make_state(config)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, state)
    template = jax.eval_shape(lambda: init_params(config, build_network(config)))
    params, step = restore_ema(tmp_path, template)
    assert step == 7
    assert_equal(params, state.ema_params)


def test_a_state_may_be_donated_while_it_is_saved(config, tmp_path):
    state = make_state(config)
    expected = jax.tree.map(lambda leaf: np.array(leaf, copy=True), state)
    spoil = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 0, state), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        spoil(state)
        checkpoints.wait()
        assert_equal(checkpoints.restore(shapes_only(config)), expected)


def test_the_latest_so_many_are_kept(config, tmp_path):
    state = make_state(config)
    for keep, left in ((2, ["3", "4"]), (0, ["1", "2", "3", "4"])):
        with Checkpoints(tmp_path / str(keep), keep) as checkpoints:
            for step in (1, 2, 3, 4):
                checkpoints.save(step, state)
            checkpoints.save(4, state)  # already there
        folder = tmp_path / str(keep) / "checkpoints"
        assert sorted(path.name for path in folder.iterdir()) == left


def test_every_so_many_steps_one_is_kept_for_ever(config, tmp_path):
    state = make_state(config)
    with Checkpoints(tmp_path, keep=1, keep_every=2) as checkpoints:
        for step in range(1, 6):
            checkpoints.save(step, state)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "4", "5"]


def test_the_average_of_an_earlier_step(config, tmp_path):
    early, late = make_state(config), make_state(config)
    late = jax.tree.map(lambda leaf: leaf + 1, late)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, early)
        checkpoints.save(7, late)
    template = jax.eval_shape(lambda: init_params(config, build_network(config)))
    for asked, found, state in ((3, 3, early), (7, 7, late), (0, 7, late)):
        params, step = restore_ema(tmp_path, template, asked)
        assert step == found
        assert_equal(params, state.ema_params)
    with pytest.raises(UserError, match="checkpoint_step=5: .* has the steps 3, 7; choose one"):
        restore_ema(tmp_path, template, 5)


def test_a_killed_save_leaves_the_one_before_it_the_newest(config, tmp_path):
    state = make_state(config)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state)
    # What a process killed in the middle of a save leaves: the temporary name, and only some of the files.
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "3", folder / "5.orbax-checkpoint-tmp")
    (folder / "5.orbax-checkpoint-tmp" / "_CHECKPOINT_METADATA").unlink()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 3
        assert_equal(checkpoints.restore(shapes_only(config)), state)
        checkpoints.save(5, state)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 5


def test_another_network_is_refused_with_the_names_that_differ(config, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, make_state(config))
    config.model.nf = 12
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError) as error:
        checkpoints.restore(shapes_only(config))
    message = str(error.value)
    assert "ema_params.Dense_0.bias: checkpoint (8,), config (12,)" in message
    # Five of the six arrays hold nf, each in params, ema_params, and Adam's two moments.
    assert "20 arrays differ" in message
    assert message.count("checkpoint (") == 4
    assert len(message.splitlines()) == 1
    assert "config that it was trained with" in message
    template = jax.eval_shape(lambda: init_params(config, build_network(config)))
    with pytest.raises(UserError, match="5 arrays differ"):
        restore_ema(tmp_path, template)


def test_missing_and_extra_names_are_told_apart(config, tmp_path):
    state = make_state(config)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state)
    template = dict(state.ema_params)
    template["Extra_0"] = template.pop("Dense_1")
    with pytest.raises(UserError) as error:
        restore_ema(tmp_path, template)
    assert "ema_params.Extra_0.kernel: checkpoint absent, config (1, 8)" in str(error.value)
    assert "ema_params.Dense_1.kernel: checkpoint (1, 8), config absent" in str(error.value)


def test_no_checkpoint_says_where_and_what_to_do(config, tmp_path):
    with pytest.raises(UserError) as error:
        restore_ema(tmp_path / "elsewhere", {})
    assert str(tmp_path / "elsewhere" / "checkpoints") in str(error.value)
    assert "--mode train" in str(error.value)
    assert not (tmp_path / "elsewhere").exists()
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match="no checkpoint in"):
        checkpoints.restore(shapes_only(config))


def test_a_whole_state_of_an_earlier_step(config, tmp_path):
    early = make_state(config)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, early)
        checkpoints.save(7, jax.tree.map(lambda leaf: leaf + 1, early))
        checkpoints.wait()
        assert_equal(checkpoints.restore(shapes_only(config), 3), early)
        with pytest.raises(UserError, match="checkpoint_step=4"):
            checkpoints.restore(shapes_only(config), 4)


def two_checkpoints(config, folder):
    early = make_state(config)
    late = jax.tree.map(lambda leaf: leaf + 1, early)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(3, early)
        checkpoints.save(7, late)
    return early, late


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "flipped": flipped,
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize(
    "damage", [pytest.param(of, marks=[pytest.mark.slow] * (of != "flipped")) for of in DAMAGES]
)
def test_whatever_happens_to_a_file_no_other_weights_are_read(config, tmp_path, capsys, damage):
    """For each damaged file of the newest checkpoint, its arrays are restored, or the previous ones with a message."""
    early, late = two_checkpoints(config, tmp_path)
    newest = tmp_path / "checkpoints" / "7"
    files = [path for path in newest.rglob("*") if path.is_file()]
    assert len(files) > 5
    noticed = 0
    for path in files:
        before = path.read_bytes()
        if not before:
            continue
        DAMAGES[damage](path)
        with Checkpoints(tmp_path) as checkpoints:
            restored = checkpoints.restore(shapes_only(config))
        found = capsys.readouterr().err
        if "the checkpoint of step 7 is damaged" in found:
            assert "using the one of step 3" in found
            noticed += 1
        assert_equal(restored, early if found else late)
        path.write_bytes(before)
    # All but the files that say nothing of the arrays.
    assert noticed >= len(files) - 3


def test_a_damaged_one_that_is_asked_for_is_refused(config, tmp_path):
    two_checkpoints(config, tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "7" / "default")
    template = jax.eval_shape(lambda: init_params(config, build_network(config)))
    with pytest.raises(UserError, match=r"step 7 is damaged .* is missing\); choose one of 3, or"):
        restore_ema(tmp_path, template, 7)
    assert restore_ema(tmp_path, template)[1] == 3
    shutil.rmtree(tmp_path / "checkpoints" / "3" / "default")
    with pytest.raises(
        UserError, match="step 7 is damaged .* step 3 is damaged .* put back a copy"
    ):
        restore_ema(tmp_path, template)


@pytest.mark.parametrize("finds", [0, 1])  # the files, or the arrays in them
def test_what_another_host_finds_damaged_no_host_reads(
    config, tmp_path, capsys, monkeypatch, finds
):
    early, _ = two_checkpoints(config, tmp_path)
    found = (number == finds for number in itertools.count())
    monkeypatch.setattr(checkpoints_module, "on_any_host", lambda flags: flags | next(found))
    with Checkpoints(tmp_path) as checkpoints:
        assert_equal(checkpoints.restore(shapes_only(config)), early)
    assert "step 7 is damaged (found by another host): using the one" in capsys.readouterr().err


def test_one_without_checksums_is_read_as_it_is(config, tmp_path, capsys):
    _, late = two_checkpoints(config, tmp_path)
    (tmp_path / "checkpoints" / "7" / "sha256.json").unlink()
    (tmp_path / "checkpoints" / "30").mkdir()  # a copy that broke off
    with Checkpoints(tmp_path) as checkpoints:
        assert_equal(checkpoints.restore(shapes_only(config)), late)
    assert "step 30 is damaged (its folder is empty)" in capsys.readouterr().err


def test_no_host_moves_damaged_steps_before_all_have_listed_them(config, tmp_path, monkeypatch):
    two_checkpoints(config, tmp_path)
    at_meetings = []
    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(
            checkpoints_module,
            "all_hosts_meet",
            lambda what: at_meetings.append(saved_steps(checkpoints.folder)),
        )
        checkpoints.set_aside_after(3)
    assert at_meetings == [[3, 7], [3]]


def test_training_makes_the_damaged_steps_again(config, tmp_path):
    early, late = two_checkpoints(config, tmp_path)
    flipped(tmp_path / "checkpoints" / "7" / "default" / "_METADATA")
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore(shapes_only(config))
        checkpoints.set_aside_after(3)
        assert (tmp_path / "damaged_checkpoints" / "7").is_dir()
        assert checkpoints.latest_step == 3
        checkpoints.save(7, late)
        checkpoints.wait()
        assert_equal(checkpoints.restore(shapes_only(config)), late)
