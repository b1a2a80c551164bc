"""--mode list: the folders of runs, newest first, with how far each is and how good."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from score_sde.errors import UserError
from score_sde.json_output import note
from score_sde.output import show
from score_sde.quoting import printable
from score_sde.reports.lines import Row, newest_first, number, parsed

WRITTEN = ("config.json", "environment.jsonl", "metrics.jsonl", "results.jsonl", "checkpoints")
"""What a folder has at least one of, if something was trained or measured in it."""
DEFAULT = Path("runs")
WIDEST = 100  # columns
LAWS = ("ode", "bound")  # the ODE's own likelihood, and the bound on the SDE's


class Figure(NamedTuple):
    """A measurement with its standard error, where there is one."""

    value: float
    error: float | None


class Run(NamedTuple):
    """A folder in which something was trained, and its newest figures; None where there is none."""

    folder: Path
    changed: float
    """When something in it was written last, in seconds since 1970."""
    config: str | None
    """The config file of its last training without folder and ending, or else its network, data and process."""
    step: int | None
    """Of the newest checkpoint, or without one of the last line of metrics.jsonl."""
    loss: float | None
    """Held out, the last that was measured."""
    bits_per_dim: Figure | None
    law: str | None
    """Of which of LAWS that is."""
    frechet: Figure | None
    """Of the last evaluation, or without one of the last that training made."""
    features: str | None
    """In what it was measured."""


def run(folder: Path) -> dict[str, Any]:
    """Print a table of the runs in a folder; of a folder that is a run itself, of those beside it too.

    Raises:
      UserError: there is no such folder.
    """
    if is_run(folder):
        folder = folder.absolute().parent
    nothing_yet = folder == DEFAULT and not folder.exists()
    found = [] if nothing_yet else runs_in(folder)
    runs = sorted(map(read_run, found), key=lambda run: -run.changed)
    for one in runs:
        note(as_record(one))
    show(in_words(folder, runs))
    return {"runs": len(runs)}


def is_run(folder: Path) -> bool:
    """Whether a training wrote there."""
    return any((folder / name).exists() for name in WRITTEN)


def runs_in(folder: Path) -> Iterator[Path]:
    """Raises UserError where it is not there or may not be looked into."""
    try:
        yield from (path for path in folder.iterdir() if path.is_dir() and is_run(path))
    except OSError as error:
        raise UserError(
            f"cannot list --workdir={folder}: {error.strerror}; give a folder in which runs are, or leave it out for {DEFAULT}"
        ) from error


def read_run(folder: Path) -> Run:
    """What its files say; what cannot be read is not known."""
    config = object_in(folder / "config.json")
    frechet, features = quality(folder, config)
    bits, law = likelihood(folder)
    return Run(
        folder,
        max(map(written, (folder / name for name in WRITTEN))),
        config_file(folder) or parts(config),
        newest_step(folder),
        last(folder / "metrics.jsonl", "eval_loss"),
        bits,
        law,
        frechet,
        features,
    )


def written(path: Path) -> float:
    """When the file changed last, in seconds since 1970; 0 if it cannot be seen."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def object_in(path: Path) -> Row:
    """The JSON object of a file; {} where there is none."""
    try:
        return parsed(path.read_bytes()) or {}
    except OSError:
        return {}


def config_file(folder: Path) -> str | None:
    """subvp_digits:likelihood, of the last command that trained there."""
    for row in newest_first(folder / "environment.jsonl", "command"):
        try:
            words = shlex.split(str(row.get("command")))
        except ValueError:
            continue  # cut off within quotes
        for word, following in zip(words, [*words[1:], ""], strict=True):
            name, equals, value = word.partition("=")
            if name in ("--config", "-config"):
                file, colon, variant = (value if equals else following).partition(":")
                return Path(file).stem + colon + variant
    return None


def parts(config: Row) -> str | None:
    """The names of network, data and process."""
    found = [config.get(section) for section in ("model", "data", "sde")]
    names = [str(one.get("name")) for one in found if isinstance(one, dict) and one.get("name")]
    return " ".join(names) or None


def newest_step(folder: Path) -> int | None:
    """Of the checkpoints, or else of the last line of metrics.jsonl."""
    checkpoints = folder / "checkpoints"
    try:
        steps = [
            int(p.name) for p in checkpoints.iterdir() if p.name.isascii() and p.name.isdecimal()
        ]
    except OSError:
        steps = []
    if steps:
        return max(steps)
    found = last(folder / "metrics.jsonl", "step")
    return None if found is None else int(found)


