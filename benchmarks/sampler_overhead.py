"""Measure the overhead of samplers: a step should take at most 3 % longer than its network evaluations.

    python -m benchmarks.sampler_overhead --config configs/vp_cifar.py:ddpmpp --batch 16 --steps 2 --repeats 3
    python -m benchmarks.sampler_overhead --config configs/vp_digits.py --batch 64 --steps 20

Each sampler runs as in production, by the driver of `--mode sample`, with a network of random initial weights; for comparison
the same network is evaluated equally often in a loop that does nothing else. The two alternate in one process, A B A B ...,
so that fluctuations of the machine affect both; the figure is the median of the ratios A/B minus 1, with quartiles. For
a small network, the time of a step beyond its evaluations, in microseconds, is more informative than the percentage. With few
steps, it includes a share of the fixed cost per batch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from benchmarks.command import in_words, make_file, provenance, run_main
from benchmarks.random_network import random_network
from benchmarks.turns import CLOCKS, Clock
from score_sde.config_file import load_config
from score_sde.data.image_shape import image_shape
from score_sde.data.order import host_places
from score_sde.devices import build_devices, check_batch_size
from score_sde.files import append_line
from score_sde.generation.denoising_errors import stand_in
from score_sde.generation.drivers import batch_sampler
from score_sde.models.score import ScoreModel
from score_sde.progress import progress_bar
from score_sde.samplers.entries import ENTRIES, Entry, choose_entries
from score_sde.samplers.predictors import batch_times
from score_sde.sde_lib import build_sde

LIMIT = 0.03
DEFAULT = (
    "euler_maruyama",
    "reverse_diffusion",
    "ancestral_sampling",
    "ancestral_sampling_posterior",
    "ancestral_sampling_optimal",
    "reverse_diffusion + langevin",
    "heun",
    "sde euler",
    "sde shark",
    "edm",
    "edm churn=10",
    "ddim",
    "ddim eta=1",
    "dpm_solver_3",
    "dpm_solver_pp_2m",
    "dpm_solver_pp_2m eta=1",
    "deis_t_3",
    "unipc_3",
)
TOLERANCE = 0.01  # of samplers with adaptive steps


class Overhead(NamedTuple):
    """The overhead of one sampler; seconds are per batch."""

    sampler: str
    steps: int
    nfe: int
    sampler_seconds: float
    network_seconds: float
    overhead: float
    """Median of the ratios, minus 1."""
    low: float
    high: float
    """Quartiles of the ratios, minus 1."""
    microseconds_per_step: float
    """Time per step beyond the network's, from the median of the differences."""


def evaluations(model: ScoreModel, x: Array, times: Array, count: Array) -> Array:
    """Run `count` evaluations in a loop, each at a state that depends on the previous one, so that none is optimized away."""

    def evaluate(k: Array, x: Array) -> Array:
        return x + 1e-6 * model(x, batch_times(x, times[k % times.shape[0]]))

    return jax.lax.fori_loop(0, count, evaluate, x)


class Sampling(NamedTuple):
    """Sampling of one batch, compiled."""

    draw: Callable[[], Any]
    x: Array
    """The samples of a first run."""
    nfe: int
    grid: Array


