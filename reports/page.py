"""The report of a folder, section by section; empty sections are left out."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from score_sde.configs.default import get_config
from score_sde.reports.chart import short
from score_sde.reports.curves import training
from score_sde.reports.elements import (
    DATE,
    cell,
    moment,
    notes,
    pairs,
    picture,
    rows_as_table,
    section,
    table,
    text,
    with_error,
)
from score_sde.reports.lines import Row, number, read_lines
from score_sde.reports.reading import (
    Picture,
    curve,
    pictures_in,
    read_config,
    read_pictures,
    rows_of,
    spread,
)
from score_sde.reports.style import STYLE
from score_sde.training.environment import FILE as ENVIRONMENT_FILE
from score_sde.training.recorded_changes import CHANGES
from score_sde.training.recorded_config import DATASET, as_json, fields

MOST_SNAPSHOTS = 8
MOST_PICTURES = 6  # per section, the newest
MOST_ROWS = 50  # per table, the newest


class Folder(NamedTuple):
    """The records read from a folder."""

    path: Path
    config: Row
    metrics: list[Row]
    results: list[Row]
    environment: list[Row]
    notes: list[str]


def read_folder(workdir: Path) -> Folder:
    """Read the records of a folder, with notes on what could not be read."""
    config, found = read_config(workdir)
    files = ("metrics.jsonl", "results.jsonl", ENVIRONMENT_FILE)
    metrics, results, environment = (read_lines(workdir / name) for name in files)
    all_notes = [*found, *metrics.notes, *results.notes, *environment.notes]
    return Folder(workdir, config, metrics.rows, results.rows, environment.rows, all_notes)


def page(folder: Folder) -> str:
    """The page for a folder with results of any modes; unreadable pictures are added to its notes."""
    snapshots, bad = read_pictures(spread(pictures_in(folder.path / "snapshots"), MOST_SNAPSHOTS))
    folder.notes.extend(bad)
    body = [
        training(folder.metrics, folder.results),
        section("Samples over time", gallery(snapshots, [of_step(p) for p in snapshots], "small")),
        pictures(folder, "samples", "Samples"),
        pictures(folder, "interpolation", "Interpolation"),
        pictures(folder, "restored", "Restored images", "large"),
        likelihoods(folder.results),
        pictures(folder, "likelihood", "Bits/dim of each image", "large"),
        pictures(folder, "tradeoff", "Quality against evaluations of the network", "large"),
        *others(folder.results),
        configuration(folder.config),
        section("Environment", environment(folder.environment)),
    ]
    name = text(folder.path.resolve().name)
    now = datetime.datetime.now(datetime.UTC).isoformat(" ", "minutes").removesuffix("+00:00")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Forbids loading and running anything, whatever the files may contain.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{name}</title><style>{STYLE}</style></head><body><main><header><h1>{name}</h1>"
        f'<p class="soft">{about(folder.config)}written {now} UTC</p>{tiles(folder)}</header>'
        f"{notes(folder.notes)}{''.join(body)}</main></body></html>\n"
    )


def of_section(config: Row, name: str) -> Row:
    """A section of a configuration, {} if it is missing."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def about(config: Row) -> str:
    """Network, data and process as text; "" unless all are known."""
    parts = [of_section(config, name).get("name") for name in ("model", "data", "sde")]
    if None in parts:
        return ""
    return "{} of {}, {} process, ".format(*map(text, parts))


def tiles(folder: Folder) -> str:
    """The most important figures, at the top of the page."""
    found: list[tuple[str, str]] = []
    losses, held_out = curve(folder.metrics, "loss"), curve(folder.metrics, "eval_loss")
    if losses:
        planned = number(of_section(folder.config, "training").get("n_iters"))
        of = f" of {planned:,.0f}" if planned else ""
        found += [(f"{losses[-1][0]:,.0f}", f"updates{of}"), (short(losses[-1][1]), "loss")]
    if held_out:
        step, best = min(held_out, key=lambda point: point[1])
        found.append(
            (short(held_out[-1][1]), f"held-out loss; lowest {short(best)} at step {step:,.0f}")
        )
    speed = curve(folder.metrics, "images_per_second")
    if speed and speed[-1][1]:
        found.append((short(speed[-1][1]), "images per second"))
    for row in reversed(rows_of(folder.results, "likelihood")):
        for law in ("ode", "bound"):
            value = number(row.get(f"{law}_bits_per_dim"))
            if value is not None:
                bounded = row.get("bound_on", "the SDE's")
                name = "the ODE's" if law == "ode" else f"bound on {bounded}"
                found.append((f"{value:.3f}", f"bits/dim, {name}"))
        break
    listed = "".join(f"<li><b>{value}</b><span>{text(name)}</span></li>" for value, name in found)
    return f'<ul class="tiles">{listed}</ul>' if listed else ""


