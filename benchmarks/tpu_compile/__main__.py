"""Compile training, sampling and likelihood of the published configurations for TPUs, on a machine that has none.

    pip install -e ".[tpu]"
    python -m benchmarks.tpu_compile --out runs/tpu --set model.dtype=bfloat16
    python -m benchmarks.tpu_compile --out runs/tpu --configs configs/vp_cifar.py --stages training \\
        --topologies v5e:2x4 v5e:4x4 v5e:16x16 --per_chip 16          weak scaling, as the compiler sees it
    python -m benchmarks.tpu_compile --out runs/tpu --configs configs/vp_cifar.py --stages training --largest

XLA's compiler for TPUs runs on any machine, given the shapes of the arguments and the name of a topology. Its results are recorded
as they come: rows.jsonl has a line for each program (memory per chip, operations, communication between chips), table.md the
table. Each job runs in its own process, with its output in a log of the same name; jobs already in rows.jsonl are not compiled
again. Nothing is executed: no figure is a run time on a TPU.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import make_folder, run_main
from benchmarks.tpu_compile import chips
from benchmarks.tpu_compile.job import Job, rows_of, run
from benchmarks.tpu_compile.largest import largest
from benchmarks.tpu_compile.stages import STAGES
from benchmarks.tpu_compile.table import read_rows, table
from score_sde.errors import UserError

# One config for each network and process at every size; the others differ from them only in their data.
CONFIGS = (
    "configs/vp_cifar.py",
    "configs/ve_cifar.py",
    "configs/vp_cifar.py:ddpmpp_deep",
    "configs/ve_cifar.py:ncsnpp_deep",
    "configs/subvp_cifar.py",
    "configs/subvp_cifar.py:ddpmpp_deep",
    "configs/vp_cifar.py:ddpm",
    "configs/vp_cifar.py:ncsnpp",
    "configs/vp_cifar.py:ncsnpp_deep",
    "configs/vp_cifar.py:ddpmpp_discrete",
    "configs/ve_cifar.py:ncsnpp_discrete",
    "configs/ve_cifar.py:ddpm_discrete",
    "configs/ve_celeba.py",
    "configs/vp_256.py",
    "configs/ve_256.py",
    "configs/ve_1024.py",
)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tpu_compile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder, made if need be")
    parser.add_argument("--configs", nargs="+", default=[*CONFIGS], metavar="FILE[:VARIANT]")
    parser.add_argument("--stages", nargs="+", default=[*STAGES], help=f"among {', '.join(STAGES)}")
    parser.add_argument("--topologies", nargs="+", default=["v5e:2x4"], help="such as v5p:2x2x2")
    parser.add_argument(
        "--per_chip", type=int, default=0, help="images; 0: the config's batch over eight chips"
    )
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="of the config"
    )
    parser.add_argument(
        "--largest", action="store_true", help="look for the largest power of two that fits"
    )
    parser.add_argument("--minutes", type=float, default=600.0, help="nothing runs beyond these")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # in the process of one job
    return parser.parse_args(arguments)


class Jobs:
    """Runs jobs, each in its own process, until the time is up."""

    def __init__(self, out: Path, minutes: float):
        self.out, self.end = out, time.monotonic() + 60 * minutes

    def __call__(self, job: Job) -> list[dict] | None:
        """The rows of a job; None if it failed or no time is left."""
        known = rows_of(read_rows(self.out), job)
        if known is None:
            how = self.run_apart(job)
            print(f"{name_of(job)}: {how}", flush=True)
            rows = read_rows(self.out)
            (self.out / "table.md").write_text(table(rows))
            known = rows_of(rows, job)
        return known

    def run_apart(self, job: Job) -> str:
        left, began = self.end - time.monotonic(), time.monotonic()
        if left <= 0:
            return "no time"
        command = [sys.executable, "-m", "benchmarks.tpu_compile", "--out", str(self.out)]
        log = self.out / f"{name_of(job)}.log"
        with open(log, "w") as file:
            try:
                code = subprocess.run(
                    [*command, "--job", job.to_json()],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=left,
                    env=os.environ | chips.ENVIRONMENT,
                ).returncode
            except subprocess.TimeoutExpired:
                return f"stopped after {left:.0f} s, which it had"
        return f"{time.monotonic() - began:.0f} s" if code == 0 else f"failed: see {log.name}"


def name_of(job: Job) -> str:
    words = (job.config, job.stage, job.topology, str(job.per_chip), *job.settings)
    return re.sub(r"[^\w.=-]+", "_", "-".join(words))


def jobs_of(options: argparse.Namespace) -> Iterator[Job]:
    """Yield all jobs, one configuration after another."""
    of = itertools.product(options.configs, options.stages, options.topologies)
    for config, stage, topology in of:
        yield Job(config, stage, topology, options.per_chip, (*options.set,)).in_full()


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if unknown := {*options.stages} - {*STAGES}:
        raise UserError(f"--stages={', '.join(sorted(unknown))}: take {', '.join(STAGES)}")
    if not options.minutes > 0:
        raise UserError(f"--minutes={options.minutes}: expected a positive number")
    if options.per_chip < 0:
        raise UserError(f"--per_chip={options.per_chip}: expected 0 or more images")
    for topology in options.topologies:
        chips.chip_of(topology)
    chips.libtpu_version()
    if options.job:
        run(Job.from_json(options.job), options.out)
        return
    jobs = [*jobs_of(options)]
    make_folder(options.out)
    compiled = Jobs(options.out, options.minutes)
    for job in jobs:
        if options.largest:
            print(f"{name_of(job)}: largest {largest(compiled, job)}", flush=True)
        else:
            compiled(job)
    print(table(read_rows(options.out)))


if __name__ == "__main__":
    run_main(main)
