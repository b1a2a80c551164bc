"""Samples of few steps in one table: what --mode tradeoff has found in several folders.

    python -m benchmarks.few_steps_digits runs/teacher runs/consistency runs/distilled runs/mean_flow --out docs

Nothing is computed: the rows are lines of each folder's results.jsonl, of which the newest counts where a sampler was measured
again, and beside them the updates and the time of its training (docs/few_steps.md has the commands). Writes few_steps_digits.json to --out, and
the table to the page that is there.
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
"""What lines must share beside their features (features...) and numbers of images: else their distances compare with none."""


class Row(NamedTuple):
    """A sampler's images, or real ones."""

    run: str
    """The folder's name; empty for real images."""
    minutes: float | None
    updates: int | None
    sampler: str
    nfe: float | None
    num_images: int
    num_reference: int
    figures: dict[str, tuple[float, float]]
    """With their standard errors."""
    judged: dict[str, Any]
    """By which features, beside what."""


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Of results.jsonl.

    Raises:
      UserError: there is no such file, or one that cannot be read.
    """
    try:
        return [dict(line) for line in read(folder / "results.jsonl")]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{folder}/results.jsonl cannot be read ({error}); give folders in which --mode tradeoff has run"
        ) from error


def rows_of(folder: Path) -> list[Row]:
    """The newest of each sampler, in the order in which they were first measured.

    Raises:
      UserError: --mode tradeoff has not run there.
    """
    lines = lines_of(folder)
    found = {(line["name"], line["steps"]): line for line in lines if line["mode"] == "tradeoff"}
    if not found:
        raise UserError(f"{folder} has no rows of --mode tradeoff; run it there first")
    seconds = [line["seconds"] for line in lines if line["mode"] == "train"]
    minutes = sum(seconds) / 60 if seconds else None
    return [row_of(folder.name, minutes, line) for line in found.values()]


def row_of(run: str, minutes: float | None, line: dict[str, Any]) -> Row:
    """Of a line of tradeoff."""
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
    """Real images, the same in each folder, once and at the end.

    Raises:
      UserError: samples of different numbers, or by different features or beside different images, whose distances compare with none.
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
    """The only one: a row for each sampler of each folder."""
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
