"""Compare few-step models with the known probability flow of a one-dimensional mixture.

    python -m benchmarks.few_steps --updates 8000 --out docs

The data distribution is 0.3 N(-1, 0.04) + 0.7 N(0.6, 0.09) and the process is the straight path. In one dimension the probability
flow preserves the order of points, so it maps the quantiles of the noise to those of the data. Every method trains the same
perceptron with the same batches and learning rate, and is sampled with 1, 2 and 4 evaluations. Euler's method along the exact
velocity is included for comparison. Two root-mean-square distances are reported:

    map    between the end of a point and its quantile, from noise at equal quantiles; empty for samplers that add noise
    law    between the sorted ends and the quantiles: the Wasserstein distance W_2; the row `samples` is for independent samples

Writes few_steps.json and few_steps.png to --out, and updates the table on the page there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from scipy.special import ndtr, ndtri

from benchmarks.command import in_words, make_folder, provenance, run_main
from benchmarks.tables import read, renew
from score_sde.evaluation.known_law import marginal_mixture, mixture_quantiles
from score_sde.models.consistency import ConsistencyModel
from score_sde.models.exact import ProductMixtureScore
from score_sde.models.predictions import AverageFlowPrediction
from score_sde.models.score import NetworkScore
from score_sde.samplers.few_steps import ConsistencySampler, MeanFlowSampler
from score_sde.samplers.grids import noise_power_grid, uniform_grid
from score_sde.samplers.noise import IndexedNoise
from score_sde.sde_lib import Linear
from score_sde.training.consistency import ConsistencyLoss, Intervals, doubled
from score_sde.training.mean_flow import MeanFlow
from score_sde.training.times import LogNormalTimes, UniformTimes

SDE, EPS = Linear(), 1e-3
LAW = np.array([0.3, 0.7]), np.array([-1.0, 0.6]), np.array([0.04, 0.09])
STEPS = (1, 2, 4)
BATCH, WIDTH, RATE = 512, 64, 2e-3
HUBER = 0.00054
FIRST, LAST = 10, 160
"""First and last number of intervals of the consistency models."""
QUANTILES, TIMES_EACH = 2000, 50


class Perceptron(nn.Module):
    """A perceptron whose inputs are a number x, the time and the length of the interval."""

    @nn.compact
    def __call__(self, x: Array, time: Array, condition: Any = (), keys: Any = None) -> Array:
        length = dict(condition).get("interval", jnp.zeros_like(time))
        logarithm = jnp.log(time + 8 * EPS) / 4
        h = jnp.concatenate([x, jnp.stack([time / 8, length / 8, logarithm], axis=1)], axis=1)
        for _ in range(3):
            h = nn.swish(nn.Dense(WIDTH)(h))
        return nn.Dense(1)(h)


class Row(NamedTuple):
    """The distances of a method with `steps` evaluations."""

    method: str
    steps: int
    map: float | None
    law: float


def exact_score() -> ProductMixtureScore:
    weights, means, variances = (jnp.asarray(part, jnp.float32) for part in LAW)
    return ProductMixtureScore(weights, means, variances, SDE)


def network(params: Any) -> NetworkScore:
    return NetworkScore(params, Perceptron().apply, AverageFlowPrediction(SDE))


def consistency_model(params: Any) -> ConsistencyModel:
    return ConsistencyModel(network(params), SDE, EPS)


Losses = Callable[[Any, Array, Array, Array], Array]
"""(params, step, key, x0) -> losses (b,)."""


def consistency_losses(teacher: Any, huber: float, updates: int) -> Losses:
    """The losses of consistency training, or of consistency distillation if a teacher is given."""
    times = LogNormalTimes(SDE, EPS, mean=-0.5, std=2.0)

    def losses(params: Any, step: Array, key: Array, x0: Array) -> Array:
        intervals = Intervals(SDE, EPS, doubled(FIRST, LAST, step, updates))
        # The density of the times is the weighting, as in iCT.
        loss = ConsistencyLoss(
            SDE, times, lambda t: 1 / times.correction(t), intervals, huber, True, teacher
        )
        of_time, of_noise = jax.random.split(key)
        u, z = jax.random.uniform(of_time, x0.shape[:1]), jax.random.normal(of_noise, x0.shape)
        return loss(consistency_model(params), x0, u, z)

    return losses


def mean_flow_losses(power: float) -> Losses:
    """The losses of MeanFlow, with r < t for half of the images."""
    times = UniformTimes(SDE, EPS, True)
    loss = MeanFlow(SDE, times, jnp.ones_like, True, power=power)

    def losses(params: Any, step: Array, key: Array, x0: Array) -> Array:
        keys = jax.random.split(key, 4)
        u, other = (jax.random.uniform(of, x0.shape[:1]) for of in keys[:2])
        apart = jax.random.bernoulli(keys[2], 0.5, x0.shape[:1])
        z = jax.random.normal(keys[3], x0.shape)
        return loss.of_pairs(network(params), x0, u, other, apart, z)

    return losses


def trained(losses: Losses, updates: int, seed: int) -> Any:
    """Train the perceptron by Adam with cosine decay of the learning rate to 0, and return its parameters."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(RATE, updates))
    )
    weights, means, variances = (jnp.asarray(part, jnp.float32) for part in LAW)

    def update(state: Any, step: Array) -> Any:
        params, moments = state
        of_part, of_image, of_loss = jax.random.split(
            jax.random.fold_in(jax.random.key(seed), step), 3
        )
        part = jax.random.choice(of_part, len(weights), (BATCH,), p=weights)
        noise = jax.random.normal(of_image, (BATCH,))
        x0 = (means[part] + jnp.sqrt(variances[part]) * noise)[:, None]
        gradient = jax.grad(lambda params: losses(params, step, of_loss, x0).mean())(params)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), None

    first = Perceptron().init(jax.random.key(seed), jnp.ones((1, 1)), jnp.ones(1))["params"]
    state = (first, optimizer.init(first))
    (params, _), _ = jax.jit(lambda state: jax.lax.scan(update, state, jnp.arange(updates)))(state)
    return params


