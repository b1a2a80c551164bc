"""An interrupted measurement resumes where it stopped, and only an identical one does."""

import dataclasses
import json
import os
import time

import numpy as np
import pytest

from score_sde.data.splits import ImagesInMemory
from score_sde.errors import UserError
from score_sde.sde_lib import VP
from score_sde.unfinished import UnfinishedFolder, newest_file
from tests.likelihood.test_bits_per_dim import config_for, gaussian, measure, split_of


@dataclasses.dataclass(frozen=True)
class Failing(ImagesInMemory):
    """A split that stops answering after some batches, and counts them."""

    asked: list = dataclasses.field(default_factory=list)
    limit: int = 99

    def take(self, indices):
        if len(self.asked) == self.limit:
            raise KeyboardInterrupt
        self.asked.append(indices)
        return super().take(indices)


def test_a_measurement_goes_on_where_it_stopped(tmp_path):
    config, split = config_for(17, repeats=2), split_of(10, 17)
    config.likelihood.bound_draws = 4
    whole = measure(config, VP(), gaussian(0.3), split)
    store = UnfinishedFolder(tmp_path, {"seed": 0})
    with pytest.raises(KeyboardInterrupt):
        measure(config, VP(), gaussian(0.3), Failing(split.images, limit=4), unfinished=store)
    # Six batches: three of each repeat. The fifth was not begun.
    rest = Failing(split.images)
    store = UnfinishedFolder(tmp_path, {"seed": 0})
    assert store.found == {0, 1, 2, 3}
    resumed = measure(config, VP(), gaussian(0.3), rest, unfinished=store)
    assert len(rest.asked) == 2
    for one, other in ((whole.ode, resumed.ode), (whole.bound, resumed.bound)):
        np.testing.assert_array_equal(one.bits_per_dim, other.bits_per_dim)
        np.testing.assert_array_equal(one.error, other.error)
    # Of the last repeat alone: those of the first are neither kept nor stored.
    assert whole.latents.shape == (10, 4, 4, 1)
    kept = ["ode/latent" in store.load(number) for number in range(4)]
    assert kept == [False, False, False, True]
    np.testing.assert_array_equal(whole.latents, resumed.latents)
    store.remove()
    assert not any(tmp_path.iterdir())


def test_another_measurement_finds_nothing(tmp_path):
    UnfinishedFolder(tmp_path, {"seed": 0}).save(0, {"ode/nats": np.zeros(2)})
    assert UnfinishedFolder(tmp_path, {"seed": 0}).load(0) is not None
    assert UnfinishedFolder(tmp_path, {"seed": 1}).load(0) is None
    assert UnfinishedFolder(tmp_path, {"seed": 0}).load(1) is None


def test_a_file_that_was_not_finished_is_not_taken(tmp_path):
    """Batches are renamed into place: partly written ones have another name."""
    store = UnfinishedFolder(tmp_path, {})
    store.save(0, {"ode/nats": np.zeros(2)})
    (store.folder / "1.partial").write_bytes(b"half")
    assert UnfinishedFolder(tmp_path, {}).found == {0}


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped"])
def test_a_damaged_batch_is_named(tmp_path, damage):
    store = UnfinishedFolder(tmp_path, {})
    store.save(0, {"ode/nats": np.arange(200.0)})
    path = store.folder / "0.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"empty": b"", "cut": data[:300], "flipped": data}[damage])
    with pytest.raises(UserError, match=r"0.npz, .*is damaged .*; remove the folder .*unfinished-"):
        UnfinishedFolder(tmp_path, {}).load(0)


def test_the_newest_file_while_others_come_and_go(tmp_path):
    (tmp_path / "7").mkdir()
    for name, changed in (("a", 100), ("b", 300)):
        (tmp_path / "7" / name).touch()
        os.utime(tmp_path / "7" / name, (changed, changed))
    os.utime(tmp_path / "7", (200, 200))
    (tmp_path / "vanished").symlink_to(tmp_path / "nothing")
    assert newest_file(tmp_path) == 300
    assert newest_file(tmp_path / "nothing") == 0


