"""Settings that cannot fit into memory are refused before anything is compiled."""

import jax
import pytest

from score_sde import machine
from score_sde.configs.digits import digits_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.devices import batches, check_batch
from score_sde.errors import UserError
from score_sde.modes import train
from score_sde.sde_lib import build_sde


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.nf": 2**16}, r"a network of [0-9,]+ parameters .* needs more than [0-9,]+ GB"),
        ({"data.image_size": 2**14}, "training.batch_size=64 images of 16384x16384x1 needs more than 69 GB"),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_refused(monkeypatch, changes, words):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10**10)
    config = digits_config("vp")
    config.model.attn_resolutions = ()
    config.training.snapshot_freq = 0
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=words):
        train.check(config, build_sde(config))


def test_an_error_without_a_files_name_is_not_said_as_one():
    """Such as the error of open("")."""
    named, nameless = (FileNotFoundError(2, "No such file", name) for name in ("x", ""))
    assert str(machine.refusal(named)) == "x: No such file"
    assert machine.refusal(nameless) is None


def test_the_memory_of_devices_counts(monkeypatch):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10)
    machine.check_memory("all", 100, 100)
    with pytest.raises(UserError):
        machine.check_memory("all", 101, 100)


def test_a_batch_over_all_hosts_may_fill_the_devices_of_all(monkeypatch):
    """Of numbers of 4 bytes, 100 fit into the devices of each host."""
    monkeypatch.setattr(machine, "memory_bytes", lambda: 0)
    monkeypatch.setattr(batches, "memory_of_devices", lambda: 400)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    config = toy_config()
    config.data.image_size = 1
    config.sampling.batch_size = 200
    check_batch(config, "sampling.batch_size")
    config.sampling.batch_size = 204
    with pytest.raises(UserError, match="batch_size=204"):
        check_batch(config, "sampling.batch_size")