def of_step(shown: Picture) -> str:
    """The caption of a snapshot, from its name stepNNNNNNNN.png."""
    step = shown.name.removeprefix("step").removesuffix(".png")
    return f"step {int(step):,}" if step.isascii() and step.isdecimal() else text(shown.name)


def gallery(shown: list[Picture], captions: Iterable[str], size: str = "") -> str:
    """Pictures with their captions in a grid."""
    figures = "".join(map(picture, shown, captions))
    return figures and f'<div class="grid-of {size}">{figures}</div>'


def pictures(folder: Folder, name: str, title: str, size: str = "") -> str:
    """The newest pictures of a subfolder, with captions from results.jsonl."""
    paths = pictures_in(folder.path / name)
    paths.sort(key=lambda path: path.stat().st_mtime if path.exists() else 0)
    shown, bad = read_pictures(paths[-MOST_PICTURES:])
    folder.notes.extend(bad)
    row_of = {Path(str(row.get("picture"))).name: row for row in folder.results}
    captions = []
    for one in shown:
        row = row_of.get(one.name, {})
        facts = [
            f"{label} {cell(row[key])}"
            for key, label in (
                ("method", "method"),
                ("sampler", "sampler"),
                ("nfe", "evaluations"),
                ("guidance_weight", "guidance"),
            )
            if key in row
        ]
        captions.append(", ".join([text(one.name), *facts]))
    return section(title, gallery(shown, captions, size))


def newest(rows: list[Row]) -> list[Row]:
    """The last MOST_ROWS rows, newest first."""
    return rows[-MOST_ROWS:][::-1]


def likelihoods(results: list[Row]) -> str:
    """The table of measured likelihoods."""
    rows = newest(rows_of(results, "likelihood"))
    if not rows:
        return ""
    heads = [
        DATE,
        "step",
        "images",
        "ODE bits/dim",
        "bound bits/dim",
        "dequantization",
        "eps",
        "evaluations",
    ]
    body = [
        [
            moment(row.get("date")),
            cell(row.get("checkpoint_step")),
            f"{cell(row.get('num_images'))} {cell(row.get('split'))}",
            with_error(row.get("ode_bits_per_dim"), row.get("ode_standard_error")),
            with_error(row.get("bound_bits_per_dim"), row.get("bound_standard_error")),
            cell(row.get("dequantization")),
            cell(row.get("eps")),
            cell(row.get("ode_nfe")),
        ]
        for row in rows
    ]
    return section(
        "Likelihood",
        table(heads, body),
        '<p class="soft">mean &plusmn; standard error over images</p>',
    )


def others(results: list[Row]) -> Iterable[str]:
    """Yield a table of all figures for each other mode in the results."""
    modes = dict.fromkeys(row["mode"] for row in results if isinstance(row.get("mode"), str))
    for mode in modes:
        if mode != "likelihood":
            rows = newest(rows_of(results, mode))
            yield section(
                f"Results of --mode {mode}",
                rows_as_table(rows, {"mode", "arrays", "picture", "folder"}),
            )


def configuration(config: Row) -> str:
    """The fields that differ from the defaults, changes during training, the dataset, and all fields."""
    if not config:
        return ""
    given, usual = dict(fields(config)), dict(fields(as_json(get_config())))
    unlike = [
        [text(name), cell(value), cell(usual.get(name))]
        for name, value in given.items()
        if value != usual.get(name) and not name.startswith(f"{DATASET}.")
    ]
    changes = [row for row in config.get(CHANGES, []) if isinstance(row, dict)]
    images = [(name, cell(value)) for name, value in of_section(config, DATASET).items()]
    everything = pairs((name, cell(value)) for name, value in given.items())
    return section(
        "Configuration",
        table(["field", "value", "default"], unlike) if unlike else "",
        f"<h3>Changed during the run</h3>{rows_as_table(changes)}" if changes else "",
        f"<h3>Images</h3>{pairs(images)}" if images else "",
        f"<details><summary>All {len(given)} fields</summary>{everything}</details>",
    )


def environment(rows: list[Row]) -> str:
    """The environment of the latest start and, if there were several, the main fields of all."""
    if not rows:
        return ""
    last = pairs((name, cell(value)) for name, value in rows[-1].items())
    if len(rows) == 1:
        return last
    names = ("step", "date", "devices", "hosts", "commit", "jax", "command")
    starts: list[Any] = [{name: row.get(name) for name in names} for row in newest(rows)]
    return f"{last}<h3>All {len(rows)} starts</h3>{rows_as_table(starts)}"
