"""Compare training steps and evaluations with PyTorch's on one core of a CPU, or on several.

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false taskset -c 0 python -m benchmarks.beside_pytorch
    python -m benchmarks.beside_pytorch --cores 2

The network is DDPM++ of configs/vp_cifar.py, narrower and with fewer blocks, so that a step takes a second: 7.0 M parameters,
in float32. PyTorch (`pip install -e ".[peers]"`) runs the same network and training step (benchmarks/peers/), in turns with ours. On
one core the processor time of the process is measured, not wall-clock time, so that other load on the machine matters little. With
--memory: the peak resident set of a separate process, in steps after the first, in which XLA compiles; both processes import JAX.

With --cores N, on an idle machine and on N of its processors, wall-clock time is measured: of PyTorch with N threads, and of ours both
on one device, whose operations XLA parallelizes over threads, and on N devices that share the batch, as with `main.py --cpu_devices=N`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax

from benchmarks.accelerator import beside
from benchmarks.accelerator.ours import TrainingSteps, shared_forward
from benchmarks.accelerator.setting import SIZES, Setting
from benchmarks.command import in_words, provenance, run_main
from benchmarks.turns import CLOCKS, Work, in_turns, ratio
from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.training.memory import return_freed_memory

OURS, ONE_DEVICE = "ours", "ours, one device"


def works(kind: str, options: argparse.Namespace) -> dict[str, Work]:
    """The same work by each implementation, by name."""
    config, batch = Setting(options.size, 0.0, 0).config(), options.batch
    ours = TrainingSteps if kind == "training step" else shared_forward
    theirs = beside.training if kind == "training step" else beside.forward
    found: dict[str, Work] = {
        OURS: ours(config, batch, PmapDevices(tuple(jax.devices()[: options.cores])))
    }
    if options.cores > 1:
        found[ONE_DEVICE] = ours(config, batch, PmapDevices((jax.devices()[0],)))
    found[beside.EAGER] = theirs(config, batch, False)
    if options.compiled:
        found[beside.COMPILED] = theirs(config, batch, True)
    return found


def timed(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of a table of times."""
    clock = CLOCKS["processor" if options.cores == 1 else "wall"]
    yield "| | batch | who | seconds, median (range) | speedup over it |"
    yield "|---|---|---|---|---|"
    for kind in ("training step", "evaluation"):
        given = works(kind, options)
        for work in given.values():
            work(1)
        found = in_turns(given, options.block, options.rounds, clock)
        for who, timing in found.items():
            low, high = min(timing.seconds), max(timing.seconds)
            times = "" if who == OURS else f"{ratio(timing, found[OURS]):.2f}"
            seconds = f"{timing.median:.3f} ({low:.3f} to {high:.3f})"
            yield f"| {kind} | {options.batch} | {who} | {seconds} | {times} |"


def memory(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of a table of peak memory, each measured in its own process."""
    yield "| peak memory of training, GiB | batch | who |"
    yield "|---|---|---|"
    for who in (OURS, beside.EAGER):
        command = [sys.executable, "-m", "benchmarks.beside_pytorch", "--alone", who]
        command += ["--batch", str(options.batch), "--size", options.size]
        peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        yield f"| {float(peak):.2f} | {options.batch} | {who} |"


def peak_alone(who: str, options: argparse.Namespace) -> float:
    """Peak memory of this process in GiB, over three training steps after the first."""
    config = Setting(options.size, 0.0, 0).config()
    work = (
        TrainingSteps(config, options.batch)
        if who == OURS
        else beside.training(config, options.batch, False)
    )
    work(1)
    return_freed_memory()  # as --mode train does
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    work(3)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 2**20


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.beside_pytorch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--block", type=float, default=2.0, help="seconds of a block of timings")
    parser.add_argument("--compiled", action="store_true", help="torch.compile too")
    parser.add_argument("--memory", action="store_true", help="of training, in place of times")
    parser.add_argument("--size", choices=SIZES, default="reduced", help="of the network")
    parser.add_argument("--cores", type=int, default=1, help="devices of ours, threads of PyTorch")
    parser.add_argument("--alone", choices=(OURS, beside.EAGER), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if not beside.installed():
        raise UserError("PyTorch is not installed: pip install -e '.[peers]'")
    if options.cores < 1 or options.batch % options.cores:
        raise UserError(
            f"--cores={options.cores}: expected 1 or more, of which --batch={options.batch} is a multiple"
        )
    if options.cores > 1:
        keep_processors(options.cores)
        jax.config.update("jax_num_cpu_devices", options.cores)
    if jax.default_backend() != "cpu":
        raise UserError(
            f"JAX runs on {jax.default_backend()}: set JAX_PLATFORMS=cpu, or measure with python -m benchmarks.accelerator"
        )
    threads(options.cores)
    if options.alone:
        print(peak_alone(options.alone, options))
        return
    measure = memory if options.memory else timed
    for line in measure(options):
        print(line, flush=True)
    print(f"\nMeasured by {in_words(provenance('benchmarks.beside_pytorch'))}")


def keep_processors(count: int) -> None:
    """Restrict this process, and thereby XLA's threads, to `count` processors; only on Linux.

    Raises:
      UserError: fewer processors are available.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    there = sorted(os.sched_getaffinity(0))
    if len(there) < count:
        raise UserError(f"--cores={count}: this process may use {len(there)}")
    os.sched_setaffinity(0, there[:count])


def threads(count: int) -> None:
    """Set the number of PyTorch's threads; XLA's are set on the command line."""
    import torch

    torch.set_num_threads(count)


if __name__ == "__main__":
    run_main(main)
