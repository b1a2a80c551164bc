"""Measure the distance of each method for inverse problems from the exact posterior.

    python -m benchmarks.posterior_methods --problems "pair .5" "pair .1" "pair 0" "field .1" --out docs
    python -m benchmarks.posterior_methods --problems "modes 8/1" --steps 100 --samples 500 --out docs

On Gaussian data all methods except TDS are affine in their noise, so the distribution of their samples is computed exactly, and the
figure is its squared Wasserstein distance to the posterior; TDS has no figure there. On other data it is the sliced distance of --samples
samples, next to that of as many samples of the posterior itself (the floor). Everything is in float64 and under VP. Guided scores are
sampled by the ODE and by the SDE with ShARK, in equal steps of the log-SNR; methods with their own sampler have one figure. DAPS and
PnP-DM, with many evaluations per step, have their own numbers of steps. posterior_problems.py defines the problems. Each figure is
appended to <out>/posterior_methods.jsonl as soon as it is known, and a line with the same steps and samples is not measured again, so
an interrupted command resumes; the last of several lines of a method and problem counts. Then the tables are printed, and
updated on the page there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.command import make_folder, provenance, run_main
from benchmarks.posterior_problems import PROBLEMS, Problem, exact_draws
from benchmarks.tables import read, renew, tables_of
from score_sde.errors import ConfigError, UserError
from score_sde.evaluation.affine_law import Law, affine_law
from score_sde.guidance.exact_posterior import exact_posterior
from score_sde.guidance.likelihood_score import dps, mmps, pigdm, tmpd
from score_sde.guidance.posterior import jacobian_products_of
from score_sde.guidance.proximal import ddnm, diffpir
from score_sde.models.score import evaluations_of
from score_sde.progress import progress_bar
from score_sde.quality.frechet import root
from score_sde.quality.sliced import sliced_distance, unit_directions
from score_sde.samplers.correctors import annealed_langevin
from score_sde.samplers.ddrm import DDRM, restoring
from score_sde.samplers.decoupled import DAPS, PnPDM, Renoised, splitting
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.imputation import MCG, Imputation, RePaint, imputing
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.predictors import ancestral_forward
from score_sde.samplers.record import Sampler
from score_sde.samplers.sde import ReverseSDE
from score_sde.samplers.twisted import TDS, twisting
from score_sde.sde_lib import SDE

EPS = 1e-3
DIRECTIONS = 200


class Method(NamedTuple):
    """A score given y, its sampler, and the number of noise draws per step."""

    score: Callable[..., Any]
    sampler: Callable[[SDE], Sampler]
    slots: int
    """Noise draws per step; 0: the method is not affine."""
    steps: int | None = None
    """The method's own number of steps, each of which depends on the end of the grid; None: that of the command line."""


def guided(score: Callable[..., Any], h: float) -> Method:
    return Method(score, lambda sde: ReverseSDE(sde, "shark", h), 2)


SCORES: dict[str, Callable[..., Any]] = {
    "oracle": exact_posterior,
    "MMPS": mmps,
    "TMPD": tmpd,
    "PiGDM": pigdm,
    "DPS": dps,
    "DiffPIR": diffpir,
    "DDNM": ddnm,
}
METHODS: dict[str, Method] = {
    **{f"{name}, ODE": guided(score, 0.0) for name, score in SCORES.items()},
    **{f"{name}, SDE": guided(score, 1.0) for name, score in SCORES.items()},
    "DDRM": Method(restoring, DDRM, 1),
    "imputation": Method(imputing, lambda sde: Imputation(sde, ancestral_forward), 2),
    "imputation, ald": Method(
        imputing, lambda sde: Imputation(sde, ancestral_forward, annealed_langevin, 0.16, 5), 12
    ),
    "MCG": Method(imputing, MCG, 2),
    "RePaint, 10": Method(imputing, lambda sde: RePaint(sde, 10), 30),
    "DiffPIR, own sampler": Method(diffpir, Renoised, 1),
    "DAPS": Method(splitting, DAPS, 2, 160),
    "PnP-DM": Method(splitting, PnPDM, 21, 40),
    "TDS, 16": Method(twisting, lambda sde: TDS(sde, 16), 0),
}


class Record(NamedTuple):
    """One figure; a method that does not support a problem has none."""

    problem: str
    method: str
    distance: float
    floor: float
    """Distance of samples of the posterior itself; 0 if the distance is exact."""
    evaluations: int
    """Evaluations of the model per image."""
    products: int
    """Products with the Jacobian of the model per image."""


RANK = 1e-12
"""Relative to the largest standard deviation: directions below it count as having none."""