def last(path: Path, name: str) -> float | None:
    """The last figure of this name in a file of lines."""
    rows = newest_first(path, f'"{name}"')
    return next((value for row in rows if (value := number(row.get(name))) is not None), None)


def likelihood(folder: Path) -> tuple[Figure, str] | tuple[None, None]:
    """Bits/dim of the last measurement, and of which law."""
    for row in newest_first(folder / "results.jsonl", '"likelihood"'):
        for law in LAWS:
            found = figure(row, f"{law}_bits_per_dim", f"{law}_standard_error")
            if row.get("mode") == "likelihood" and found is not None:
                return found, law
    return None, None


def quality(folder: Path, config: Row) -> tuple[Figure, str | None] | tuple[None, None]:
    """The Frechet distance, and the features it is one of: in training those of the config."""
    for row in newest_first(folder / "results.jsonl", '"evaluate"'):
        found = figure(row, "frechet", "frechet_error")
        # Of given images it says nothing of the network.
        if row.get("mode") == "evaluate" and not row.get("images") and found is not None:
            return found, row.get("features")
    for row in newest_first(folder / "metrics.jsonl", '"frechet"'):
        found = figure(row, "frechet", "frechet_error")
        if found is not None:
            options = config.get("evaluation")
            return found, options.get("features") if isinstance(options, dict) else None
    return None, None


def figure(row: Row, name: str, error: str) -> Figure | None:
    """A value of a row with its error."""
    value = number(row.get(name))
    return None if value is None else Figure(value, number(row.get(error)))


def as_record(run: Run) -> dict[str, Any]:
    """For --json."""
    return {
        "name": run.folder.name,
        "folder": str(run.folder),
        "changed": moment(run.changed).isoformat(timespec="seconds"),
        "config": run.config,
        "step": run.step,
        "eval_loss": run.loss,
        "bits_per_dim": run.bits_per_dim and run.bits_per_dim.value,
        "bits_per_dim_error": run.bits_per_dim and run.bits_per_dim.error,
        "bits_per_dim_law": run.law,
        "frechet": run.frechet and run.frechet.value,
        "frechet_error": run.frechet and run.frechet.error,
        "frechet_features": run.features and str(run.features),
    }


def moment(seconds: float) -> datetime.datetime:
    """The date of so many seconds since 1970."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def in_words(folder: Path, runs: Sequence[Run]) -> str:
    """The table that is printed."""
    if not runs:
        return f"no runs in {folder}; to begin one: python main.py"
    heads = ("name", "config", "step", "held-out loss", "bits/dim", "Frechet", "changed")
    rows = [heads, *map(cells, runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    excess = sum(widths) + 2 * (len(widths) - 1) - WIDEST
    for _ in range(min(excess, widths[0] + widths[1] - 16)):  # names give way, the longer first
        widths[0 if widths[0] >= widths[1] else 1] -= 1
    lines = ["  ".join(placed(row, widths)).rstrip() for row in rows]
    below = []
    if any(run.law == "bound" for run in runs):
        below.append("<: the bound on the SDE's bits/dim; else the ODE's own")
    return "\n".join([*lines, *below])


def cells(run: Run) -> tuple[str, ...]:
    """A run's row of the table."""
    bits = (
        "-"
        if run.bits_per_dim is None
        else "<" * (run.law == "bound") + f"{run.bits_per_dim.value:.3f}"
    )
    frechet = "-" if run.frechet is None else f"{run.frechet.value:.4g}"
    return (
        run.folder.name,
        run.config or "-",
        "-" if run.step is None else str(run.step),
        "-" if run.loss is None else f"{run.loss:.4g}",
        bits,
        f"{frechet} {Path(str(run.features)).stem[:12]}" if run.features else frechet,
        moment(run.changed).astimezone().strftime("%Y-%m-%d %H:%M"),
    )


def placed(row: Sequence[str], widths: Iterable[int]) -> Iterator[str]:
    """Words to the left, numbers to the right of their columns."""
    for i, (text, most) in enumerate(zip(row, widths, strict=True)):
        text = printable(text, 2 * WIDEST).replace("\n", " ")
        short = text if len(text) <= most else text[: most - 3] + "..."
        yield f"{short:>{most}}" if 2 <= i <= 5 else f"{short:<{most}}"
