"""--mode classify: label the images of a split by their likelihoods given each class.

Uses one class-conditional network (model.num_classes) in --workdir, or one network per class (classifier.workdirs).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from score_sde import data
from score_sde.data.batch import Batch
from score_sde.data.fingerprint import hash_of_some
from score_sde.data.loader import labels_of
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path, write_whole
from score_sde.likelihood.bits_per_dim import build_compiled, measure_bits_per_dim
from score_sde.likelihood.classifier import accuracy, classify, confusion
from score_sde.likelihood.dequantization.trained import load_dequantizer
from score_sde.likelihood.figures import options_in_use
from score_sde.models.networks import condition_names
from score_sde.modes import likelihood
from score_sde.results import listed, report
from score_sde.sde_lib import SDE
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.training.recorded_config import fields, recorded, recorded_classes
from score_sde.training.same_data import check_same_data
from score_sde.training.trained_score import EXACT, LoadedScore, load_score_model
from score_sde.unfinished import UnfinishedFolder, all_hosts_meet, of_all_stores, unused


def check(config: Any, sde: SDE) -> None:
    """Refuse a configuration that cannot be used for classification.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    likelihood.check(config, sde)
    if config.data.label >= 0:
        raise ConfigError(
            f"data.label={config.data.label} with --mode classify: classification needs images of all classes; leave data.label out"
        )
    if config.model.name == EXACT:
        raise ConfigError(
            "--mode classify needs trained networks, one conditioned on classes (model.num_classes) or one for each class, not model.name=mixture"
        )
    if config.model.condition_image == "paired":
        raise ConfigError(
            "--mode classify with model.condition_image='paired': images are classified on their own; use a network without a condition image"
        )
    if others := [name for name in condition_names(config) if name not in ("label", "image")]:
        raise ConfigError(
            f"--mode classify with a network conditioned on {' and '.join(others)}: the network may be conditioned on the class only; use "
            "one without model.words"
        )
    if condition_names(config) and not config.likelihood.conditional:
        raise ConfigError(
            "likelihood.conditional=False with --mode classify, which measures images given each class; leave it out"
        )
    if config.likelihood.anomalies:
        raise ConfigError(
            f"likelihood.anomalies={config.likelihood.anomalies!r} has no effect with --mode classify; leave it out"
        )
    if config.likelihood.save_latents:
        raise ConfigError(
            "likelihood.save_latents=True with --mode classify, which writes no latents; leave it out, or use --mode likelihood"
        )
    if not config.model.num_classes:
        check_classifier(config)


def class_folder(config: Any, label: int) -> Path:
    """The folder in which the model of a class was trained."""
    return user_path(config.classifier.workdirs.replace("{label}", str(label)))


def check_classifier(config: Any) -> None:
    """Refuse folders without a model, or with a model that was trained on another class.

    Raises:
      UserError: names the folder, and says how to train the model.
    """
    options = config.classifier
    if "{label}" not in options.workdirs:
        raise UserError(
            f"classifier.workdirs={options.workdirs!r}: expected folders with {{label}} in the name, one for each class, as "
            "runs/digit{label}; train each with --config.data.label"
        )
    for label in range(options.num_classes):
        folder = class_folder(config, label)
        if not checkpoint_folder(folder).is_dir():
            raise UserError(
                f"no model of class {label} in {folder}: train it with --config.data.label={label} --workdir {folder}"
            )
        found = recorded(folder)
        trained_on = label if found is None else dict(fields(found)).get("data.label", -1)
        if trained_on != label:
            raise UserError(
                f"the model in {folder} was trained on "
                f"{'all classes' if trained_on == -1 else f'class {trained_on}'}, not on class {label}; "
                f"train it with --config.data.label={label} in a folder of its own"
            )


class WithCondition(NamedTuple):
    """A split whose images all have the same condition, a dict of one-element arrays; () for none."""

    split: Any
    condition: Any

    @property
    def num_images(self) -> int:
        return self.split.num_images

    @property
    def shape(self) -> tuple[int, ...]:
        return self.split.shape

    def take(self, indices: np.ndarray) -> Batch:
        condition = {name: np.repeat(of, len(indices)) for name, of in dict(self.condition).items()}
        return self.split.take(indices)._replace(condition=condition or ())