def wasserstein(a: Law, b: Law) -> float:
    """Squared 2-Wasserstein distance of two Gaussians.

    Computed as a sum of squares, from the root of a's covariance and its image under the optimal map, since a difference of traces
    would suffer from cancellation at 1e-16 of a covariance. Where a has no variance, all of b's variance counts.
    """
    half = root(a.covariance)
    values, vectors = np.linalg.eigh(half @ b.covariance @ half)
    middle = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    carried = middle @ np.linalg.pinv(half, rcond=RANK, hermitian=True)
    deviations, directions = np.linalg.eigh(half)
    without = directions[:, deviations <= RANK * deviations.max()]
    return float(
        np.sum(np.square(a.mean - b.mean))
        + np.sum(np.square(carried - half))
        + np.sum(np.square(root(b.covariance) @ without))
    )


def sliced(x: np.ndarray, y: np.ndarray, directions: np.ndarray) -> float:
    """Mean over directions of the squared 2-Wasserstein distance, without the normalization of `sliced_distance`."""
    return sliced_distance(x, y, directions).value / (3 * x.shape[1])


def measure(name: str, problem: Problem, method: str, steps: int, samples: int) -> Record | None:
    """The figure of a method, or None if it does not support the problem."""
    made = METHODS[method]
    if problem.affine and not made.slots:
        return None
    steps = made.steps or steps
    try:
        score = made.score(problem.model, problem.measurement, problem.sde)
    except ConfigError:
        return None
    sampler, grid = (
        made.sampler(problem.sde),
        log_snr_grid(problem.sde, problem.sde.signal_end, EPS, steps),
    )
    condition, shape = {"measured": jnp.asarray(problem.y)}, problem.measurement.linear.shape
    law, floor = problem.posterior, 0.0
    if problem.affine:
        together = made.steps or 1
        got = affine_law(sampler, score, grid, shape, condition, made.slots, together)
        covariance = (law.eigenvectors * law.eigenvalues) @ law.eigenvectors.T
        distance = wasserstein(Law(law.mean, covariance), got)
    else:
        x = drawn(sampler, score, grid, condition, (samples, *shape))
        rng = np.random.default_rng(0)
        exact, again = (exact_draws(law, samples, rng) for _ in range(2))
        directions = unit_directions(exact.shape[1], rng, DIRECTIONS)
        distance, floor = (
            sliced(set_, exact, directions) if np.isfinite(set_).all() else np.inf
            for set_ in (x, again)
        )
    calls, products = calls_of(sampler, steps)
    products += calls * jacobian_products_of(score)
    return Record(name, method, distance, floor, calls * evaluations_of(score), products)


def calls_of(sampler: Any, steps: int) -> tuple[int, int]:
    """Calls of the score, and additional products with its Jacobian, per image."""
    if isinstance(sampler, ReverseSDE):
        return 2 * steps, 0
    return sampler.nfe(steps), sampler.jacobian_products(steps)


def drawn(
    sampler: Sampler, score: Any, grid: Any, condition: Any, shape: tuple[int, ...]
) -> np.ndarray:
    """Draw samples, flattened to (n, d)."""
    each = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[None], (shape[0], *leaf.shape)), condition
    )
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(shape[0]))
    run = jax.jit(lambda score: sampler(score, grid, noise, jnp.zeros(shape)).x)
    return np.asarray(run(score.given(each))).reshape(shape[0], -1)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.posterior_methods",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), metavar="NAME")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args(arguments)
    for name, given, known in (
        ("problems", options.problems, PROBLEMS),
        ("methods", options.methods, METHODS),
    ):
        for unknown in set(given) - set(known):
            raise UserError(f"--{name} {unknown!r}: expected some of {', '.join(known)}")
    return options


def measure_all(options: argparse.Namespace, file: Path) -> None:
    """Measure and append each figure that the file lacks; methods that do not support a problem are tried again."""
    facts = provenance("benchmarks.posterior_methods")
    there = {setting_of(line) for line in read(file)} if file.exists() else set()
    total = len(options.problems) * len(options.methods)
    with progress_bar(total, "posteriors", "method") as bar, jax.enable_x64(True):
        for name in options.problems:
            problem = PROBLEMS[name]()
            samples = None if problem.affine else options.samples
            setting = {"steps": options.steps, "samples": samples}
            for method in options.methods:
                if setting_of({"problem": name, "method": method, **setting}) not in there:
                    record = measure(name, problem, method, options.steps, options.samples)
                    if record is not None:
                        with open(file, "a") as lines:
                            lines.write(json.dumps({**record._asdict(), **setting, **facts}) + "\n")
                bar.update(1)


def setting_of(line: dict[str, Any]) -> tuple[Any, ...]:
    """The fields that identify a figure."""
    return tuple(line[name] for name in ("problem", "method", "steps", "samples"))


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    make_folder(options.out)
    file = options.out / "posterior_methods.jsonl"
    measure_all(options, file)
    made = tables_of(options.out)
    print("\n\n".join(text for (name, _), text in made.items() if name == file.name))
    renew(options.out)


if __name__ == "__main__":
    run_main(main)
