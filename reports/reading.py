"""Reading of config, curves and pictures for a report; what cannot be read is left out and noted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from score_sde.errors import UserError
from score_sde.reports.lines import Row, number
from score_sde.training.recorded_config import FILE as CONFIG_FILE
from score_sde.training.recorded_config import fields, recorded

Points = list[tuple[float, float]]

MOST_PIXELS = 64_000_000  # per picture
WIDEST = 1000  # width of pictures on the page, in pixels


def read_config(workdir: Path) -> tuple[Row, list[str]]:
    """The contents of config.json, {} if it is missing or unreadable, and notes on what is wrong."""
    path = workdir / CONFIG_FILE
    if path.exists() and not path.is_file():
        return {}, [f"{CONFIG_FILE} is no file, so it is left out."]
    try:
        config = recorded(workdir) or {}
        _ = dict(fields(config))  # raises RecursionError if nested too deeply
        return config, []
    except (UserError, RecursionError) as error:
        return {}, [f"{CONFIG_FILE} is left out: {error}"]


def curve(rows: Iterable[Row], name: str) -> Points:
    """Points (step, value) of a figure, from the rows that have both, sorted by step."""
    found = ((number(row.get("step")), number(row.get(name))) for row in rows)
    return sorted((step, value) for step, value in found if step is not None and value is not None)


def names_under(rows: Iterable[Row], prefix: str) -> list[str]:
    """The names of figures with this prefix, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row if name.startswith(prefix)))


def rows_of(results: list[Row], mode: str) -> list[Row]:
    """The results of one mode."""
    return [row for row in results if row.get("mode") == mode]


class Picture(NamedTuple):
    """A picture as embedded in the page."""

    name: str
    width: int
    height: int
    data: bytes  # WebP


def read_picture(path: Path) -> Picture | None:
    """Read a picture and shrink it to a width of at most WIDEST; None if it cannot be read."""
    try:
        if not path.is_file():
            return None
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                return None
            shown = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    shown.thumbnail((WIDEST, 4 * WIDEST))
    file = BytesIO()
    shown.save(file, "WEBP", quality=88)
    return Picture(path.name, *shown.size, file.getvalue())


def read_pictures(paths: Iterable[Path]) -> tuple[list[Picture], list[str]]:
    """The pictures that can be read, and a note on each that cannot."""
    found = [(path, read_picture(path)) for path in paths]
    notes = [
        f"{path.parent.name}/{path.name} is no picture that can be read."
        for path, picture in found
        if picture is None
    ]
    return [picture for _, picture in found if picture is not None], notes


def pictures_in(folder: Path) -> list[Path]:
    """The .png files of a folder in natural order, with numbers in names compared by value."""

    def key(path: Path) -> list[Any]:
        parts = re.split(r"(\d+)", path.stem)
        return [int(part) if i % 2 else part for i, part in enumerate(parts)]

    return sorted(folder.glob("*.png"), key=key) if folder.is_dir() else []


def spread(paths: list[Path], most: int) -> list[Path]:
    """At most `most` of the paths, evenly spaced, including the first and the last."""
    if len(paths) <= most:
        return paths
    return [paths[round(i * (len(paths) - 1) / (most - 1))] for i in range(most)]
