"""Benchmark an accelerator in a few minutes, the most valuable measurements first, recorded as they are made.

    python -m benchmarks.accelerator --minutes 7 --out runs/accelerator
    python -m benchmarks.accelerator --size tiny --out runs/tiny    on any machine, to see that it works
    python -m benchmarks.accelerator --size reduced --clock processor --stages samplers likelihoods --out runs/cpu

Each stage (stages.py) runs in its own process, so that one that fails or hangs does not affect the others. rows.jsonl has a line
for each figure, STAGE.log the output of a stage, table.md the table, and compiled/ is JAX's compilation cache. PyTorch is measured
too if it is installed. One GPU is measured, the first that CUDA_VISIBLE_DEVICES allows. In a folder with existing rows, those of
the stages that run again are replaced; their first calls are then named as cached, as compiled/ has their programs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax

from benchmarks.accelerator.setting import SIZES, Setting
from benchmarks.accelerator.stages import STAGES
from benchmarks.accelerator.table import read_rows, table, without_stage
from benchmarks.command import make_folder, provenance, run_main
from benchmarks.turns import CLOCKS
from score_sde.errors import UserError

COMMAND = "python -m benchmarks.accelerator --size {} --clock {} --out DIR --stages {}"
BLOCK, ROUNDS = 1.5, 3


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=7.0, help="no stage runs beyond these")
    parser.add_argument("--out", type=Path, required=True, help="a folder, made if need be")
    parser.add_argument(
        "--size",
        choices=SIZES,
        default="published",
        help="of networks and batches; reduced: for CPUs",
    )
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="processor: the time of all threads of a process, for CPUs that others use too",
    )
    parser.add_argument("--stages", nargs="+", default=[*STAGES], help=f"among {', '.join(STAGES)}")
    parser.add_argument("--stage", help=argparse.SUPPRESS)  # in the process of one stage
    return parser.parse_args(arguments)


def run_stage(name: str, setting: Setting, clock: str, out: Path) -> None:
    """Run a stage, replacing its lines of rows.jsonl by one for each figure as soon as it is measured."""
    if jax.default_backend() != "cpu" and jax.device_count() > 1:
        raise UserError(
            f"JAX sees {jax.device_count()} devices, and beside them all stands one: hide the others, as CUDA_VISIBLE_DEVICES does"
        )
    facts = provenance("benchmarks.accelerator") | {
        "command": COMMAND.format(setting.size, clock, name)
    }
    check_machine(out, name, facts)
    without_stage(out, name)
    for row in STAGES[name].run(setting):
        with open(out / "rows.jsonl", "a") as file:
            file.write(json.dumps(row._asdict() | facts) + "\n")
        print(row, flush=True)


def run_stages(options: argparse.Namespace) -> dict[str, str]:
    """Run the stages, and return the outcome of each in a few words."""
    end = time.monotonic() + 60 * options.minutes
    ended = {}
    for name in options.stages:
        left = end - time.monotonic()
        enough = left > (STAGES[name].seconds if options.size == "published" else 0)
        ended[name] = run_apart(name, options, left) if enough else "no time"
        print(f"{name}: {ended[name]}", flush=True)
        (options.out / "table.md").write_text(table(read_rows(options.out), ended))
    return ended


def run_apart(name: str, options: argparse.Namespace, seconds: float) -> str:
    command = [sys.executable, "-m", "benchmarks.accelerator", "--stage", name]
    command += ["--out", str(options.out), "--size", options.size, "--clock", options.clock]
    began = time.monotonic()
    with open(options.out / f"{name}.log", "w") as log:
        try:
            code = subprocess.run(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                env=os.environ | environment(options.out),
            ).returncode
        except subprocess.TimeoutExpired:
            return f"stopped after {seconds:.0f} s"
    return f"{time.monotonic() - began:.0f} s" if code == 0 else f"failed: see {name}.log"


def environment(out: Path) -> dict[str, str]:
    """Environment variables of stages: one GPU, no preallocation of memory, a CPU for comparison, and a compilation cache."""
    made = {
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0],
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_COMPILATION_CACHE_DIR": str((out / "compiled").resolve()),
    }
    if platforms := os.environ.get("JAX_PLATFORMS"):
        made["JAX_PLATFORMS"] = platforms if "cpu" in platforms else f"{platforms},cpu"
    return made


def check_rows(options: argparse.Namespace) -> None:
    """Raise UserError if the folder has rows of another size or clock, which must not share a table."""
    for row in read_rows(options.out):
        if row["command"] != COMMAND.format(options.size, options.clock, row["stage"]):
            raise UserError(
                f"--out={options.out} has rows of `{row['command']}`: give another folder"
            )


def check_machine(out: Path, stage: str, facts: dict[str, Any]) -> None:
    """Raise UserError if other stages ran on another machine, since rates are compared with its matrix product."""
    for row in read_rows(out):
        there, here = ([of[fact] for fact in ("machine", "device", "jax")] for of in (row, facts))
        if row["stage"] != stage and there != here:
            raise UserError(
                f"--out={out} has rows of {there[0]}, {there[1]}, jax {there[2]}, and here are {here[0]}, {here[1]}, jax {here[2]}: "
                "give another folder"
            )


def main(arguments: list[str] | None = None) -> dict[str, str]:
    options = parse(arguments)
    if unknown := {*options.stages} - {*STAGES}:
        raise UserError(f"--stages={', '.join(sorted(unknown))}: take {', '.join(STAGES)}")
    if not options.minutes > 0:
        raise UserError(f"--minutes={options.minutes}: expected a positive number")
    make_folder(options.out)
    check_rows(options)
    if options.stage:
        block, rounds = (0.01, 2) if options.size == "tiny" else (BLOCK, ROUNDS)
        setting = Setting(options.size, block, rounds, CLOCKS[options.clock])
        run_stage(options.stage, setting, options.clock, options.out)
        return {}
    ended = run_stages(options)
    print((options.out / "table.md").read_text())
    if failed := [name for name, how in ended.items() if how.startswith("failed")]:
        raise UserError(f"failed: {', '.join(failed)}; {options.out} has a log of each")
    return ended


if __name__ == "__main__":
    run_main(main)
