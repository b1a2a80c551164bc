"""The memory of an update is reported before the first one, and refused if it cannot fit."""

import ctypes
import re
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from score_sde import machine
from score_sde.devices import PmapDevices, ShardMapDevices
from score_sde.errors import UserError
from score_sde.machine import memory_bytes
from score_sde.training import memory
from score_sde.training import run as training_run
from score_sde.training.memory import (
    GIB,
    Needed,
    available,
    check_fits,
    return_freed_memory,
    size,
)
from tests.training.test_left_alone import run, steps_of


def test_sizes():
    tree = {"a": jnp.zeros((3, 5)), "b": jax.ShapeDtypeStruct((7,), jnp.uint8), "c": ()}
    assert size(tree) == 4 * 15 + 7
    assert Needed(1, 2, 4).total == 7


@pytest.mark.parametrize("way", [PmapDevices, ShardMapDevices])
def test_the_memory_of_a_call_beside_its_arguments(way):
    """For x (8, 1000) on four devices: two rows each of stored squares, but none for a result that reuses its donated argument."""
    devices, x = way(), jnp.ones((8, 1000))
    squares = devices.data_parallel(lambda x: (x * x, x + 1), (True,))
    assert squares.memory(devices.split(x)) == pytest.approx(2 * 2 * 4000, abs=200)
    more = devices.data_parallel(lambda x: x + 1, (False,), out_mapped=False, donate=(0,))
    donated = jax.device_put(x, devices.replicated())
    if way is ShardMapDevices:
        assert more.memory(donated) < 200


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_memory_goes_back_to_the_system():
    c = ctypes.CDLL(None)
    if not hasattr(c, "malloc_trim"):
        pytest.skip("not glibc")
    c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

    def resident():
        return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1])

    blocks = [c.malloc(4000) for _ in range(16_000)]
    for block in blocks:
        ctypes.memset(block, 1, 4000)
    for block in blocks[:-1]:  # the last keeps the heap from shrinking by itself
        c.free(block)
    before = resident()
    return_freed_memory()
    c.free(blocks[-1])
    assert before - resident() > 50_000  # KiB, of 62,500


def test_what_does_not_fit_is_refused_with_what_to_do(monkeypatch):
    needed = Needed(3 * GIB, 0, GIB // 2)
    for limit in (None, 4 * GIB, 3 * GIB):  # unknown, enough, and not
        monkeypatch.setattr(memory, "available", lambda device, limit=limit: limit)
        if limit != 3 * GIB:
            check_fits(needed, "an update")
    with pytest.raises(UserError) as error:
        check_fits(needed, "an update of ncsnpp")
    assert str(error.value).startswith(
        "an update of ncsnpp needs 3.5 GiB of memory on each device (state 3 GiB, data 0 bytes, activations and gradient 512 MiB), "
        "but each device has 3 GiB: use a smaller batch_size"
    )
    assert "training.accumulation=2" in str(error.value)
    assert "model.remat=True" in str(error.value)


def test_what_there_is(tmp_path, monkeypatch):
    gpu = types.SimpleNamespace(platform="gpu", memory_stats=lambda: {"bytes_limit": 5})
    assert available(gpu) == 5
    assert available(types.SimpleNamespace(platform="tpu", memory_stats=lambda: None)) is None
    assert GIB // 4 < memory_bytes() < 2**60
    assert available(jax.devices()[0]) == memory_bytes() // 4
    for text, limit in (("max\n", memory_bytes()), ("1048576\n", 2**20)):
        (tmp_path / "limit").write_text(text)
        monkeypatch.setattr(machine, "LIMITS", (str(tmp_path / "limit"), "/nowhere"))
        assert memory_bytes() == limit


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (4, "training a mean needs .* the state alone does not fit; use a"),
        (14, "training a mean needs .* use a smaller batch_size"),
        (40, "an update of a mean needs .* use a smaller batch_size"),
    ],
)
def test_a_run_that_cannot_fit_ends_before_it_begins(tmp_path, monkeypatch, limit, words):
    """The state of the mean has three numbers, 12 bytes, its gradient one; an update also has its eight images."""
    monkeypatch.setattr(memory, "available", lambda device: limit)
    with pytest.raises(UserError, match=words):
        run(tmp_path)
    assert steps_of(tmp_path) == []


def test_what_an_update_takes_is_said(tmp_path, capsys):
    run(tmp_path, 1)
    assert "an update takes " in capsys.readouterr().err


def test_memory_is_returned_after_the_first_update_alone(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(training_run, "return_freed_memory", lambda: calls.append(1))
    run(tmp_path, 3)
    assert calls == [1]
