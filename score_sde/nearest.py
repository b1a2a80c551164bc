"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Least ratio of difflib, 2 * matching letters / all letters; below it suggestions are noise.
ALIKE = 0.6
# The same for dotted names, which share much with others in their section, and for names in other sections.
ALIKE_WHOLE = 0.8
LONGEST = 200  # letters; longer words are not names, and comparing takes quadratic time


def nearest(word: str, names: Iterable[str], alike: float = ALIKE) -> str | None:
    """The name most similar to this word, or None if none is similar.

    Case, and - instead of _, are ignored. If the word is a prefix of names, as `cond` of `conditional`, the shortest of them is taken.
    """
    table = {plain(name): name for name in names}
    given = plain(word)
    if not given or len(given) > LONGEST:
        return None
    if given in table:
        return table[given]
    close = difflib.get_close_matches(given, table, n=1, cutoff=alike)
    if close:
        return table[close[0]]
    longer = [name for name in table if name.startswith(given) and len(given) > 1]
    return table[min(longer, key=len)] if longer else None


def plain(name: str) -> str:
    """Normalize case, and - to _."""
    return name.lower().replace("-", "_")


def did_you_mean(word: str, names: Iterable[str], form: str = "{}") -> str:
    """`; did you mean NAME?` for the end of an error message, or "".

    Args:
      form: format of the name in the message, such as "--{}".
    """
    name = nearest(word, names)
    return "" if name is None else f"; did you mean {form.format(name)}?"


def did_you_mean_field(
    field: str, fields: Iterable[str], form: str = "--config.{}", prefer: str | None = None
) -> str:
    """As `did_you_mean`, for a dotted field; may suggest several, those of the section `prefer` first."""
    found = [form.format(name) for name in nearest_fields(field, fields, prefer=prefer)]
    if not found:
        return ""
    several = f"{', '.join(found[:-1])} or " if found[1:] else ""
    return f"; did you mean {several}{found[-1]}?"


def nearest_fields(
    field: str, fields: Iterable[str], most: int = 3, prefer: str | None = None
) -> list[str]:
    """The dotted fields most similar to an unknown one, best first.

    Fields that end in the given name, or in a suffix of it, are preferred: `grid.name` gives `sampling.grid.name`. Of several, those of
    the section `prefer` come first. Otherwise one is chosen:
    with a last part similar to that of `field` in the same section, or similar as a whole, or with a similar last part in any section.
    """
    fields = list(fields)
    parent, _, last = field.rpartition(".")
    for n in range(field.count(".") + 1):  # ever shorter suffixes
        end = field.split(".", n)[-1]
        ending = [name for name in fields if f".{name}".endswith(f".{end}")]
        if ending:
            alike = alike_first(field, ending)
            return sorted(alike, key=lambda name: name.rpartition(".")[0] != prefer)[:most]
    within = {name.rpartition(".")[2]: name for name in fields if name.rpartition(".")[0] == parent}
    anywhere = {name.rpartition(".")[2]: name for name in reversed(fields)}
    found = (within.get(nearest(last, within) or ""), nearest(field, fields, ALIKE_WHOLE))
    one = next(filter(None, found), None) or anywhere.get(
        nearest(last, anywhere, ALIKE_WHOLE) or ""
    )
    return [] if one is None else [one]


def alike_first(word: str, names: Iterable[str]) -> list[str]:
    """The names, most similar to the word first."""
    return sorted(names, key=lambda name: -difflib.SequenceMatcher(None, word, name).ratio())