class Bench:
    """Times samplers of one network against a loop that only evaluates it."""

    def __init__(self, config: Any, batch: int, num_steps: int, repeats: int, clock: Clock):
        check_batch_size(batch, "sampling.batch_size")
        self.sde, self.shape = build_sde(config), image_shape(config.data)
        self.options, self.variance = config.sampling, stand_in(config, self.sde)
        self.options.noise_removal = False
        self.model = random_network(config, self.sde)
        self.num_steps, self.repeats, self.clock = num_steps, repeats, clock
        self.devices = build_devices(config)
        self.indices = host_places(batch, jax.process_index(), jax.process_count())
        self.evaluations = self.devices.data_parallel(evaluations, (False, True, False, False))

    def seconds(self, work: Callable[[], Any]) -> float:
        began = self.clock()
        jax.block_until_ready(work())
        return self.clock() - began

    def sampler(self, entry: Entry) -> Sampling:
        run = (
            entry.with_tolerance(TOLERANCE) if entry.adaptive else entry.with_steps(self.num_steps)
        )
        configured = run.build(self.options, self.sde, self.variance)
        sample = batch_sampler(configured, self.sde, self.shape, self.devices)
        key = jax.random.key(0)

        def draw() -> Any:
            return sample(self.model, key, self.indices, (), None, lambda share: None)

        x, nfe, *_ = draw()
        return Sampling(draw, x, int(self.devices.gather(nfe, 1)[0]), configured.grid)

    def measure(self, entry: Entry) -> Overhead:
        adaptive = entry.adaptive
        sampler, x, count, grid = self.sampler(entry)

        def network() -> Any:
            return self.evaluations(self.model, x, grid, count)

        self.seconds(network)  # compiles for the first sampler
        turns = [(self.seconds(sampler), self.seconds(network)) for _ in range(self.repeats)]
        pairs = np.array(turns)
        steps = self.num_steps if not adaptive else count // entry.evaluations
        low, middle, high = np.quantile(pairs[:, 0] / pairs[:, 1], [0.25, 0.5, 0.75]) - 1.0
        beyond = 1e6 * float(np.median(pairs[:, 0] - pairs[:, 1])) / steps
        sampling, evaluating = (float(median) for median in np.median(pairs, axis=0))
        spread = float(middle), float(low), float(high)
        return Overhead(entry.name, steps, count, sampling, evaluating, *spread, beyond)


def table(rows: list[Overhead]) -> str:
    """Format the overheads as a text table."""
    lines = [
        f"{'sampler':<30} {'steps':>5} {'NFE':>4} {'ms/evaluation':>13} {'overhead':>9} {'quartiles':>18} {'us/step':>8}"
    ]
    for row in rows:
        each = 1e3 * row.network_seconds / row.nfe
        spread = f"{row.low:+.1%} .. {row.high:+.1%}"
        lines.append(
            f"{row.sampler:<30} {row.steps:>5} {row.nfe:>4} {each:>13.2f} {row.overhead:>+9.1%} {spread:>18} "
            f"{row.microseconds_per_step:>8.0f}{'  above 3 %' if row.low > LIMIT else ''}"
        )
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sampler_overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", default="configs/vp_cifar.py:ddpmpp", metavar="FILE[:VARIANT]")
    parser.add_argument("--batch", type=int, default=16, help="images, over all devices")
    parser.add_argument("--steps", type=int, default=2, help="of each sampler")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of timings")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="processor: the time of all threads of this process, for CPUs that others use too",
    )
    parser.add_argument(
        "--samplers", nargs="+", default=DEFAULT, help=f"among {', '.join(ENTRIES)}"
    )
    parser.add_argument("--json", type=Path, help="append a JSON line for each sampler")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Overhead]:
    options = parse(arguments)
    facts = provenance("benchmarks.sampler_overhead")
    entries = choose_entries(options.samplers)
    config, clock = load_config(options.config), CLOCKS[options.clock]
    if options.json:
        make_file(options.json)
    bench = Bench(config, options.batch, options.steps, options.repeats, clock)
    rows = []
    with progress_bar(len(entries), "overhead", "sampler") as bar:
        for entry in entries:
            rows.append(bench.measure(entry))
            bar.update(1)
            if options.json:
                line = {
                    "config": options.config,
                    "batch": options.batch,
                    "clock": options.clock,
                    **rows[-1]._asdict(),
                }
                append_line(options.json, json.dumps(line | facts))
    print(table(rows) + f"\n{in_words(facts)}")
    return rows


if __name__ == "__main__":
    run_main(main)
