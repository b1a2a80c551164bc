"""Compare training recipes (prediction target and loss weighting) by likelihood and samples of the trained networks.

    python -m benchmarks.recipes --config configs/subvp_digits.py --out docs

One network is trained for each recipe, with the same seed, data, noise and number of training steps; only the fields of the recipe
differ. With the EMA weights, measures bits/dim of the held-out images by the ODE and by the bound, the Frechet distance in pixel space
of samples of the probability flow to all images of the data, and the network evaluations per sample. Writes recipes.json to
--out, and updates the table on the page there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.command import in_words, make_folder, provenance, run_main
from benchmarks.problems import every
from benchmarks.tables import read, renew
from benchmarks.trained import train_and_measure, without_records
from score_sde import data
from score_sde.config_file import load_config
from score_sde.errors import UserError
from score_sde.files import write_whole
from score_sde.generation.generate import build_generator
from score_sde.modes import train
from score_sde.quality.frechet import frechet_distance
from score_sde.sde_lib import build_sde
from score_sde.spaces import build_space
from score_sde.training.trained_score import EXACT


class Recipe(NamedTuple):
    """The fields of the config that make up a recipe, and its usual name."""

    predicts: str
    weighting: str
    times: str
    known_as: str


RECIPES = (
    Recipe("noise", "noise", "uniform", "DDPM's simple loss"),
    Recipe("noise", "p2", "uniform", "P2"),
    Recipe("noise", "likelihood", "log_snr", "maximum likelihood"),
    Recipe("score", "noise", "uniform", ""),
    Recipe("x0", "noise", "uniform", ""),
    Recipe("x0", "min_snr", "uniform", "min-SNR"),
    Recipe("velocity", "noise", "uniform", ""),
    Recipe("velocity", "velocity", "uniform", "v-prediction"),
    Recipe("edm", "edm", "log_normal", "EDM"),
)


class Row(NamedTuple):
    """The results of a recipe."""

    recipe: Recipe
    ode: float
    ode_error: float
    bound: float
    bound_error: float
    frechet: float
    nfe: float


def with_recipe(base: Any, recipe: Recipe, steps: int, num_samples: int) -> Any:
    """The config that trains with this recipe and samples by the probability flow."""
    config = without_records(base, steps or base.training.n_iters)
    config.model.predicts = recipe.predicts
    config.training.update(weighting=recipe.weighting, times=recipe.times)
    config.sampling.update(sampler="ode", num_images=num_samples)
    return config


def pixels(config: Any, images: np.ndarray) -> np.ndarray:
    """Map integer pixel values to [0, 1]."""
    return images.astype(np.float64) / (config.data.num_levels - 1)


def measure(config: Any, recipe: Recipe, real: np.ndarray) -> Row:
    """Train and measure one network."""
    trained = train_and_measure(config)
    generate = build_generator(config, build_sde(config), real.shape[1:])
    generated = generate(trained.model, config.sampling.num_images, config.seed)
    drawn = pixels(config, np.asarray(build_space(config).decode(jnp.asarray(generated.x))))
    return Row(recipe, *trained.figures, frechet_distance(drawn, real), float(generated.nfe.mean()))


def all_images(config: Any) -> np.ndarray:
    """All images of the training and the held-out split."""
    images = data.load(config)
    return pixels(config, np.concatenate([every(images.train), every(images.test)]))


def redrawn(real: np.ndarray, number: int) -> float:
    """Frechet distance of `number` images drawn from the data themselves; smaller distances are not meaningful."""
    chosen = np.random.default_rng(0).integers(len(real), size=number)
    return frechet_distance(real[chosen], real)


def in_bits(mean: float, error: float) -> str:
    return f"{mean:.3f} ± {error:.3f}" if mean < 100 else f"{mean:.0e}"


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """The only table: a row for each recipe, and the distance of the data themselves."""
    lines = [
        "| network predicts | weighting | times | known as | ODE, bits/dim | bound, bits/dim | Frechet | evaluations |",
        "|---" * 8 + "|",
    ]
    for recipe, *figures in stored["rows"]:
        row = Row(Recipe(*recipe), *figures)
        lines.append(
            f"| {' | '.join(row.recipe)} | {in_bits(row.ode, row.ode_error)} | {in_bits(row.bound, row.bound_error)} | "
            f"{row.frechet:.3f} | {row.nfe:.0f} |"
        )
    lines.append(f"| the data, drawn anew | | | | | | {stored['redrawn']:.3f} | |")
    facts = in_words(stored["measured"])
    below = f"{stored['steps']} updates of each network, {stored['samples']} samples: {facts}"
    return {"": "\n".join([*lines, "", below])}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/subvp_digits.py", metavar="FILE[:VARIANT]")
    parser.add_argument("--steps", type=int, default=0, help="updates; 0: the config's")
    parser.add_argument("--samples", type=int, default=1000, help="images drawn from each network")
    parser.add_argument("--out", type=Path, default=Path("runs/recipes"), help="a folder")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Row]:
    options = parse(arguments)
    if options.samples < 2:
        raise UserError(f"--samples={options.samples}: expected 2 or more, for a covariance")
    base, facts = load_config(options.config), provenance("benchmarks.recipes")
    if base.model.name == EXACT:
        raise UserError(f"--config={options.config}: its score is exact; give one with a network")
    configs = {r: with_recipe(base, r, options.steps, options.samples) for r in RECIPES}
    for config in configs.values():
        train.check(config, build_sde(config))
    make_folder(options.out)
    real, rows = all_images(base), []
    for recipe, config in configs.items():
        rows.append(measure(config, recipe, real))
        print(rows[-1], flush=True)
        jax.clear_caches()  # the programs of this network are not used again
    floor, steps = redrawn(real, options.samples), configs[RECIPES[0]].training.n_iters
    record = {
        "measured": facts,
        "fields": Row._fields,
        "steps": steps,
        "samples": options.samples,
        "redrawn": floor,
        "rows": rows,
    }
    file = options.out / "recipes.json"
    write_whole(file, (json.dumps(record, indent=1) + "\n").encode())
    print(tables(read(file))[""])
    renew(options.out)
    return rows


if __name__ == "__main__":
    run_main(main)
