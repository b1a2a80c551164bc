"""--mode list: a table of the runs in a folder, newest first, with step, loss, bits/dim and quality of each."""

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
"""Every folder in which something was trained or measured has at least one of these."""
DEFAULT = Path("runs")
WIDEST = 100  # characters per line
LAWS = ("ode", "bound")  # the likelihood of the ODE, and the bound on one


class Figure(NamedTuple):
    """A measurement with its standard error, or None if it has none."""

    value: float
    error: float | None


class Run(NamedTuple):
    """A folder in which something was trained or measured, with its newest figures; None where there is none."""

    folder: Path
    changed: float
    """Time of the last change in it, in seconds since 1970."""
    config: str | None
    """Stem of the config file of its last training, or else the names of network, data and process."""
    step: int | None
    """Step of the newest checkpoint, or else of the last line of metrics.jsonl."""
    loss: float | None
    """The last held-out loss."""
    bits_per_dim: Figure | None
    law: str | None
    """Which of LAWS it belongs to."""
    frechet: Figure | None
    """The Frechet distance of the last evaluation, or else the last one measured during training."""
    features: str | None
    """The features it was measured in."""


def run(folder: Path) -> dict[str, Any]:
    """Print a table of the runs in a folder or, if the folder is itself a run, of all runs in its parent.

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
    """Whether something was trained or measured in the folder."""
    return any((folder / name).exists() for name in WRITTEN)


def runs_in(folder: Path) -> Iterator[Path]:
    """Yield the runs in a folder; raise UserError if it does not exist or cannot be read."""
    try:
        yield from (path for path in folder.iterdir() if path.is_dir() and is_run(path))
    except OSError as error:
        raise UserError(
            f"cannot list --workdir={folder}: {error.strerror}; give a folder that contains runs, or leave it out for {DEFAULT}"
        ) from error


def read_run(folder: Path) -> Run:
    """Read the files of a run; what cannot be read is None."""
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
    """Modification time of a file, in seconds since 1970; 0 if it is missing or inaccessible."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def object_in(path: Path) -> Row:
    """The JSON object in a file; {} if there is none."""
    try:
        return parsed(path.read_bytes()) or {}
    except OSError:
        return {}


def config_file(folder: Path) -> str | None:
    """The config of the last training command of a folder, without folder and suffix: subvp_digits:likelihood."""
    for row in newest_first(folder / "environment.jsonl", "command"):
        try:
            words = shlex.split(str(row.get("command")))
        except ValueError:
            continue  # truncated inside quotes
        for word, following in zip(words, [*words[1:], ""], strict=True):
            name, equals, value = word.partition("=")
            if name in ("--config", "-config"):
                file, colon, variant = (value if equals else following).partition(":")
                return Path(file).stem + colon + variant
    return None


def parts(config: Row) -> str | None:
    """The names of network, data and process, separated by spaces."""
    found = [config.get(section) for section in ("model", "data", "sde")]
    names = [str(one.get("name")) for one in found if isinstance(one, dict) and one.get("name")]
    return " ".join(names) or None


def newest_step(folder: Path) -> int | None:
    """Step of the newest checkpoint, or else of the last line of metrics.jsonl."""
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
    """The last figure of this name in a file of JSON lines."""
    rows = newest_first(path, f'"{name}"')
    return next((value for row in rows if (value := number(row.get(name))) is not None), None)


def likelihood(folder: Path) -> tuple[Figure, str] | tuple[None, None]:
    """Bits/dim of the last measurement, and which of LAWS it belongs to."""
    for row in newest_first(folder / "results.jsonl", '"likelihood"'):
        if of_other_images(row):
            continue
        for law in LAWS:
            found = figure(row, f"{law}_bits_per_dim", f"{law}_standard_error")
            if row.get("mode") == "likelihood" and found is not None:
                return found, law
    return None, None


def quality(folder: Path, config: Row) -> tuple[Figure, str | None] | tuple[None, None]:
    """The newest Frechet distance and its features: of the last evaluation, else of training, with the config's features."""
    for row in newest_first(folder / "results.jsonl", '"evaluate"'):
        found = figure(row, "frechet", "frechet_error")
        if of_other_images(row):
            continue
        # An evaluation of given images says nothing about the network.
        if row.get("mode") == "evaluate" and not row.get("images") and found is not None:
            return found, row.get("features")
    for row in newest_first(folder / "metrics.jsonl", '"frechet"'):
        found = figure(row, "frechet", "frechet_error")
        if found is not None:
            options = config.get("evaluation")
            return found, options.get("features") if isinstance(options, dict) else None
    return None, None


def of_other_images(row: Row) -> bool:
    """Whether the images differ from those of the training, such as those of one class by data.label (training/changed_since.py)."""
    return any(name.startswith("data.") for name in row)


def figure(row: Row, name: str, error: str) -> Figure | None:
    """A value of a row with its error, or None if it has no such value."""
    value = number(row.get(name))
    return None if value is None else Figure(value, number(row.get(error)))


def as_record(run: Run) -> dict[str, Any]:
    """The run as an object for --json."""
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
    """Date and time in UTC from seconds since 1970."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def in_words(folder: Path, runs: Sequence[Run]) -> str:
    """The printed table."""
    if not runs:
        return f"no runs in {folder}; to start one: python main.py"
    heads = ("name", "config", "step", "held-out loss", "bits/dim", "Frechet", "changed")
    rows = [heads, *map(cells, runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    excess = sum(widths) + 2 * (len(widths) - 1) - WIDEST
    # Shorten the columns of names, the wider one first.
    for _ in range(min(excess, widths[0] + widths[1] - 16)):
        widths[0 if widths[0] >= widths[1] else 1] -= 1
    lines = ["  ".join(placed(row, widths)).rstrip() for row in rows]
    below = []
    if any(run.law == "bound" for run in runs):
        below.append(
            "<: a bound on bits/dim, of the SDE or of its chain; otherwise the ODE's bits/dim"
        )
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
    """Align words left and numbers right in their columns, shortening what is too long."""
    for i, (text, most) in enumerate(zip(row, widths, strict=True)):
        text = printable(text, 2 * WIDEST).replace("\n", " ")
        short = text if len(text) <= most else text[: most - 3] + "..."
        yield f"{short:>{most}}" if 2 <= i <= 5 else f"{short:<{most}}"
