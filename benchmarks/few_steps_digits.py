"""Collect the results of --mode tradeoff of several folders in one table of few-step samplers.

    python -m benchmarks.few_steps_digits runs/teacher runs/consistency runs/distilled runs/mean_flow --out docs

Nothing is computed: the rows are the newest line of each sampler in each folder's results.jsonl, with the training steps and training
time of the network (docs/few_steps.md has the commands). Writes few_steps_digits.json to --out, and updates the table on the page
there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.command import in_words, make_folder, provenance, run_main
from benchmarks.tables import read, renew
from score_sde.errors import UserError
from score_sde.files import write_whole
from score_sde.quality.estimate import Estimate
from score_sde.quality.tradeoff_table import with_error

FILE = "few_steps_digits.json"
FIGURES = "frechet", "kid", "precision", "recall"
ALIKE = "reference", "data", "seed"
"""Fields that rows must share, like their features (features...) and numbers of images, for distances to be comparable."""


class Row(NamedTuple):
    """The figures of a sampler's images, or of real ones."""

    run: str
    """Name of the folder; empty for real images."""
    minutes: float | None
    updates: int | None
    sampler: str
    nfe: float | None
    num_images: int
    num_reference: int
    figures: dict[str, tuple[float, float]]
    """Values with their standard errors."""
    judged: dict[str, Any]
    """The features and reference with which the figures were computed."""


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of results.jsonl.

    Raises:
      UserError: the file is missing or cannot be read.
    """
    try:
        return [dict(line) for line in read(folder / "results.jsonl")]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{folder}/results.jsonl cannot be read ({error}); give folders in which --mode tradeoff has run"
        ) from error


def rows_of(folder: Path) -> list[Row]:
    """The newest row of each sampler, in the order in which they were first measured.

    Raises:
      UserError: the folder has no results of --mode tradeoff.
    """
    lines = lines_of(folder)
    found = {(line["name"], line["steps"]): line for line in lines if line["mode"] == "tradeoff"}
    if not found:
        raise UserError(f"{folder} has no rows of --mode tradeoff; run it there first")
    seconds = [line["seconds"] for line in lines if line["mode"] == "train"]
    minutes = sum(seconds) / 60 if seconds else None
    return [row_of(folder.name, minutes, line) for line in found.values()]


def row_of(run: str, minutes: float | None, line: dict[str, Any]) -> Row:
    """Convert a line of --mode tradeoff to a row."""
    real = line["nfe"] is None
    return Row(
        "" if real else run,
        None if real else minutes,
        line.get("checkpoint_step"),
        line["name"],
        line["nfe"],
        line["num_images"],
        line["num_reference"],
        {name: (line[name], line[f"{name}_error"]) for name in FIGURES},
        {key: line[key] for key in line if key.startswith("features") or key in ALIKE},
    )


def beside_each_other(rows: list[Row]) -> list[Row]:
    """Combine the rows of all folders, with the row of real images only once, at the end.

    Raises:
      UserError: rows with different numbers of samples, features or reference images, which are not comparable.
    """
    drawn = [row for row in rows if row.run]
    numbers = sorted({(row.num_images, row.num_reference) for row in drawn})
    if len(numbers) > 1:
        words = " and ".join(f"{n} beside {m}" for n, m in numbers)
        raise UserError(f"the folders have samples of {words} real images; measure all alike")
    for row in rows:
        for key, value in rows[0].judged.items():
            if row.judged.get(key) != value:
                raise UserError(
                    f"the folders have rows of {key}={value!r} and of {row.judged.get(key)!r}; measure all alike"
                )
    real = [row for row in rows if not row.run]
    return [*drawn, *real[:1]]


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """The only table: a row for each sampler of each folder."""
    rows = [Row(*row) for row in stored["rows"]]
    lines = [
        "| network | minutes of training | updates | sampler | evaluations | Frechet | KID | precision | recall |",
        "|---" * 9 + "|",
    ]
    for row in rows:
        figures = [with_error(Estimate(*row.figures[name])) for name in FIGURES]
        names = [
            row.run,
            "" if row.minutes is None else f"{row.minutes:.1f}",
            "" if row.updates is None else f"{row.updates:,}",
            row.sampler,
            "" if row.nfe is None else f"{row.nfe:.0f}",
        ]
        lines.append(f"| {' | '.join([*names, *figures])} |")
    below = f"{rows[0].num_images} samples of each beside {rows[0].num_reference} real images: {in_words(stored['measured'])}"
    return {"": "\n".join([*lines, "", below])}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.few_steps_digits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, help="in which --mode tradeoff has run")
    parser.add_argument("--out", type=Path, default=Path("runs/few_steps"), help="a folder")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Row]:
    options = parse(arguments)
    rows = beside_each_other([row for folder in options.folders for row in rows_of(folder)])
    make_folder(options.out)
    record = {"measured": provenance("benchmarks.few_steps_digits"), "rows": rows}
    file = options.out / FILE
    write_whole(file, (json.dumps(record, indent=1) + "\n").encode())
    print(tables(read(file))[""])
    renew(options.out)
    return rows


if __name__ == "__main__":
    run_main(main)