def by(monkeypatch, version, device):
    """Another version of the code, on another device."""
    made = {"version": version, "commit": "0" * 40, "device": device}
    monkeypatch.setattr("score_sde.unfinished.made_by_here", lambda: made)
    return made


def test_what_made_the_batches_is_said_and_recorded(tmp_path, monkeypatch, capsys):
    """The seconds are those of all commands. The batches of another version are used all the same."""
    clock = iter([0.0, 5.0, 7.0, 100.0, 103.0, 200.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    older = by(monkeypatch, "0.9.0", "NVIDIA H200")
    store = UnfinishedFolder(tmp_path, {})
    for number in range(2):
        store.save(number, {"ode/nats": np.zeros(2)})
    assert store.of_all_commands(8.0) == {"seconds": 8.0}
    assert capsys.readouterr().err == ""
    newer = by(monkeypatch, "1.0.0", "cpu")
    store = UnfinishedFolder(tmp_path, {})
    assert store.found == {0, 1}
    older_in_words = "score-sde 0.9.0 (commit 000000000000) on NVIDIA H200"
    newer_in_words = "score-sde 1.0.0 (commit 000000000000) on cpu"
    said = capsys.readouterr().err
    assert (
        f"continues from 2 batches made by {older_in_words}; this command runs {newer_in_words}"
        in said
    )
    store.save(2, {"ode/nats": np.zeros(2)})
    expected = {"seconds": 7.0 + 4.0, "batches_made_by": [older, newer]}
    assert store.of_all_commands(4.0) == expected
    by(monkeypatch, "0.9.0", "NVIDIA H200")
    again = UnfinishedFolder(tmp_path, {}).of_all_commands(1.0)
    assert f"3 batches, some of them made by {newer_in_words}; " in capsys.readouterr().err
    assert again == {"seconds": 7.0 + 3.0 + 1.0, "batches_made_by": [older, newer]}


WHOLE = {"version": "1", "commit": "7", "device": "cpu", "seconds": 1}
ODD = [
    {"commit": 7},
    {"version": ["1"]},
    {"device": {}},
    {"seconds": -1},
    {"seconds": float("nan")},
    {"seconds": "inf"},
    {"seconds": 10**400},
]


@pytest.mark.parametrize(
    "damage",
    [None, b"", b"[1]", b"{}", b'[{"version": "1"}]']
    + [json.dumps([WHOLE | odd]).encode() for odd in ODD],
)
def test_batches_by_nobody_knows_whom_are_used_and_recorded(tmp_path, capsys, damage):
    """Earlier versions did not write what made them. The record keeps the entry, also if the command is interrupted again."""
    UnfinishedFolder(tmp_path, {}).save(0, {"ode/nats": np.zeros(2)})
    (file,) = tmp_path.glob("*/commands.json")
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)
    unknown = {"version": None, "commit": None, "device": None}
    store = UnfinishedFolder(tmp_path, {})
    assert "from 1 batch made by an unrecorded version; this" in capsys.readouterr().err
    assert store.load(0) is not None
    assert store.of_all_commands(1.0) == {"seconds": 1.0, "batches_made_by": [unknown]}
    store.save(1, {"ode/nats": np.zeros(2)})
    found = UnfinishedFolder(tmp_path, {}).of_all_commands(1.0)
    assert found["batches_made_by"] == [unknown, store.by]
    assert "2 batches, some of them made by an unrecorded version" in capsys.readouterr().err


def test_other_files_are_no_batches(tmp_path):
    store = UnfinishedFolder(tmp_path, {})
    store.save(0, {"ode/nats": np.zeros(2)})
    (store.folder / "copy of 0.npz").write_bytes(b"")
    assert UnfinishedFolder(tmp_path, {}).found == {0}
