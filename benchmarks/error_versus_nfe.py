"""Measure the error of every sampler against the number of network evaluations.

    python -m benchmarks.error_versus_nfe --workdir runs/demo     # with a network that `make demo` trained
    python -m benchmarks.error_versus_nfe --quick                 # a few samplers on the exact problems: seconds

Every sampler runs with each budget of evaluations, taking as many steps as it covers, on several time grids; problems.py defines
the errors. Writes error_versus_nfe.json and .png to --out, and updates the tables on the page there; --redraw does so from an
existing JSON file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.command import make_folder, provenance, run_main
from benchmarks.error_picture import draw_picture
from benchmarks.error_table import tables
from benchmarks.problems import Digits, MixtureFlow, MixtureLaw, Problem
from benchmarks.records import BUDGETS, Record
from benchmarks.tables import read, renew
from score_sde.config_file import load_config
from score_sde.errors import UserError
from score_sde.files import write_whole
from score_sde.progress import progress_bar
from score_sde.samplers.entries import ENTRIES, Entry, choose_entries

GRIDS = ("uniform", "log_snr", "rho")
QUICK = ("euler", "heun", "ddim", "euler_maruyama")

# A network is slow, so: one sampler of each family, a single grid, and smaller budgets.
DIGITS: dict[str, Any] = {
    "budgets": (5, 10, 20, 40),
    "grids": ("log_snr",),
    "names": (
        "euler",
        "heun",
        "dopri5 adaptive",
        "edm",
        "ddim",
        "dpm_solver_3",
        "dpm_solver_pp_2m",
        "deis_t_2",
        "unipc_3",
        "ancestral_sampling",
        "reverse_diffusion + langevin",
        "sde shark",
        "dpm_solver_pp_2m eta=1",
    ),
}


class Plan(NamedTuple):
    """The runs on one problem."""

    problem: Problem
    entries: list[Entry]
    budgets: list[int]
    grids: tuple[str, ...]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.error_versus_nfe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", default="configs/subvp_digits.py", metavar="FILE[:VARIANT]")
    parser.add_argument(
        "--workdir", type=Path, help="of the digits network; without one it is left out"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--samplers", nargs="+", default=(), help=f"among {', '.join(ENTRIES)}")
    parser.add_argument("--quick", action="store_true", help="few samplers, budgets and images")
    parser.add_argument("--redraw", action="store_true", help="tables and picture of <out>/*.json")
    return parser.parse_args(arguments)


def planned(options: argparse.Namespace) -> Iterator[Plan]:
    """Yield the problems with the runs on each."""
    quick = options.quick
    entries = choose_entries(options.samplers or (QUICK if quick else ()))
    budgets, grids = ((20, 40, 80), ("log_snr",)) if quick else (BUDGETS, GRIDS)
    problems: list[tuple[Problem, Any, Any]] = [
        (MixtureFlow(), budgets, grids),
        (MixtureLaw(64 if quick else 2048), budgets, grids),
    ]
    if options.workdir:
        digits = Digits(
            load_config(options.config), options.workdir, 128 if quick else 1024, DIGITS["names"]
        )
        problems.append((digits, (5, 10) if quick else DIGITS["budgets"], DIGITS["grids"]))
    for problem, budgets, grids in problems:
        taken = list(filter(problem.takes, entries))
        yield Plan(problem, taken, [budget - problem.last for budget in budgets], grids)


def measure(plan: Plan, entry: Entry) -> Iterator[Record]:
    """All runs of one sampler."""
    for run in entry.runs(plan.budgets, plan.grids):
        errors, nfe = plan.problem.measure(run)
        for name, error in errors.items():
            yield Record(name, entry.name, entry.order, run.steps, nfe, error)
        if entry.adaptive and nfe > max(plan.budgets):
            return  # the remaining tolerances are smaller and cost more


def measure_all(plans: list[Plan]) -> Iterator[Record]:
    with progress_bar(sum(len(plan.entries) for plan in plans), "errors", "sampler") as bar:
        for plan in plans:
            for entry in plan.entries:
                yield from measure(plan, entry)
                bar.update(1)


def main(arguments: list[str] | None = None) -> list[Record]:
    options = parse(arguments)
    file = options.out / "error_versus_nfe.json"
    if options.redraw:
        if not file.is_file():
            raise UserError(
                f"--redraw: there is no {file}; leave it out, or give the --out that has it"
            )
    else:
        plans = list(planned(options))
        make_folder(options.out)
        records = list(measure_all(plans))
        floors = {name: floor for plan in plans for name, floor in plan.problem.floors.items()}
        facts = provenance("benchmarks.error_versus_nfe")
        rows = ",\n".join(json.dumps(record) for record in records)
        text = (
            f'{{"measured": {json.dumps(facts)},\n"floors": {json.dumps(floors)},\n'
            f'"fields": {json.dumps(Record._fields)},\n"records": [\n{rows}\n]}}\n'
        )
        write_whole(file, text.encode())
    stored = read(file)
    records = [Record(*row) for row in stored["records"]]
    draw_picture(records, stored["floors"], file.with_suffix(".png"))
    print("\n\n".join(tables(stored).values()))
    renew(options.out)
    return records


if __name__ == "__main__":
    run_main(main)
