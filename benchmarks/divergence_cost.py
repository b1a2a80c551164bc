"""Measure the cost of the divergence: drift and trace estimate together, relative to one evaluation of the network.

    python -m benchmarks.divergence_cost --config configs/vp_cifar.py:ddpmpp --batch 4
    python -m benchmarks.divergence_cost --config configs/vp_digits.py --batch 16 --probes rademacher:1 exact:1

A Jacobian-vector product computed along with an evaluation should at most about double its cost; FLOP_LIMIT and TIME_LIMIT are the
limits on floating-point operations, as counted by the compiler, and on time. The two programs alternate in one process, A B A B ...,
so that fluctuations of the machine affect both; the figure is the median of the ratios A/B, with quartiles. The network has random
initial weights.

NAME:K is an estimator of `likelihood.probe` with K probes. For hutchpp it is the cost of the second solve, with K directions and
K probes; the first solve has K products per evaluation, like rademacher:K. The compiler counts the body of a loop once, so
operations are left out if the products do not fit into one pass of --at-once.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.command import in_words, make_file, provenance, run_main
from benchmarks.random_network import random_network
from score_sde.config_file import load_config
from score_sde.data.image_shape import image_shape
from score_sde.files import append_line
from score_sde.likelihood.estimators import build_trace_estimator
from score_sde.likelihood.trace import Integral, Rates, TraceEstimator
from score_sde.models.score import ScoreModel
from score_sde.progress import progress_bar
from score_sde.samplers.ode import probability_flow
from score_sde.samplers.predictors import batch_times
from score_sde.sde_lib import SDE, build_sde

FLOP_LIMIT, TIME_LIMIT = 2.1, 2.3  # for one product
TIME = 0.5  # at which the network is evaluated
DEFAULT = ("rademacher:1", "rademacher:4", "rademacher:16", "orthogonal:16", "hutchpp:8")
Program = Callable[..., Any]


class Cost(NamedTuple):
    """The cost of drift and one trace estimator, in units of one evaluation of the network."""

    probe: str
    products: int
    """Jacobian-vector products per evaluation."""
    flops: float | None
    time: float
    """Median of the ratios."""
    low: float
    high: float
    """Their quartiles."""
    network_seconds: float


def estimator_of(name: str, at_once: int, dimension: int) -> tuple[TraceEstimator, int]:
    """Build an estimator from NAME:K, and return it with its products per evaluation."""
    probe, _, number = name.partition(":")
    num = int(number or 1)
    products = {"exact": dimension, "hutchpp": 2 * num}.get(probe, num)
    return build_trace_estimator(probe, num, num, at_once, dimension), products


def vectors_like(estimator: TraceEstimator, x: Array) -> Any:
    """Vectors of the right shapes; their values do not affect the cost, so no preliminary solve is made."""

    def made_up(rates: Rates, zeros: Array, vectors: Any, tolerance: float) -> Integral:
        return Integral(vectors, jnp.asarray(0), jnp.asarray(True))

    keys = jax.random.split(jax.random.key(0), x.shape[0])
    return jax.jit(lambda: estimator.draw(keys, x, made_up).vectors)()


def network(model: ScoreModel, x: Array) -> Array:
    """One evaluation of the network."""
    return model(x, batch_times(x, jnp.asarray(TIME)))


def drift_and_trace(sde: SDE, estimator: TraceEstimator) -> Program:
    """Return the program that the solver of the likelihood evaluates."""

    def program(model: ScoreModel, x: Array, vectors: Any) -> tuple[Array, Array]:
        return estimator.rates(
            lambda x: probability_flow(sde, jnp.asarray(TIME), x, model), x, vectors
        )

    return program


def flops(compiled: Any) -> float:
    """Floating-point operations of a compiled program, by the compiler's own count."""
    return float(compiled.cost_analysis()["flops"])


def seconds(program: Program, *arguments: Any) -> float:
    began = time.perf_counter()
    jax.block_until_ready(program(*arguments))
    return time.perf_counter() - began


def measure(name: str, sde: SDE, model: ScoreModel, x: Array, at_once: int, repeats: int) -> Cost:
    """Time both programs in turns, after one untimed run of each."""
    estimator, products = estimator_of(name, at_once, x[0].size)
    vectors = vectors_like(estimator, x)
    alone = jax.jit(network).lower(model, x).compile()
    both = jax.jit(drift_and_trace(sde, estimator)).lower(model, x, vectors).compile()
    ratio = flops(both) / flops(alone) if products <= at_once else None
    seconds(alone, model, x), seconds(both, model, x, vectors)
    turns = [(seconds(both, model, x, vectors), seconds(alone, model, x)) for _ in range(repeats)]
    pairs = np.array(turns)
    low, middle, high = (
        float(q) for q in np.quantile(pairs[:, 0] / pairs[:, 1], [0.25, 0.5, 0.75])
    )
    return Cost(name, products, ratio, middle, low, high, float(np.median(pairs[:, 1])))


def table(rows: list[Cost]) -> str:
    """Format the costs as a text table."""
    lines = [
        f"{'probes':<16} {'products':>8} {'FLOPs':>7} {'time':>7} {'quartiles':>16} {'each product':>13}"
    ]
    for row in rows:
        counted = "-" if row.flops is None else f"{row.flops:.2f}"
        above = row.products == 1 and ((row.flops or 0) > FLOP_LIMIT or row.low > TIME_LIMIT)
        lines.append(
            f"{row.probe:<16} {row.products:>8} {counted:>7} {row.time:>7.2f} {f'{row.low:.2f} .. {row.high:.2f}':>16} "
            f"{(row.time - 1) / row.products:>13.2f}{'  above the limit' if above else ''}"
        )
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.divergence_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", default="configs/vp_cifar.py:ddpmpp", metavar="FILE[:VARIANT]")
    parser.add_argument("--batch", type=int, default=4, help="images")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of timings")
    parser.add_argument("--at-once", type=int, default=16, help="products that share a pass")
    parser.add_argument("--probes", nargs="+", default=DEFAULT, metavar="NAME:K")
    parser.add_argument("--json", type=Path, help="append a JSON line for each estimator")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Cost]:
    options = parse(arguments)
    facts = provenance("benchmarks.divergence_cost")
    config = load_config(options.config)
    if options.json:
        make_file(options.json)
    sde = build_sde(config)
    shape = (options.batch, *image_shape(config.data))
    model, x = random_network(config, sde), jax.random.normal(jax.random.key(1), shape)
    rows = []
    with progress_bar(len(options.probes), "divergence", "estimator") as bar:
        for name in options.probes:
            rows.append(measure(name, sde, model, x, options.at_once, options.repeats))
            bar.update(1)
            if options.json:
                line = {"config": options.config, "batch": options.batch, **rows[-1]._asdict()}
                append_line(options.json, json.dumps(line | facts))
    print(table(rows) + f"\n{in_words(facts)}")
    return rows


if __name__ == "__main__":
    run_main(main)