def models_of_classes(
    config: Any, sde: SDE, workdir: Path, num_classes: int
) -> Iterator[tuple[Path, LoadedScore, Any]]:
    """For each class: the folder, the model, and the condition under which it gives likelihoods of that class."""
    if config.model.num_classes:
        loaded = load_score_model(config, sde, workdir)
        for label in range(num_classes):
            yield workdir, loaded, {"label": np.array([label], np.int32)}
    else:
        first: Any = None
        for label in range(num_classes):
            folder = class_folder(config, label)
            loaded = load_score_model(config, sde, folder)
            # Networks built twice are equal, but their methods are not, so each class would be compiled again.
            leaves, structure = jax.tree.flatten(loaded.model)
            first = structure if first is None else first
            # The class of each network is no change of this command's.
            changes = {name: of for name, of in loaded.changes.items() if name != "data.label"}
            model = jax.tree.unflatten(first, leaves)
            yield folder, loaded._replace(model=model, changes=changes), ()


class Costs(NamedTuple):
    """Negative log-likelihoods of every image given every class."""

    nats: np.ndarray
    """(classes, images), in nats per image."""
    recorded: dict[str, Any]
    """The weights used, as written to the record."""
    seconds: float
    leftovers: list[UnfinishedFolder]
    """Unfinished batches, to be removed once the predictions are written."""


def measured_costs(config: Any, sde: SDE, workdir: Path, split: Any, num_classes: int) -> Costs:
    """Measure the costs, resuming from the batches of each class that an interrupted run has finished."""
    nats, steps, leftovers, seconds = [], [], [], 0.0
    compiled = build_compiled(config, sde, math.prod(split.shape))
    images = hash_of_some(split)
    models = models_of_classes(config, sde, workdir, num_classes)
    for label, (folder, loaded, condition) in enumerate(models):
        dequantizer = load_dequantizer(config, folder, loaded)
        same = likelihood.identity(config, folder, loaded, f"class {label} of {folder}")
        unfinished = UnfinishedFolder(workdir / "classification", {**same, "images": images})
        # The same seed for every class, so that an image has the same noise in all of them.
        measured = measure_bits_per_dim(
            config,
            sde,
            loaded.model,
            dequantizer,
            WithCondition(split, condition),
            config.seed,
            unfinished,
            compiled=compiled,
        )
        nats.append(measured.best.per_image * math.prod(split.shape) * math.log(2))
        leftovers.append(unfinished)
        steps.append(loaded.checkpoint_step)
        seconds += measured.seconds
    # A single step for one network, or a list with one per class.
    step = steps[0] if config.model.num_classes else steps
    of_all = of_all_stores(leftovers, seconds)
    seconds = of_all.pop("seconds")
    recorded = {**loaded.recorded, "checkpoint_step": step, **of_all}
    return Costs(np.stack(nats), recorded, seconds, leftovers)


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Measure every image given every class, write costs and predictions, and report and return the figures."""
    num_classes = config.model.num_classes or config.classifier.num_classes
    knows = workdir if config.model.num_classes else class_folder(config, 0)
    datasets = data.load(config, ("label",), classes=recorded_classes(knows))
    check_same_data(datasets)
    split = getattr(datasets, config.likelihood.split)
    number = min(config.likelihood.num_images or split.num_images, split.num_images)
    labels = labels_of(split)[:number]
    check_labels(labels, num_classes)
    costs = measured_costs(config, sde, workdir, split, num_classes)
    prior = np.bincount(labels_of(datasets.train), minlength=num_classes)[:num_classes]
    answers = classify(costs.nats, prior / prior.sum())
    found = accuracy(answers.predicted, labels)
    counts = confusion(answers.predicted, labels, num_classes)
    figures: dict[str, Any] = {
        "mode": "classify",
        **options_in_use(config),
        **costs.recorded,
        "accuracy": found.value,
        "standard_error": found.standard_error,
        "num_images": len(labels),
        "num_classes": num_classes,
        "by": "ode" if config.likelihood.ode else "bound",
        "sde": config.sde.name,
        "data": config.data.name,
        "seed": config.seed,
        "seconds": costs.seconds,
    }
    all_hosts_meet("classification")
    if jax.process_index() == 0:
        folder = workdir / "classification"
        path = unused(folder, config.likelihood.split, ".npz")
        arrays = {
            "nats": costs.nats,
            "posterior": answers.posterior,
            "predicted": answers.predicted,
            "labels": labels,
            "confusion": counts,
        }
        write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
        figures["arrays"] = str(path)
    for one in costs.leftovers:
        one.remove()
    # The options that are printed; all of them are recorded.
    beside = {"num_images", "split", "eps"}
    shown = {
        name: of for name, of in figures.items() if name in beside or name not in config.likelihood
    }
    report(
        workdir,
        figures,
        f"{listed(shown)}\n\ntrue class (rows), predicted class (columns)\n{counts}",
    )
    return figures


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Refuse labels of a class for which there is no model."""
    if labels.max() >= num_classes:
        raise UserError(
            f"the split has images of class {labels.max()}, but classifier.num_classes={num_classes}; set it to {labels.max() + 1}, with a "
            "model for each class"
        )
