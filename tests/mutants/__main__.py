"""python -m tests.mutants: break the code in each way of the catalogue, and see that a test notices.

    python -m tests.mutants [--jobs N] [--only NAME ...] [--named-only] [--no-baseline] [--write]

Works on copies in a temporary folder; the checkout is only read (but for the table that --write asks for).
A mutant is killed when a test fails; one that its named tests let pass meets the whole fast suite. The exit
status is 1 if one survives, cannot be made, or ends in anything but failed or passed tests.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant

REPOSITORY = Path(__file__).parents[2]
TABLE = REPOSITORY / "docs" / "mutants.md"
SECONDS = 1200  # a mutant may send an adaptive solver into ever smaller steps
# A failed test, or an error within one; an error of a whole file has no "::" and is not a test's verdict.
VERDICT = re.compile(r"^(?:FAILED|ERROR) (\S+::.*?)(?: - .*)?$", re.MULTILINE)


class Outcome(NamedTuple):
    """What became of a mutant: the test that killed it, or why none did."""

    mutant: Mutant
    killed_by: str | None
    reason: str
    seconds: float


class Run(NamedTuple):
    """pytest's exit status (None: it took too long), the first test that failed, and the last lines."""

    status: int | None
    failed: str | None
    output: str


def copy_sources(folder: Path) -> Path:
    """A copy of what git tracks or would track, as it is in the checkout now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        source, target = REPOSITORY / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return folder


def run_tests(folder: Path, tests: Sequence[str]) -> Run:
    """These tests in a copy, the slow ones too where tests are named one by one, up to the first failure."""
    # No byte code: a mutated file can have the size and the second of the true one. One wide line a test.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "500"}
    env.pop("PYTHONPATH", None)
    chosen = "slow or not slow" if any("::" in test for test in tests) else "not slow"
    options = ["-x", "-n", "0", "-m", chosen, "-p", "no:cacheprovider", "--tb=no"]
    # The catalogue's own tests read the source, and would notice every mutant.
    command = [sys.executable, "-m", "pytest", *options, "--ignore=tests/mutants", *tests]
    try:
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return Run(None, None, f"no end within {SECONDS} s")
    verdict = VERDICT.search(done.stdout)
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
    return Run(done.returncode, verdict and verdict[1], tail)


def attempt(mutant: Mutant, folder: Path, named_only: bool) -> Outcome:
    """Apply one mutant to a copy, run its tests, and put the true file back."""
    began, path = time.perf_counter(), folder / mutant.file
    source = path.read_text()

    def outcome(killed_by: str | None, reason: str) -> Outcome:
        return Outcome(mutant, killed_by, reason, time.perf_counter() - began)

    if source.count(mutant.before) != 1:
        return outcome(
            None, f"INVALID: `before` occurs {source.count(mutant.before)} times in {mutant.file}"
        )
    path.write_text(source.replace(mutant.before, mutant.after))
    try:
        for tests in [mutant.tests] if named_only else [mutant.tests, ("tests",)]:
            run = run_tests(folder, tests)
            if run.status is None or (run.status == 1 and run.failed):
                return outcome(run.failed or "time-out", "killed")
            if run.status != 0:
                return outcome(None, f"INVALID: pytest ended with {run.status}\n{run.output}")
    finally:
        path.write_text(source)
    return outcome(None, "SURVIVED")


def attempt_all(chosen: Sequence[Mutant], arguments: argparse.Namespace) -> list[Outcome]:
    """Every mutant on one of `jobs` copies, with a line as each is done."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as root:
        copies: queue.Queue[Path] = queue.Queue()
        for job in range(arguments.jobs):
            copies.put(copy_sources(Path(root) / str(job)))
        if not arguments.no_baseline:
            check_baseline(chosen, Path(root) / "0")

        def work(mutant: Mutant) -> Outcome:
            folder = copies.get()
            try:
                return attempt(mutant, folder, arguments.named_only)
            finally:
                copies.put(folder)

        pool, outcomes = concurrent.futures.ThreadPoolExecutor(arguments.jobs), []
        try:
            for number, outcome in enumerate(pool.map(work, chosen), 1):
                fate = f"killed by {outcome.killed_by}" if outcome.killed_by else outcome.reason
                place = f"{number}/{len(chosen)} {outcome.mutant.name}"
                print(f"{place}: {fate} ({outcome.seconds:.0f} s)", flush=True)
                outcomes.append(outcome)
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C, do not go through the rest first
    return outcomes


def check_baseline(chosen: Sequence[Mutant], folder: Path) -> None:
    """A test that fails on the code as it is would kill every mutant."""
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    print(f"the code as it is, {len(tests)} files and tests", flush=True)
    run = run_tests(folder, tests)
    if run.status != 0:
        sys.exit(f"the named tests do not pass on the code as it is:\n{run.output}")


def table(outcomes: Sequence[Outcome]) -> str:
    """The report as Markdown."""
    killed, today = sum(o.killed_by is not None for o in outcomes), datetime.date.today()
    rows = [
        f"| {o.mutant.name} | {o.mutant.file} | {o.killed_by or o.reason.splitlines()[0]} |"
        for o in outcomes
    ]
    return "\n".join(
        [
            "# Mutants",
            "",
            "Each row is a mistake that was put into a copy of the code on purpose, and the first test that failed.",
            "The wrong lines are in [tests/mutants](../tests/mutants).",
            "",
            f"{len(outcomes)} tried, {killed} killed: `python -m tests.mutants --write`, "
            f"{today.day} {today:%B %Y}.",
            "",
            "| mutant | file | killed by |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants")
    parser.add_argument(
        "--named-only", action="store_true", help="a mutant that its named tests pass has survived"
    )
    parser.add_argument(
        "--no-baseline", action="store_true", help="trust that the tests pass without mutants"
    )
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name} (all mutants)")
    arguments = parser.parse_args(argv)
    if arguments.jobs < 1:
        parser.error(f"--jobs={arguments.jobs}: expected 1 or more")
    if arguments.write and arguments.only:
        parser.error("--write is for all mutants: leave out --only")
    known = {mutant.name for mutant in MUTANTS}
    if unknown := set(arguments.only or ()) - known:
        parser.error(f"no mutant {', '.join(sorted(unknown))}; see tests/mutants")
    return arguments


def main() -> int:
    arguments = parse()
    chosen = [m for m in MUTANTS if not arguments.only or m.name in arguments.only]
    outcomes = attempt_all(chosen, arguments)
    killed = sum(outcome.killed_by is not None for outcome in outcomes)
    print(f"{len(outcomes)} tried, {killed} killed")
    if arguments.write:
        TABLE.write_text(table(outcomes))
    return 0 if killed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
