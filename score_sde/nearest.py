"""What a mistyped name was perhaps meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIKE = 0.6  # of difflib's ratio, twice the letters in common over all letters: below it a guess is noise
ALIKE_WHOLE = (
    0.8  # of dotted names, which share much with all in their section, and of a name anywhere
)
LONGEST = 200  # letters; longer words are no names, and comparing takes time as their square


def nearest(word: str, names: Iterable[str], alike: float = ALIKE) -> str | None:
    """The name most like this word, or None if none is like it.

    Case, and - for _, do not count. Of names that begin with the word, as `cond` for `conditional`, the shortest is taken.
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
    """Without what people confuse: case, and - for _."""
    return name.lower().replace("-", "_")


def did_you_mean(word: str, names: Iterable[str], form: str = "{}") -> str:
    """`; did you mean NAME?` to end a refusal with, or nothing.

    Args:
      form: how the name is written there, such as "--{}".
    """
    name = nearest(word, names)
    return "" if name is None else f"; did you mean {form.format(name)}?"


def did_you_mean_field(field: str, fields: Iterable[str], form: str = "--config.{}") -> str:
    """As `did_you_mean`, of a dotted field; it may name a few."""
    found = [form.format(name) for name in nearest_fields(field, fields)]
    if not found:
        return ""
    several = f"{', '.join(found[:-1])} or " if found[1:] else ""
    return f"; did you mean {several}{found[-1]}?"


def nearest_fields(field: str, fields: Iterable[str], most: int = 3) -> list[str]:
    """The dotted fields that are most like one that there is not, best first.

    Those of this very name in other sections come first: `grid.name` is `sampling.grid.name`. Then one like its last name in
    its own section, then the one most like it as a whole, then one like its last name anywhere.
    """
    fields = list(fields)
    parent, _, last = field.rpartition(".")
    for n in range(field.count(".") + 1):  # ever shorter ends of it
        end = field.split(".", n)[-1]
        ending = [name for name in fields if f".{name}".endswith(f".{end}")]
        if ending:
            return alike_first(field, ending)[:most]
    within = {name.rpartition(".")[2]: name for name in fields if name.rpartition(".")[0] == parent}
    anywhere = {name.rpartition(".")[2]: name for name in reversed(fields)}
    found = (within.get(nearest(last, within) or ""), nearest(field, fields, ALIKE_WHOLE))
    one = next(filter(None, found), None) or anywhere.get(
        nearest(last, anywhere, ALIKE_WHOLE) or ""
    )
    return [] if one is None else [one]


def alike_first(word: str, names: Iterable[str]) -> list[str]:
    """The names, the most alike to the word first."""
    return sorted(names, key=lambda name: -difflib.SequenceMatcher(None, word, name).ratio())
