"""Declaration of configuration options: default, meaning and range, stated once, next to the code that uses them."""

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
    """Look up `value` in a table; for a mere collection of names, return the name itself.

    Raises:
      ConfigError: an unknown name; the message lists the known ones.
    """
    if value not in table:
        guess = did_you_mean(str(value), table)
        raise ConfigError(f"{field}={value!r} is unknown; choose one of {', '.join(table)}{guess}")
    return table[value] if isinstance(table, Mapping) else value


@dataclasses.dataclass(frozen=True)
class Range:
    """The allowed values of an option, as text and as a predicate, with some values outside for tests."""

    words: str
    holds: Callable[[Any], bool]
    outside: tuple[Any, ...]

    def check(self, field: str, value: Any) -> None:
        if not self.holds(value):
            raise ConfigError(f"{field}={value}: expected {self.words}")


@dataclasses.dataclass(frozen=True)
class Names:
    """A fixed set of allowed names."""

    names: tuple[str, ...]
    outside: ClassVar[tuple[Any, ...]] = ("?",)

    def check(self, field: str, value: Any) -> None:
        choose(field, value, self.names)


NOT_FINITE = (math.nan, math.inf)


def finite(words: str, holds: Callable[[Any], bool], *outside: Any) -> Range:
    """The range of finite numbers that satisfy `holds`."""
    return Range(words, lambda x: math.isfinite(x) and holds(x), (*outside, *NOT_FINITE))


positive = finite("a positive number", lambda x: x > 0, 0, -1)
not_negative = finite("0 or more", lambda x: x >= 0, -1)
not_negative_or_inf = Range("0 or more", lambda x: x >= 0, (-1, math.nan))
probability = finite("0 <= p < 1", lambda x: 0 <= x < 1, -0.1, 1)
fraction = finite("a number from 0 to 1", lambda x: 0 <= x <= 1, -0.1, 1.1)


def at_least(n: int) -> Range:
    """The range of numbers n and above."""
    return finite(f"{n} or more", lambda x: x >= n, n - 1)


def count(most: int, least: int = 1) -> Range:
    """The range of counts; above `most` a command would hang for hours or run out of memory."""
    words = "a positive integer" if least == 1 else f"{least} or more"
    return finite(f"{words}, at most {most}", lambda n: least <= n <= most, least - 1, most + 1)


STEPS = count(10**6)
BATCH = count(2**20)
INT32 = 2**31 - 1


def one_of(*names: str) -> Names:
    """The range of these names."""
    return Names(names)


def option(default: Any, what: str, check: Range | Names | None = None) -> Any:
    """Declare a field of a Section: default, which also sets the type; meaning, with unit; and allowed values."""
    return dataclasses.field(default=default, metadata={"what": what, "check": check})


ABSENT = object()


def absent(field: str) -> ConfigError:
    """The error for a configuration that lacks a field."""
    return ConfigError(
        f"the config has no {field}: start from score_sde.configs.default.get_config(), and change single fields"
    )


class Section:
    """A dataclass with fields that are options: all or some of those of `config.<section>`.

    A field without a check is checked when it is used: a name by the table it is looked up in, a time by the process.
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
        """Raise ConfigError, naming the dotted field, for the first value outside its range."""
        for name, field in cls.options().items():
            dotted, value = f"{section}.{name}" if section else name, getattr(values, name, ABSENT)
            if value is ABSENT:
                raise absent(dotted)
            check_kind(dotted, value, type(field.default))
            if isinstance(field.default, tuple):
                check_elements(dotted, value, float if "float" in str(field.type) else int)
            if field.metadata["check"] is not None:
                field.metadata["check"].check(dotted, value)

    @classmethod
    def refuse_unused(
        cls, values: Any, section: str, chooser: str, readers: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Refuse fields that only other choices read; `readers` has the fields of each choice, and `chooser` names the choice.

        Raises:
          ConfigError: an unknown choice, or a field that has no effect and is not at its default.
        """
        chosen, defaults = values[chooser], cls.defaults()
        own = choose(f"{section}.{chooser}", chosen, readers)
        for name in sorted({name for fields in readers.values() for name in fields} - {*own}):
            if values[name] != defaults[name]:
                others = " or ".join(of for of, fields in readers.items() if name in fields)
                raise ConfigError(
                    f"{section}.{name}={values[name]} with {section}.{chooser}={chosen!r}, which does not use it; set it to {defaults[name]}, or "
                    f"set {section}.{chooser}={others}"
                )


# For each type of option: its description and the accepted types. True is an int in Python, but not a number here.
KINDS: dict[type, tuple[str, tuple[type, ...]]] = {
    str: ("a text", (str,)),
    tuple: ("a tuple, such as (1, 2)", (tuple, list)),
    bool: ("True or False", (bool, np.bool_)),
    int: ("an integer", (int, np.integer)),
    float: ("a number", (int, float, np.integer, np.floating)),
}


def check_kind(field: str, value: Any, kind: type) -> None:
    """Refuse a value of the wrong type: a bool for a number, a float for an integer, and so on."""
    words, kinds = KINDS[kind]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{field}={quoted(value)}: expected {words}")
    if isinstance(value, int):
        check_size(field, value)


def check_size(field: str, value: int) -> None:
    """Refuse integers beyond 64 bits, which no array can hold and whose digits Python may refuse to print."""
    if not -(2**63) <= value < 2**63:
        raise ConfigError(
            f"{field} is an integer of {value.bit_length()} bits: expected a smaller number"
        )


def check_elements(field: str, value: Any, kind: type) -> None:
    """Refuse a tuple with an element that is not a number of this type."""
    kinds = KINDS[kind][1]
    for element in value:
        if isinstance(element, bool) or not isinstance(element, kinds):
            words = "numbers" if kind is float else "integers"
            none = "; give () for none" if tuple(value) == ("",) else ""
            raise ConfigError(
                f"{field}={quoted(tuple(value))}: expected {words}, such as 0,1{none}"
            )
        if isinstance(element, int):
            check_size(field, element)


def value_of(config: Any, field: str) -> Any:
    """The value of a dotted field; the whole config for ""."""
    for name in filter(None, field.split(".")):
        config = config[name]
    return config
