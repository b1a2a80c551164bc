"""Tables on the pages of docs/, made from the JSON that benchmarks write beside them.

    python -m benchmarks.tables docs      # after a benchmark's JSON, or the code of its table, has changed

A page is prose that a person writes. A table stands in it between two lines,

    <!-- results: error_versus_nfe.json law -->
    <!-- end of results -->

of the JSON's name and, where it makes several tables, the table's. What is between them is committed, so that GitHub shows it
too, and belongs to this module: `problems` says where it is not what the JSON makes, to tests and to the site's build. Each
table is made by the function `tables` of a benchmark, of what its JSON holds and nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import run_main
from score_sde.errors import UserError

MADE_BY = {
    "digits_networks.json": "benchmarks.digits_networks",
    "error_versus_nfe.json": "benchmarks.error_table",
    "few_steps.json": "benchmarks.few_steps",
    "few_steps_digits.json": "benchmarks.few_steps_digits",
    "growth.jsonl": "benchmarks.growth",
    "metric_power.json": "benchmarks.metric_power",
    "posterior_methods.jsonl": "benchmarks.posterior_table",
    "recipes.json": "benchmarks.recipes",
    "speed_h100.jsonl": "benchmarks.accelerator.page",
    "tpu.jsonl": "benchmarks.tpu_compile.table",
    "training_times.json": "benchmarks.training_times",
}
"""Modules with a function tables(stored) -> {name of a table: Markdown}, "" the name of an only one."""

BEGIN = re.compile(r"<!-- results: (\S+?)(?: (\S+))? -->")
END = "<!-- end of results -->"

Tables = Mapping[tuple[str, str], str]
"""Markdown by JSON and name."""


def read(file: Path) -> Any:
    """What a benchmark stored: JSON, or a list of the lines of JSONL."""
    text = file.read_text()
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)


def tables_of(folder: Path) -> dict[tuple[str, str], str]:
    """Of all JSON in the folder."""
    return {
        (name, part): text
        for name, module in MADE_BY.items()
        if (folder / name).exists()
        for part, text in importlib.import_module(module).tables(read(folder / name)).items()
    }


def renewed(text: str, tables: Tables) -> str:
    """A page with its tables as they should be.

    Raises:
      UserError: a marker names a table that is not there, or misses its other one.
    """
    lines: list[str] = []
    inside = ""
    for line in text.split("\n"):
        found = BEGIN.fullmatch(line)
        if (found and inside) or (line == END and not inside):
            raise UserError(f"{line}: expected '{END}' once after each '<!-- results: ... -->'")
        if found:
            key = found[1], found[2] or ""
            if key not in tables:
                known = "; ".join(" ".join(filter(None, other)) for other in tables)
                raise UserError(f"{line}: no such table; name one of {known}")
            inside = line
            lines += [line, "", tables[key].strip("\n"), ""]
        elif line == END:
            inside = ""
        if not inside:
            lines.append(line)
    if inside:
        raise UserError(f"{inside}: the page has no '{END}' after it")
    return "\n".join(lines)


def pages(folder: Path) -> dict[Path, str]:
    """Those that have a marker, beside the JSON."""
    texts = {path: path.read_text() for path in sorted(folder.glob("*.md"))}
    return {path: text for path, text in texts.items() if "<!-- results" in text or END in text}


def renew(folder: Path) -> list[Path]:
    """Write the pages of the folder whose tables are stale.

    Raises:
      UserError: as `renewed`, with the page's name.
    """
    tables, written = tables_of(folder), []
    for path, text in pages(folder).items():
        try:
            new = renewed(text, tables)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        if new != text:
            path.write_text(new)
            written.append(path)
    return written


def problems(folder: Path) -> list[str]:
    """A line for each stale page, wrong marker, and table that no page shows."""
    tables, found = tables_of(folder), []
    shown = set()
    for path, text in pages(folder).items():
        shown |= {(name, part) for name, part in BEGIN.findall(text)}
        try:
            if renewed(text, tables) != text:
                found.append(
                    f"{path}: a table is not what its JSON makes; run python -m benchmarks.tables {folder}"
                )
        except UserError as error:
            found.append(f"{path}: {error}")
    for name, part in sorted(set(tables) - shown):
        marker = f"<!-- results: {' '.join(filter(None, (name, part)))} -->"
        found.append(f"{folder / name}: no page shows it; put '{marker}' and '{END}' into one")
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="of pages, with the JSON beside them")
    folder = parser.parse_args(arguments).folder
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give that of the pages, docs")
    for path in renew(folder):
        print(f"{path}: renewed")
    if left := problems(folder):
        raise UserError("\n".join(left))


if __name__ == "__main__":
    run_main(main)
