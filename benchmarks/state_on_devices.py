"""Measure the training state per device, and the communication of a training step, for each way of data parallelism.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 JAX_PLATFORMS=cpu \
        python -m benchmarks.state_on_devices --config configs/vp_digits.py --devices 2,4,8 --updates 6

The first line states what a device would hold by the rule of devices/sharded.py; with an empty --ways, nothing else is done or compiled.

The table has a row for each way and number of devices: the bytes of the state on the fullest device, summed over its shards; the
memory of arguments and additional allocations of the compiled training step, as reported by XLA; its collectives, with the bytes of
the whole arrays; and after --updates steps, the largest difference of a parameter from the first way.

`xla` is not a value of config.data_parallel: it is fsdp with a loss that is also written for whole arrays and partitioned by XLA alone.
Devices that are parts of one CPU say nothing about speed, so none is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.command import in_words, provenance, run_main
from benchmarks.tpu_compile.collectives import collectives as collectives_of
from score_sde import data
from score_sde.config_file import load_config
from score_sde.devices import DEVICES, Devices, FsdpDevices, Shares
from score_sde.errors import UserError
from score_sde.models.networks import conditions_of
from score_sde.progress import progress_bar
from score_sde.training.feed import feed, stacked
from score_sde.training.memory import amount, size
from score_sde.training.score_task import build_score_task
from score_sde.training.start import fresh, state_shapes
from score_sde.training.step import build_train_step


@dataclasses.dataclass(frozen=True)
class LeftToXla(FsdpDevices):
    """FSDP with the loss, too, partitioned by XLA according to the sharding of its arguments."""

    def joined(self, f: Any, arguments: Any, mapped: Any, like: Any) -> Shares:
        return f(*arguments)


WAYS = {**DEVICES, "xla": LeftToXla}


class Row(NamedTuple):
    way: str
    devices: int
    state: int
    """Bytes on the fullest device, as are all sizes here."""
    arguments: int
    allocated: int
    collectives: dict[str, tuple[int, int]]
    """Kind -> (count, bytes of the whole arrays)."""
    losses: list[float]
    difference: float | None
    """Largest difference of a parameter from the first way; None without updates."""


def collectives(program: str, num_devices: int) -> dict[str, tuple[int, int]]:
    """The collectives in the text of a compiled program: kind -> (count, bytes of the whole arrays)."""
    whole = {"reduce-scatter": num_devices}  # its result is one part of the array
    return {
        kind: (sent.count, whole.get(kind, 1) * sent.bytes)
        for kind, sent in collectives_of(program).items()
    }


def by_rule(config: Any, numbers: list[int]) -> str:
    """Describe the size of the whole state, and of the part on each device for each number of devices."""
    shapes = state_shapes(build_score_task(config))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes.params))
    parts = [amount(size(FsdpDevices((*jax.devices()[:n],)).template(shapes))) for n in numbers]
    return (
        f"{count:,} parameters; the state is {amount(size(shapes))}, and shared by {', '.join(map(str, numbers))} devices "
        f"{', '.join(parts)} on each."
    )


def held(state: Any, device: jax.Device) -> int:
    """Bytes of the state on one device."""
    return sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(state)
        for shard in leaf.addressable_shards
        if shard.device == device
    )


def measure(config: Any, way: str, devices: Devices, updates: int) -> tuple[Row, Any]:
    """Return the row, without the difference, and the parameters after the updates."""
    task = build_score_task(config)
    split = data.load(config, conditions=conditions_of(config), whole=True).train
    resident, steps = feed(config.seed, config.training.batch_size, split, 0, devices)
    state, step = fresh(task, devices), build_train_step(task, devices)
    fullest = max(held(state, device) for device in devices.devices)
    given = devices.split(stacked([next(steps)]))
    compiled = step.run.lower(state, (), resident, given, *step.beside).compile()
    found, losses = compiled.memory_analysis(), []
    for _ in range(updates):
        state, metrics = step(state, (), resident, given)
        given = devices.split(stacked([next(steps)]))
        losses.append(float(metrics["loss"][0]))
    number = len(devices.devices)
    new = found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    sent = collectives(compiled.as_text(), number)
    row = Row(way, number, fullest, found.argument_size_in_bytes, new, sent, losses, None)
    return row, jax.device_get(state.params)


def difference(params: Any, others: Any) -> float:
    apart = jax.tree.map(lambda a, b: np.max(np.abs(a - b)), params, others)
    return float(max(jax.tree.leaves(apart)))


def rows_of(config: Any, ways: list[str], numbers: list[int], updates: int) -> list[Row]:
    rows = []
    with progress_bar(len(ways) * len(numbers), "devices", "row", bool(ways)) as bar:
        for number in numbers:
            first = None
            for way in ways:
                devices = WAYS[way]((*jax.devices()[:number],))
                row, params = measure(config, way, devices, updates)
                first = params if first is None else first
                apart = difference(params, first) if updates else None
                rows.append(row._replace(difference=apart))
                bar.update(1)
    return rows


def table(rows: list[Row]) -> str:
    lines = [
        "| way | devices | state | arguments | allocated | collectives | differs by |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sent = ", ".join(
            f"{number} {kind} {amount(total)}" for kind, (number, total) in row.collectives.items()
        )
        sizes = " | ".join(map(amount, (row.state, row.arguments, row.allocated)))
        apart = "" if row.difference is None else f"{row.difference:.2g}"
        lines.append(f"| {row.way} | {row.devices} | {sizes} | {sent} | {apart} |")
    return "\n".join(lines)


def asked_of(options: argparse.Namespace) -> tuple[list[str], list[int]]:
    """Parse the ways and the numbers of devices.

    Raises:
      UserError: an unknown way, or more devices than available.
    """
    ways = [*filter(None, options.ways.split(","))]
    if unknown := [way for way in ways if way not in WAYS]:
        raise UserError(
            f"--ways={options.ways}: no way {unknown[0]!r}; take some of {', '.join(WAYS)}"
        )
    parts = options.devices.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--devices={options.devices}: expected numbers from 1, such as 2,4,8")
    numbers = [*map(int, parts)]
    if max(numbers) > jax.device_count():
        raise UserError(
            f"--devices={options.devices}: JAX sees {jax.device_count()} here; for devices that are parts of a CPU set "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={max(numbers)} and JAX_PLATFORMS=cpu"
        )
    return ways, numbers


def main(arguments: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", default="configs/vp_digits.py", help="FILE.py or FILE.py:variant"
    )
    parser.add_argument("--ways", default="shard_map,fsdp", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--devices", default="2,4,8", help="how many, of those that there are")
    parser.add_argument("--updates", type=int, default=0)
    parser.add_argument("--warmup", type=int, help="optim.warmup: without one, all updates move")
    parser.add_argument("--clip", type=float, help="optim.grad_clip; negative: none")
    options = parser.parse_args(arguments)
    ways, numbers = asked_of(options)
    config = load_config(options.config)
    changes = {"warmup": options.warmup, "grad_clip": options.clip}
    config.optim.update({name: to for name, to in changes.items() if to is not None})
    print(by_rule(config, numbers))
    rows = rows_of(config, ways, numbers, options.updates)
    print(in_words(provenance("benchmarks.state_on_devices")), table(rows), sep="\n\n")
    print(json.dumps([row._asdict() for row in rows]))
    return rows


if __name__ == "__main__":
    run_main(main)
