"""Elements of the page as HTML. Content of files always passes through `text`, so it cannot be markup."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from score_sde.reports.lines import Row, number
from score_sde.reports.reading import Picture

LONGEST = 240  # characters per value


def text(value: Any) -> str:
    """A value as escaped text on one line, without control characters, truncated to LONGEST."""
    found = "".join(c if c.isprintable() else " " for c in str(value))
    if len(found) > LONGEST:
        found = found[:LONGEST] + " ..."
    return html.escape(found)


def cell(value: Any) -> str:
    """A value from a line of JSON as the contents of a table cell."""
    if value is None:
        return "&ndash;"
    if isinstance(value, float):
        return text(f"{value:.5g}")
    if isinstance(value, int) and not isinstance(value, bool) and number(value) is not None:
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return text(value if isinstance(value, str) else json.dumps(value, default=str))


DATE = "date (UTC)"  # the heading of moments, since records have them in UTC


def moment(value: Any) -> str:
    """A date and time, truncated to minutes."""
    return cell(value[:16].replace("T", " ") if isinstance(value, str) else value)


def with_error(value: Any, error: Any) -> str:
    """A mean with its standard error, if there is one."""
    if number(value) is None:
        return "&ndash;"
    return f"<b>{value:.3f}</b>" + ("" if number(error) is None else f" &plusmn; {error:.3f}")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; it scrolls horizontally on a narrow screen."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def rows_as_table(rows: Sequence[Row], leave_out: Iterable[str] = ()) -> str:
    """A table of lines of JSON, with a column for each name."""
    names = dict.fromkeys(name for row in rows for name in row if name not in set(leave_out))
    shown = [
        [(moment if name == "date" else cell)(row.get(name)) for name in names] for row in rows
    ]
    return table([DATE if name == "date" else name for name in names], shown)


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and values; the values are HTML already."""
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{value}</td></tr>' for name, value in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table class="pairs"><tbody>{body}</tbody></table></div>'
    )


def picture(shown: Picture, caption: str) -> str:
    """A picture with its caption, embedded in the page."""
    source = base64.b64encode(shown.data).decode()
    return (
        f'<figure><img src="data:image/webp;base64,{source}" width="{shown.width}" height="{shown.height}" '
        f'alt="{text(shown.name)}"><figcaption>{caption}</figcaption></figure>'
    )


def section(title: str, *parts: str) -> str:
    """A section with these parts; "" if all of them are empty."""
    inside = "".join(parts)
    return f"<section><h2>{text(title)}</h2>{inside}</section>" if inside else ""


def notes(found: Iterable[str]) -> str:
    """A list of notes, or "" if there are none."""
    listed = "".join(f"<li>{text(note)}</li>" for note in found)
    return f'<ul class="notes">{listed}</ul>' if listed else ""
