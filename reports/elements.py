"""Parts of a page as HTML. What comes from a file passes through `text`, and so can be nothing but letters."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from score_sde.reports.lines import Row, number
from score_sde.reports.reading import Picture

LONGEST = 240  # letters of a value


def text(value: Any) -> str:
    """Escaped, on one line, without control characters, and shortened."""
    found = "".join(c if c.isprintable() else " " for c in str(value))
    if len(found) > LONGEST:
        found = found[:LONGEST] + " ..."
    return html.escape(found)


def cell(value: Any) -> str:
    """A value of a line of JSON."""
    if value is None:
        return "&ndash;"
    if isinstance(value, float):
        return text(f"{value:.5g}")
    if isinstance(value, int) and not isinstance(value, bool) and number(value) is not None:
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return text(value if isinstance(value, str) else json.dumps(value, default=str))


def moment(value: Any) -> str:
    """A date and time, to the minute."""
    return cell(value[:16].replace("T", " ") if isinstance(value, str) else value)


def with_error(value: Any, error: Any) -> str:
    """A mean and its standard error."""
    if number(value) is None:
        return "&ndash;"
    return f"<b>{value:.3f}</b>" + ("" if number(error) is None else f" &plusmn; {error:.3f}")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Of cells that are HTML already; it scrolls by itself where a screen is narrow."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def rows_as_table(rows: Sequence[Row], leave_out: Iterable[str] = ()) -> str:
    """Every figure of lines of JSON, a column for each name."""
    names = dict.fromkeys(name for row in rows for name in row if name not in set(leave_out))
    shown = [
        [(moment if name == "date" else cell)(row.get(name)) for name in names] for row in rows
    ]
    return table(list(names), shown)


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Names beside values, which are HTML already."""
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
    """Of the parts that are not empty; "" if there are none."""
    inside = "".join(parts)
    return f"<section><h2>{text(title)}</h2>{inside}</section>" if inside else ""


def notes(found: Iterable[str]) -> str:
    """A list of notes, or nothing."""
    listed = "".join(f"<li>{text(note)}</li>" for note in found)
    return f'<ul class="notes">{listed}</ul>' if listed else ""
