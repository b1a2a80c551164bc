"""--mode classify: label the images of a split by the likelihoods under one model for each class."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_sde import data
from score_sde.errors import ConfigError, UserError
from score_sde.likelihood.bits_per_dim import measure_bits_per_dim
from score_sde.likelihood.classifier import accuracy, classify, confusion
from score_sde.likelihood.dequantization.trained import load_dequantizer
from score_sde.modes import likelihood
from score_sde.results import listed, report
from score_sde.sde_lib import SDE
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.training.recorded_config import FILE
from score_sde.training.trained_score import EXACT, load_score_model
from score_sde.unfinished import unused


def check(config: Any, sde: SDE) -> None:
    """Refuse what cannot be classified.

    Raises:
      UserError: saying what was given, what was expected and what to do.
    """
    likelihood.check(config, sde)
    if config.data.label >= 0:
        raise ConfigError(
            f"data.label={config.data.label} with --mode classify: all classes are to be told apart; leave it out"
        )
    if config.model.name == EXACT:
        raise ConfigError(
            "--mode classify takes trained networks, one for each class, not model.name=mixture"
        )
    check_classifier(config)


def class_folder(config: Any, label: int) -> Path:
    """Where the model of a class was trained."""
    return Path(config.classifier.workdirs.replace("{label}", str(label)))


def check_classifier(config: Any) -> None:
    """Refuse folders without models, or whose models were trained on another class.

    Raises:
      UserError: saying which, and how to train one.
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
        path = folder / FILE
        recorded = json.loads(path.read_text())["data"].get("label", -1) if path.exists() else label
        if recorded != label:
            raise UserError(
                f"the model in {folder} was trained on "
                f"{'all classes' if recorded < 0 else f'class {recorded}'}, not on class {label}; "
                f"train it with --config.data.label={label} in a folder of its own"
            )


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Measure every image under every model, write the costs and the answers, report the figures and return them."""
    options = config.classifier
    datasets = data.load(config, ("label",))
    split = getattr(datasets, config.likelihood.split)
    costs, seconds = [], 0.0
    for label in range(options.num_classes):
        folder = class_folder(config, label)
        loaded = load_score_model(config, sde, folder)
        dequantizer = load_dequantizer(config, folder, loaded.checkpoint_step)
        # The same seed, hence the same noise of an image for every class.
        measured = measure_bits_per_dim(config, sde, loaded.model, dequantizer, split, config.seed)
        costs.append(measured.best.per_image * math.prod(split.shape) * math.log(2))
        seconds += measured.seconds
    nats = np.stack(costs)
    labels = split.condition["label"][: nats.shape[1]]
    check_labels(labels, options.num_classes)
    prior = np.bincount(datasets.train.condition["label"], minlength=options.num_classes)[
        : options.num_classes
    ]
    answers = classify(nats, prior / prior.sum())
    found = accuracy(answers.predicted, labels)
    counts = confusion(answers.predicted, labels, options.num_classes)
    figures: dict[str, Any] = {
        "mode": "classify",
        "accuracy": found.value,
        "standard_error": found.standard_error,
        "num_images": len(labels),
        "num_classes": options.num_classes,
        "by": "ode" if config.likelihood.ode else "bound",
        "sde": config.sde.name,
        "data": config.data.name,
        "split": config.likelihood.split,
        "eps": config.likelihood.eps,
        "seed": config.seed,
        "seconds": seconds,
    }
    if jax.process_index() == 0:
        folder = workdir / "classification"
        folder.mkdir(parents=True, exist_ok=True)
        path = unused(folder, config.likelihood.split, ".npz")
        np.savez(
            path,
            nats=nats,
            posterior=answers.posterior,
            predicted=answers.predicted,
            labels=labels,
            confusion=counts,
        )
        figures["arrays"] = str(path)
    report(
        workdir, figures, f"{listed(figures)}\n\nclass (rows) taken for class (columns)\n{counts}"
    )
    return figures


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    if labels.max() >= num_classes:
        raise UserError(
            f"the split has images of class {labels.max()}, but classifier.num_classes={num_classes}; set it to "
            f"{labels.max() + 1}, with a model for each"
        )
