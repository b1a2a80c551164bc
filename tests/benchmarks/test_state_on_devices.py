"""Sizes of collectives, for compiled programs in which they are known; and the table of a network's updates."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from benchmarks.state_on_devices import collectives, held, main
from score_sde.devices import AXIS, FsdpDevices
from score_sde.devices.mapped import mesh_of
from score_sde.errors import UserError

ROOT = Path(__file__).parents[2]


def test_bytes_of_collectives():
    """On four devices: a gathered (8, 6) in float32, a scattered (4, 6) of 16 bits, and sums of 5 numbers and of one."""
    split = PartitionSpec(AXIS)

    @partial(
        jax.shard_map,
        mesh=mesh_of(jax.devices()),
        in_specs=(split, split, split),
        out_specs=(split, split, PartitionSpec()),
        check_vma=False,
    )
    def f(gathered, scattered, added):
        whole = jax.lax.all_gather(gathered, AXIS, tiled=True)
        return (
            whole,
            jax.lax.psum_scatter(scattered, AXIS, tiled=True),
            jax.lax.psum(added, AXIS),
        )

    arguments = np.ones((8, 6), np.float32), np.ones((16, 6), np.int16), np.ones((4, 5), np.float32)
    program = jax.jit(f).lower(*arguments).compile().as_text()
    assert collectives(program, 4) == {
        "all-gather": (1, 8 * 6 * 4),
        "reduce-scatter": (1, 4 * 6 * 2),
        "all-reduce": (1, 5 * 4),
    }


def test_what_a_device_holds():
    devices = FsdpDevices()
    tree = jnp.zeros((64, 32)), jnp.zeros(3), jnp.zeros((), jnp.int32)
    lying = jax.tree.map(lambda leaf: jax.device_put(leaf, devices.place(leaf)), tree)
    assert {held(lying, device) for device in devices.devices} == {64 * 32 + 12 + 4}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        # Four devices would pass for sixteen.
        ("--devices 2,16", "JAX sees 4 here; .* XLA_FLAGS=--xla_force_host_platform_device_count=16"),
        ("--devices 2,x", "--devices=2,x: expected numbers from 1"),
        ("--devices 0", "--devices=0: expected numbers from 1"),
        ("--ways fsdp,pjit", "no way 'pjit'; take some of .*, fsdp, xla"),
    ],
)  # fmt: skip
def test_devices_and_ways_that_there_are_not(monkeypatch, arguments, words):
    """Refused before the configuration is read."""
    monkeypatch.setattr("benchmarks.state_on_devices.load_config", None)
    with pytest.raises(UserError, match=words):
        main(arguments.split())


SCRIPT = """
import json
from benchmarks.state_on_devices import rows_of
from score_sde.configs.vp_digits import get_config
config = get_config()
config.model.update(nf=16, ch_mult=(1,), attn_resolutions=(), remat=True)
config.training.ema.sigma_rel = (0.1,)
config.optim.warmup = 0
rows = rows_of(config, ["pmap", "shard_map", "fsdp"], [2, 4, 8], 3)
print(json.dumps([row._asdict() for row in rows]))
"""


@pytest.mark.slow
def test_a_networks_updates_on_two_four_and_eight_devices():
    """Updates equal those of the other ways; a device holds its part and the small leaves; bytes sent match the parameters.

    The gradients have the same bits. XLA's older code generator, which tests use, rounds Adam's averages once or twice, as it fuses
    them, so three updates of lr = 4e-3 each may differ by some 1e-6; a gradient that is wrong would make them differ by lr.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=8",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, timeout=900
    )  # fmt: skip
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [(row["devices"], row["way"]) for row in rows] == [
        (number, way) for number in (2, 4, 8) for way in ("pmap", "shard_map", "fsdp")
    ]
    for pmap, shard_map, fsdp in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert pmap["losses"] == shard_map["losses"]
        assert fsdp["losses"] == pytest.approx(pmap["losses"], rel=1e-5)
        assert fsdp["difference"] < 1e-5
        number, whole = fsdp["devices"], shard_map["state"]
        assert pmap["state"] == whole
        # State = copies of split and small parameters, and counts: two equations for the split bytes.
        split = (whole - fsdp["state"]) * number / (number - 1)
        gathered = fsdp["collectives"]["all-gather"][1]
        # Parameters, average, two moments, and an average of a width.
        assert split == 5 * gathered
        assert fsdp["collectives"]["reduce-scatter"][1] == gathered
        parameters = shard_map["collectives"]["all-reduce"][1]
        assert gathered < parameters < 1.2 * gathered
        assert parameters - gathered <= fsdp["collectives"]["all-reduce"][1] + 4 * 4
        assert set(fsdp["collectives"]) == {"all-gather", "reduce-scatter", "all-reduce"}
        assert fsdp["arguments"] < 0.9 * shard_map["arguments"]
