"""Measure how the sampling of training times affects the variance of the gradient and the resulting bits/dim.

    python -m benchmarks.training_times --config configs/subvp_digits.py:likelihood --steps 1300 --out docs

All runs use the likelihood weighting, hence the same objective, and the same seed, images and noise. A network is trained with each
scheme of TRAINED and measured on the held-out images by the bits/dim of the ODE and the bound. Then, at the weights of the last of
these, the gradients of `--gradients` batches are computed for every scheme, with the same images for all. The relative variance of
the gradient of one batch is

    E |g - E g|^2 / |E g|^2,

with the mean estimated from the scheme of least variance; its square root is about the relative error of one training step.
Writes training_times.json to --out, and updates the table on the page there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from benchmarks.command import in_words, make_folder, provenance, run_main
from benchmarks.tables import read, renew
from benchmarks.trained import train_and_measure, without_records
from score_sde import data
from score_sde.config_file import load_config
from score_sde.data.batch import Batch
from score_sde.data.splits import training_batch
from score_sde.errors import UserError
from score_sde.files import write_whole
from score_sde.keys import Stream, stream_key
from score_sde.models.networks import build_network, conditions_of
from score_sde.modes import train
from score_sde.progress import progress_bar
from score_sde.sde_lib import build_sde
from score_sde.training.objective import build_objective

SCHEMES = (
    ("uniform", "independent"),
    ("uniform", "stratified"),
    ("uniform", "low_discrepancy"),
    ("log_snr", "independent"),
    ("log_snr", "stratified"),
    ("log_snr", "low_discrepancy"),
)

TRAINED = (SCHEMES[0], SCHEMES[1], SCHEMES[3], SCHEMES[5])


class Row(NamedTuple):
    """The results of one scheme; bits/dim are None if no network was trained with it."""

    times: str
    draws: str
    variance: float
    """Variance of the gradient of a batch, relative to its squared mean."""
    variance_error: float
    """Its standard error."""
    ode: float | None = None
    ode_error: float | None = None
    bound: float | None = None
    bound_error: float | None = None


def with_scheme(config: Any, times: str, draws: str, steps: int) -> Any:
    """The config that trains with this scheme."""
    config = without_records(config, steps)
    config.training.update(weighting="likelihood", times=times, draws=draws)
    return config


def gradients(config: Any, params: Any, count: int) -> Iterator[np.ndarray]:
    """Yield the gradients of `count` batches at these weights, without dropout, as vectors."""
    config = config.copy_and_resolve_references()
    config.model.dropout = 0.0
    network, sde = build_network(config), build_sde(config)
    objective = build_objective(config, network, sde)
    split = data.load(config, conditions=conditions_of(config)).train
    size = config.training.batch_size
    key = stream_key(config.seed, Stream.TRAIN)

    @jax.jit
    def gradient(batch: Batch, step: Array) -> Array:
        def loss(params: Any) -> Array:
            step_key = jax.random.fold_in(key, step)
            return jnp.mean(objective.training_losses(params, batch, step_key))

        return ravel_pytree(jax.grad(loss)(params))[0]

    for step in range(count):
        batch = training_batch(split, config.seed, step, size, np.arange(size, dtype=np.int32))
        yield np.asarray(gradient(batch, jnp.asarray(step)), np.float64)


def relative_variances(configs: list[Any], params: Any, count: int) -> list[tuple[float, float]]:
    """The variance of the gradient under each scheme and its standard error, in units of the squared mean.

    All schemes have the same mean gradient, so it is estimated from the scheme of least variance. The squared norm of the average
    of `count` gradients is biased by 1/count of their variance, which is subtracted.
    """
    means, squares = [], []
    with progress_bar(count * len(configs), "gradients", "batch") as bar:
        for config in configs:
            mean, norms = np.zeros(()), []
            for g in gradients(config, params, count):
                mean = mean + g / count
                norms.append(float(g @ g))
                bar.update(1)
            means.append(mean)
            squares.append(np.asarray(norms))
    steadiest = int(np.argmin([norms.mean() for norms in squares]))
    square = float(means[steadiest] @ means[steadiest])
    power = (count * square - squares[steadiest].mean()) / (count - 1)
    return [
        (float(norms.mean() / power - 1), float(norms.std(ddof=1) / np.sqrt(count) / power))
        for norms in squares
    ]


def with_error(value: float | None, error: float | None) -> str:
    return "" if value is None else f"{value:.3f} ± {error:.3f}"


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """The only table: a row for each scheme."""
    lines = [
        "| times | draws | gradient's variance | ODE, bits/dim | bound, bits/dim |",
        "|---" * 5 + "|",
    ]
    for row in (Row(*values) for values in stored["rows"]):
        lines.append(
            f"| {row.times} | {row.draws} | {row.variance:.3g} ± {float(f'{row.variance_error:.2g}'):g} | "
            f"{with_error(row.ode, row.ode_error)} | {with_error(row.bound, row.bound_error)} |"
        )
    below = f"{stored['steps']} updates of each network: {in_words(stored['measured'])}"
    return {"": "\n".join([*lines, "", below])}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/subvp_digits.py:likelihood")
    parser.add_argument("--steps", type=int, default=1300, help="updates of each training")
    parser.add_argument("--gradients", type=int, default=200, help="batches for each scheme")
    parser.add_argument("--num_images", type=int, default=0, help="held-out images; 0: all")
    parser.add_argument("--out", type=Path, default=Path("runs/training_times"), help="a folder")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Row]:
    options = parse(arguments)
    if options.gradients < 2:
        raise UserError(f"--gradients={options.gradients}: expected 2 or more, for a variance")
    base = load_config(options.config)
    base.likelihood.num_images = options.num_images
    configs = {scheme: with_scheme(base, *scheme, options.steps) for scheme in SCHEMES}
    for config in configs.values():
        train.check(config, build_sde(config))
    make_folder(options.out)
    trained = {scheme: train_and_measure(configs[scheme]) for scheme in TRAINED}
    params = trained[TRAINED[-1]].model.params  # type: ignore[attr-defined]
    variances = relative_variances(list(configs.values()), params, options.gradients)
    rows = [
        Row(*scheme, *variance, *(trained[scheme].figures if scheme in trained else ()))
        for scheme, variance in zip(SCHEMES, variances, strict=True)
    ]
    facts = provenance("benchmarks.training_times")
    record = {"measured": facts, "fields": Row._fields, "steps": options.steps, "rows": rows}
    file = options.out / "training_times.json"
    write_whole(file, (json.dumps(record, indent=1) + "\n").encode())
    print(tables(read(file))[""])
    renew(options.out)
    return rows


if __name__ == "__main__":
    run_main(main)