class Euler(NamedTuple):
    """The exact velocity at the start of an interval in place of its average, which makes a step one of Euler's method."""

    score: ProductMixtureScore

    def average_velocity(self, x: Array, r: Array, t: Array) -> Array:
        return self.score.velocity(x, t)


def levels() -> np.ndarray:
    return (np.arange(QUANTILES) + 0.5) / QUANTILES


def rows_of(method: str, model: Any, consistent: bool) -> list[Row]:
    """The rows of a method, one for each number of steps."""
    target = mixture_quantiles(levels(), *marginal_mixture(SDE, EPS if consistent else 0.0, *LAW))
    start = jnp.asarray(np.repeat(ndtri(levels()), TIMES_EACH), jnp.float32)[:, None]
    noise = IndexedNoise.for_images(jax.random.key(1), jnp.arange(len(start)))
    found = []
    sampler: ConsistencySampler | MeanFlowSampler
    for steps in STEPS:
        if consistent:
            grid, sampler = (
                noise_power_grid(SDE, SDE.signal_end, EPS, steps, 7.0),
                ConsistencySampler(SDE),
            )
        else:
            grid, sampler = uniform_grid(1.0, 0.0, steps), MeanFlowSampler(SDE)
        ends = np.asarray(sampler(model, grid, noise, start, start).x, np.float64)[:, 0]
        aim = np.repeat(target, TIMES_EACH)
        of_map = None if consistent and steps > 1 else root_mean_square(ends - aim)
        found.append(Row(method, steps, of_map, root_mean_square(np.sort(ends) - aim)))
    return found


def root_mean_square(of: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(of))))


def samples_row(seed: int) -> Row:
    """The row of as many independent samples of the data distribution."""
    weights, means, variances = LAW
    rng = np.random.default_rng(seed)
    part = rng.choice(2, QUANTILES * TIMES_EACH, p=weights)
    x = np.sort(means[part] + np.sqrt(variances[part]) * rng.standard_normal(len(part)))
    aim = np.repeat(mixture_quantiles(levels(), *LAW), TIMES_EACH)
    return Row("samples", 0, None, root_mean_square(x - aim))


def picture(maps: dict[str, Any], path: Path) -> None:
    """Plot the one-step map of each model from noise to data, with the quantile map."""
    from matplotlib.figure import Figure

    z = jnp.linspace(-3.0, 3.0, 601)[:, None]
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    share = ndtr(np.asarray(z[:, 0], np.float64))
    axes.plot(
        z[:, 0], mixture_quantiles(share, *LAW), color="#bbbbbb", linewidth=5, label="quantile map"
    )
    for name, to_end in maps.items():
        axes.plot(z[:, 0], to_end(z)[:, 0], linewidth=1.2, label=name)
    axes.set_xlabel("noise z")
    axes.set_ylabel("x after one evaluation")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """The only table."""
    rows = [Row(*row) for row in stored["rows"]]
    return {"": f"{table(rows)}\n\nMeasured by {in_words(stored['measured'])}"}


def table(rows: list[Row]) -> str:
    """A Markdown table with a row for each method and number of evaluations."""
    lines = ["| method | evaluations | map | law |", "|---|---|---|---|"]
    for row in rows:
        of_map = "" if row.map is None else f"{row.map:.3f}"
        lines.append(f"| {row.method} | {row.steps or ''} | {of_map} | {row.law:.3f} |")
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=8000, help="of each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/few_steps_of_a_mixture"), help="a folder"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Row]:
    options = parse(arguments)
    make_folder(options.out)
    updates, seed = options.updates, options.seed
    learnt: dict[str, tuple[Any, Losses]] = {
        "consistency training": (consistency_model, consistency_losses(None, 0.0, updates)),
        "the same, pseudo-Huber": (consistency_model, consistency_losses(None, HUBER, updates)),
        "consistency distillation": (
            consistency_model,
            consistency_losses(exact_score(), HUBER, updates),
        ),
        "MeanFlow": (network, mean_flow_losses(0.0)),
        "the same, p = 1": (network, mean_flow_losses(1.0)),
    }
    models = {name: of(trained(losses, updates, seed)) for name, (of, losses) in learnt.items()}
    models["Euler, exact velocity"] = Euler(exact_score())
    rows, maps = [], {}
    for name, model in models.items():
        consistent = isinstance(model, ConsistencyModel)
        rows += rows_of(name, model, consistent)
        maps[name] = one_step(model, consistent)
    rows.append(samples_row(seed))
    facts = provenance("benchmarks.few_steps")
    record = {"measured": facts, "fields": Row._fields, "rows": rows}
    file = options.out / "few_steps.json"
    file.write_text(json.dumps(record, indent=1) + "\n")
    picture(maps, options.out / "few_steps.png")
    print(tables(read(file))[""])
    renew(options.out)
    return rows


def no_noise(step: Any, slot: Any, like: Array) -> Array:
    """Zero noise, for samplers of a single step."""
    return jnp.zeros_like(like)


def one_step(model: Any, consistent: bool) -> Callable[[Array], Array]:
    """Return the map from noise (n, 1) to samples by one evaluation."""
    sampler = ConsistencySampler(SDE) if consistent else MeanFlowSampler(SDE)
    grid = jnp.asarray([SDE.signal_end, EPS] if consistent else [1.0, 0.0])
    return lambda z: sampler(model, grid, no_noise, z, z).x


if __name__ == "__main__":
    run_main(main)
