"""Registry of trace estimators by the names of `likelihood.probe`; add new ones here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax

from score_sde.errors import ConfigError
from score_sde.likelihood.hutch_plus_plus import HutchPlusPlus
from score_sde.likelihood.trace import (
    ExactTrace,
    IndependentProbes,
    OrthogonalProbes,
    TraceEstimator,
    hadamard_order,
)
from score_sde.options import choose


class Options(NamedTuple):
    """The fields of config.likelihood that estimators use, and the dimension D of the data."""

    num_probes: int
    sketch_size: int
    products_at_once: int
    dimension: int


def orthogonal(o: Options) -> TraceEstimator:
    """Orthogonal probes; raises ConfigError for more than the order of the Hadamard matrix."""
    order = hadamard_order(o.dimension)
    if o.num_probes > order:
        raise ConfigError(
            f"likelihood.num_probes={o.num_probes} with likelihood.probe='orthogonal': {o.dimension} dimensions have "
            f"{order} such probes, which give the exact trace; take no more"
        )
    return OrthogonalProbes(o.num_probes, o.products_at_once, order)


def hutch_plus_plus(o: Options) -> TraceEstimator:
    """Hutch++; raises ConfigError for a sketch size below 1."""
    if o.sketch_size < 1:
        raise ConfigError(
            f"likelihood.sketch_size={o.sketch_size}: expected 1 or more directions whose part of the trace is exact; "
            "for none, take likelihood.probe='rademacher'"
        )
    if o.sketch_size >= o.dimension:  # the sketch spans the whole space: the trace is exact
        return ExactTrace(o.products_at_once)
    return HutchPlusPlus(o.sketch_size, o.num_probes, o.products_at_once)


ESTIMATORS: dict[str, Callable[[Options], TraceEstimator]] = {
    "rademacher": lambda o: IndependentProbes(
        o.num_probes, o.products_at_once, jax.random.rademacher
    ),
    "gaussian": lambda o: IndependentProbes(o.num_probes, o.products_at_once, jax.random.normal),
    "orthogonal": orthogonal,
    "hutchpp": hutch_plus_plus,
    "exact": lambda o: ExactTrace(o.products_at_once),
}


def build_trace_estimator(
    name: str, num_probes: int, sketch_size: int, products_at_once: int, dimension: int
) -> TraceEstimator:
    """Build the trace estimator `name` (config.likelihood.probe) for data of this dimension.

    Raises:
      ConfigError: an unknown name, or a number out of its range.
    """
    build = choose("likelihood.probe", name, ESTIMATORS)
    for field, value in (("num_probes", num_probes), ("products_at_once", products_at_once)):
        if value < 1:
            raise ConfigError(f"likelihood.{field}={value}: expected 1 or more")
    return build(Options(num_probes, sketch_size, products_at_once, dimension))
