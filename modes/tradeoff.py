"""--mode tradeoff: sample quality, likelihood and cost of a checkpoint in one table.

Several samplers draw from the same noise at given numbers of network evaluations, and their samples are evaluated as in --mode evaluate;
bits/dim are measured as in --mode likelihood. Finished rows are kept: repeating the command resumes after the last one, and a longer
list of samplers adds only the new rows.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from score_sde.configs.default import check_options
from score_sde.data.fingerprint import hash_of_some
from score_sde.errors import ConfigError
from score_sde.files import write_whole
from score_sde.generation.guided import scores_a_call
from score_sde.json_output import note
from score_sde.modes import evaluate, likelihood, sample
from score_sde.modes.evaluated_samples import drawn
from score_sde.modes.kept_rows import Made, Task, made, of_other_versions
from score_sde.modes.prior import say_signal_left
from score_sde.output import show
from score_sde.progress import say
from score_sde.quality.assessment import assess, check_numbers, fewest_images
from score_sde.quality.estimate import Estimate
from score_sde.quality.few_images import has_limit
from score_sde.quality.image_sets import of_split
from score_sde.quality.reference import open_reference
from score_sde.quality.strata import Strata, independent_count, turns_in_words
from score_sde.quality.table import with_intervals
from score_sde.quality.tradeoff_picture import save_tradeoff_picture
from score_sde.quality.tradeoff_table import Bits, Row, document, in_a_line, plus_minus
from score_sde.results import report
from score_sde.samplers.entries import Run
from score_sde.samplers.entry_list import Steps, listed_runs
from score_sde.samplers.problem import Configured
from score_sde.sde_lib import SDE
from score_sde.training.recorded_config import as_json
from score_sde.training.trained_score import LoadedScore, load_score_model
from score_sde.unfinished import all_hosts_meet, changed, unused

NO_LIMIT = (
    "{samples} and {m} real images are too few for the limit of the Frechet distance for infinitely many images; the distance of these "
    "samples can be compared between samplers, but not with that of another number of images."
)
OTHER_SPLIT = {"train": "test", "test": "train"}
LAWS = {"ode": "the ODE's law", "bound": "bound on the SDE's"}


class Planned(NamedTuple):
    """A sampler with its number of steps or tolerance."""

    run: Run
    config: Any
    """The config with which --mode evaluate would draw the same samples."""
    configured: Configured | None
    """None if the sampler needs denoising errors of the score model."""

    @property
    def steps(self) -> str:
        """The steps as text."""
        return steps_in_words(self.run)


def check(config: Any, sde: SDE) -> tuple[list[Planned]]:
    """Refuse what cannot be measured; return the planned samplers.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    check_options(config)
    if config.evaluation.images:
        raise ConfigError(
            f"evaluation.images={config.evaluation.images!r} with --mode tradeoff, which evaluates samples that it draws: leave it out"
        )
    if config.evaluation.per_class:
        raise ConfigError(
            "evaluation.per_class=True with --mode tradeoff, whose table has no lines for each class: leave it out, or use --mode evaluate"
        )
    evaluate.check(config, sde)
    if config.tradeoff.bits_per_dim:
        likelihood.check(config, sde)
    return (planned(config, sde),)


def planned(config: Any, sde: SDE) -> list[Planned]:
    """The samplers of the list, each checked as in --mode sample.

    Numbers of steps at which a sampler is refused, such as too few of an SDE solver, are left out with a note, unless they are all of its own.
    """
    sampling, options = config.sampling, config.tradeoff
    tweedie = sampling.noise_removal and sampling.noise_removal_by == "tweedie"
    steps = Steps(
        options.grid,
        options.evaluations,
        options.tolerances,
        a_call=scores_a_call(sampling),
        last=int(tweedie),
    )
    found, left_out = [], dict[str, list[tuple[Run, ConfigError]]]()
    for run in listed_runs("tradeoff.samplers", options.samplers, steps):
        of_run = config.copy_and_resolve_references()
        of_run.sampling.update_from_flattened_dict(run.settings)
        try:
            found.append(Planned(run, of_run, next(iter(sample.check_sampling(of_run, sde)), None)))
        except ConfigError as error:
            left_out.setdefault(run.entry.name, []).append((run, error))
    for name, refused in left_out.items():
        if not any(one.run.entry.name == name for one in found):
            raise refused[0][1]
        numbers = ", ".join(steps_in_words(run) for run, _ in refused)
        say(f"note: left out of the table, {name} in {numbers}: {refused[0][1]}")
    return found


