"""Options of a configuration: each states its default, its meaning and its range once, beside the code that reads it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from ml_collections import ConfigDict

from score_sde.errors import ConfigError
from score_sde.nearest import did_you_mean
from score_sde.quoting import quoted


def choose(field: str, value: Any, table: Iterable[Any]) -> Any:
    """What the table has under this name; of names without a table, the name itself.

    Raises:
      ConfigError: there is no such name, with those that there are.
    """
    if value not in table:
        guess = did_you_mean(str(value), table)
        raise ConfigError(f"{field}={value!r} is unknown; choose one of {', '.join(table)}{guess}")
    return table[value] if isinstance(table, Mapping) else value


@dataclasses.dataclass(frozen=True)
class Range:
    """The values that an option can have, in words and as a test; some that it cannot have, for tests."""

    words: str
    holds: Callable[[Any], bool]
    outside: tuple[Any, ...]

    def check(self, field: str, value: Any) -> None:
        if not self.holds(value):
            raise ConfigError(f"{field}={value}: expected {self.words}")


@dataclasses.dataclass(frozen=True)
class Names:
    """One of these."""

    names: tuple[str, ...]
    outside: ClassVar[tuple[Any, ...]] = ("?",)

    def check(self, field: str, value: Any) -> None:
        choose(field, value, self.names)


NOT_FINITE = (math.nan, math.inf)


def finite(words: str, holds: Callable[[Any], bool], *outside: Any) -> Range:
    """Finite numbers for which this holds."""
    return Range(words, lambda x: math.isfinite(x) and holds(x), (*outside, *NOT_FINITE))


positive = finite("a positive number", lambda x: x > 0, 0, -1)
not_negative = finite("0 or more", lambda x: x >= 0, -1)
not_negative_or_inf = Range("0 or more", lambda x: x >= 0, (-1, math.nan))
probability = finite("0 <= p < 1", lambda x: 0 <= x < 1, -0.1, 1)
fraction = finite("a number from 0 to 1", lambda x: 0 <= x <= 1, -0.1, 1.1)


def at_least(n: int) -> Range:
    """The range of numbers from n on."""
    return finite(f"{n} or more", lambda x: x >= n, n - 1)


def count(most: int, least: int = 1) -> Range:
    """Numbers of things; beyond `most` nothing would answer for hours, or memory be full."""
    words = "a positive integer" if least == 1 else f"{least} or more"
    return finite(f"{words}, at most {most}", lambda n: least <= n <= most, least - 1, most + 1)


STEPS = count(10**6)
BATCH = count(2**20)
INT32 = 2**31 - 1


def one_of(*names: str) -> Names:
    """The range of a few names."""
    return Names(names)


def option(default: Any, what: str, check: Range | Names | None = None) -> Any:
    """A field of a Section: its default, of whose type it is; what it means, with its unit; and what it can be."""
    return dataclasses.field(default=default, metadata={"what": what, "check": check})


ABSENT = object()


def absent(field: str) -> ConfigError:
    """The error for a configuration without a field."""
    return ConfigError(
        f"the config has no {field}: begin with that of score_sde.configs.default.get_config(), and change single fields of it"
    )


class Section:
    """A dataclass some of whose fields are options: those of `config.<section>`, or a part of them.

    Without a check a field is checked by what is built from it: a name by the table it is looked up in, a time by the process.
    """

    @classmethod
    def options(cls) -> dict[str, dataclasses.Field[Any]]:
        fields: dict[str, dataclasses.Field[Any]] = getattr(cls, "__dataclass_fields__", {})
        return {name: field for name, field in fields.items() if "what" in field.metadata}

    @classmethod
    def defaults(cls) -> ConfigDict:
        return ConfigDict({name: field.default for name, field in cls.options().items()})

    @classmethod
    def check_options(cls, values: Any, section: str) -> None:
        """Raises ConfigError, with the dotted field, for the first value out of its range."""
        for name, field in cls.options().items():
            dotted, value = f"{section}.{name}" if section else name, getattr(values, name, ABSENT)
            if value is ABSENT:
                raise absent(dotted)
            check_kind(dotted, value, type(field.default))
            if isinstance(field.default, tuple):
                check_elements(dotted, value, float if "float" in str(field.type) else int)
            if field.metadata["check"] is not None:
                field.metadata["check"].check(dotted, value)


# An option of one of these types holds: what, in words and in types. True is an int to Python, and no number here.
KINDS: dict[type, tuple[str, tuple[type, ...]]] = {
    str: ("a text", (str,)),
    tuple: ("a tuple, such as (1, 2)", (tuple, list)),
    bool: ("True or False", (bool, np.bool_)),
    int: ("an integer", (int, np.integer)),
    float: ("a number", (int, float, np.integer, np.floating)),
}


def check_kind(field: str, value: Any, kind: type) -> None:
    """Refuse a truth value where a number is meant, a fraction where an integer is, and what is neither."""
    words, kinds = KINDS[kind]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{field}={quoted(value)}: expected {words}")
    if isinstance(value, int):
        check_size(field, value)


def check_size(field: str, value: int) -> None:
    """Refuse integers that no number of the machine holds, and whose digits Python refuses to write."""
    if not -(2**63) <= value < 2**63:
        raise ConfigError(
            f"{field} is an integer of {value.bit_length()} bits: expected a smaller number"
        )


def check_elements(field: str, value: Any, kind: type) -> None:
    """Refuse a tuple with an element that is no number of this kind."""
    kinds = KINDS[kind][1]
    for element in value:
        if isinstance(element, bool) or not isinstance(element, kinds):
            words = "numbers" if kind is float else "integers"
            raise ConfigError(f"{field}={quoted(tuple(value))}: expected {words}, such as 0,1")
        if isinstance(element, int):
            check_size(field, element)


def value_of(config: Any, field: str) -> Any:
    """Of a dotted field; the whole config for ""."""
    for name in filter(None, field.split(".")):
        config = config[name]
    return config