def steps_in_words(run: Run) -> str:
    """A run's number of steps and its grid, or its tolerance."""
    count = run.settings.get(f"{run.entry.group}.num_steps")
    return run.steps if count is None else f"{count} on {run.steps}"


class Judge:
    """Compares features of samples with those of the real images."""

    def __init__(self, config: Any, workdir: Path):
        self.config = config
        self.extractor, self.splits, self.of_split, self.reference = open_reference(config, workdir)
        if self.reference.law is not None:
            raise ConfigError(
                f"evaluation.reference={config.evaluation.reference!r} contains only a mean and covariance, but --mode tradeoff computes "
                "precision and recall: give real images, or features of them"
            )

    @property
    def beside(self) -> np.ndarray:
        """Features (m, d) of the real images, computed on first use."""
        return self.reference.features

    @functools.cached_property
    def images(self) -> list[Any]:
        """What identifies both splits: fingerprint of the data and hashes of some images."""
        some = [hash_of_some(split) for split in (self.splits.train, self.splits.test)]
        return [self.splits.fingerprint, some]

    def figures(self, x: np.ndarray, strata: Strata) -> dict[str, Any]:
        """The figures of --mode evaluate for features x, without frechet_limit if there are too few images for it."""
        config = self.config
        both = (strata, self.reference.strata)
        assessment = assess(x, self.beside, config.evaluation.neighbours, config.seed, both)
        found = dict(assessment.figures)
        if not has_limit(independent_count(len(x), strata), *self.beside.shape):
            del found["frechet_limit"]
        return {
            **config.evaluation.to_dict(),
            "num_images": len(x),
            "num_reference": self.reference.num_images,
            "data": config.data.name,
            "seed": config.seed,
            **self.extractor.recorded,
            **with_intervals(found),
        }

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that the figures depend on except the samples."""
        options, settings = self.config.evaluation, as_json(self.config)
        files = [changed(options[name]) for name in ("reference", "features")]
        return {
            "files": files,
            "images": self.images,
            "convention": self.extractor.convention,
            **{part: settings[part] for part in ("seed", "data", "evaluation")},
        }


def run(config: Any, sde: SDE, workdir: Path, plan: list[Planned]) -> dict[str, Any]:
    """Compute the rows that are missing, write <workdir>/tradeoff, print the table and return all rows."""
    say_signal_left(sde)
    loaded = load_score_model(config, sde, workdir)
    judge = Judge(config, workdir)
    n, m = config.sampling.num_images, judge.reference.num_images
    check_numbers(n, m, config.evaluation.neighbours)
    tasks = [
        *real_images(judge, workdir),
        *bits_per_dim(judge, sde, workdir, loaded),
        *(of_sampler(judge, one, sde, workdir, loaded) for one in plan),
    ]
    found = made(tasks, workdir / "tradeoff" / "rows")
    rows = [row_of(figures) for figures in found if figures["mode"] == "tradeoff"]
    bits = [bit for figures in found if figures["mode"] == "likelihood" for bit in bits_of(figures)]
    of_samplers = [row for row in rows if row.nfe is not None]
    has_one = all("frechet_limit" in row.figures for row in of_samplers)
    about = (
        f"{config.data.name}, {config.sde.name}, {loaded.name}: {n} samples of seed {config.seed} beside {m} real images "
        f"({config.evaluation.reference}), by {config.evaluation.features}."
    )
    of_real = [
        row["num_images"] for row in found if row["mode"] == "tradeoff" and row["nfe"] is None
    ]
    turns = {row["different_images"] for row in found if "different_images" in row}
    samples = f"{n} samples" + "".join(f" of {number} images" for number in turns)
    notes = [
        plus_minus(min(n, m), min([m, *of_real]) if of_real else None),
        *([] if has_one else [NO_LIMIT.format(samples=samples, m=m)]),
        *(f"{turns_in_words(n, number)}." for number in turns),
        *of_other_versions(tasks, found),
    ]
    text = document(rows, bits, about, notes)
    written = {}
    all_hosts_meet("tradeoff")
    if jax.process_index() == 0:
        stem = f"{loaded.name}-seed{config.seed}"
        picture = unused(workdir / "tradeoff", stem, ".png")
        title = "\n".join(line.removesuffix(".") for line in (about, in_a_line(bits)) if line)
        if has_one:
            save_tradeoff_picture(picture, rows, "frechet_limit", title)
        else:
            # Without the limit only equal numbers of images compare, so the row of real images is left out.
            save_tradeoff_picture(picture, of_samplers, "frechet", title)
        write_whole(picture.with_suffix(".md"), text.encode())
        written = {"table": str(picture.with_suffix(".md")), "picture": str(picture)}
        show(f"{text}\n{written['table']}\n{written['picture']}")
        note({"mode": "tradeoff", **written})
    return {"mode": "tradeoff", "rows": found, **written}


def of_sampler(judge: Judge, one: Planned, sde: SDE, workdir: Path, loaded: LoadedScore) -> Task:
    """The task that draws and evaluates the samples of one sampler."""

    def make() -> Made:
        # Outside the timing, and before sampling, in case the reference cannot be read.
        _ = judge.beside
        began = time.perf_counter()
        evaluated, unfinished = drawn(
            one.config, sde, workdir, loaded, judge.extractor, one.configured
        )
        figures = {
            "mode": "tradeoff",
            "name": one.run.entry.name,
            "steps": one.steps,
            **evaluated.recorded,
            **judge.figures(evaluated.features.of_images, evaluated.images.strata),
            "seconds": time.perf_counter() - began,
        }
        figures |= unfinished.of_all_commands(figures["seconds"])
        all_hosts_meet("a row")
        report(workdir, figures, line_of(figures))
        return Made(figures, unfinished)

    identity = {**sample.identity(one.config, workdir, loaded), **judge.identity, "row": "sampler"}
    return Task(f"{one.run.entry.name}, {one.steps}", identity, make)


def real_images(judge: Judge, workdir: Path) -> list[Task]:
    """The task that evaluates the other split, with the figures of a perfect sampler; none if it is missing or too small."""
    name = OTHER_SPLIT.get(judge.config.evaluation.reference)
    fewest = fewest_images(judge.config.evaluation.neighbours)
    if name is None or getattr(judge.splits, name).num_images < fewest:
        return []

    def make() -> Made:
        figures = {
            "mode": "tradeoff",
            "name": f"real images ({name})",
            "steps": "",
            "nfe": None,
            **judge.figures(
                judge.of_split(name, 0).of_images, of_split(getattr(judge.splits, name)).strata
            ),
        }
        report(workdir, figures, line_of(figures))
        return Made(figures)

    return [Task(f"real images ({name})", {**judge.identity, "row": "real images"}, make)]


def bits_per_dim(judge: Judge, sde: SDE, workdir: Path, loaded: LoadedScore) -> list[Task]:
    """The task that measures bits/dim as in --mode likelihood, if tradeoff.bits_per_dim is set."""
    config = judge.config
    if not config.tradeoff.bits_per_dim:
        return []
    identity = {
        **likelihood.identity(config, workdir, loaded, "split"),
        "images": judge.images,
        "row": "bits/dim",
    }
    return [Task("bits/dim", identity, lambda: Made(likelihood.run(config, sde, workdir)))]


def line_of(figures: dict[str, Any]) -> str:
    """One row as a printed line."""
    row = row_of(figures)
    name = "frechet_limit" if "frechet_limit" in row.figures else "frechet"
    words = {"frechet": "Frechet distance", "frechet_limit": "Frechet distance in the limit"}
    of = ", ".join(filter(None, (row.name, row.steps)))
    cost = "" if row.nfe is None else f" in {row.nfe:.4g} evaluations"
    found = row.figures[name]
    return f"{of}{cost}: {words[name]} {found.value:.4g} +- {found.error:.2g}"


def row_of(figures: dict[str, Any]) -> Row:
    """The table row for the figures of a sampler or of real images."""
    estimates = {
        name: Estimate(value, figures[f"{name}_error"])
        for name, value in figures.items()
        if f"{name}_error" in figures
    }
    return Row(figures["name"], figures["steps"], figures["nfe"], estimates)


def bits_of(figures: dict[str, Any]) -> list[Bits]:
    """The table entries for the figures of --mode likelihood."""
    of_chain = {"bound": f"bound on {figures['bound_on']}"} if "bound_on" in figures else {}
    return [
        Bits(
            words,
            Estimate(figures[f"{law}_bits_per_dim"], figures[f"{law}_standard_error"]),
            figures["num_images"],
            figures["split"],
        )
        for law, words in (LAWS | of_chain).items()
        if f"{law}_bits_per_dim" in figures
    ]
