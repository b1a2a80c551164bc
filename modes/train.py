"""--mode train: train a network of config.model or a classifier of noisy images, or resume the run in the folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from score_sde.errors import ConfigError
from score_sde.modes.drawn_in_training import Drawn, check_drawn, pictures_of, quality_of
from score_sde.modes.options import refuse_average
from score_sde.modes.prior import say_signal_left
from score_sde.options import choose
from score_sde.results import report
from score_sde.sde_lib import SDE
from score_sde.training.augmentation import check_augmentation
from score_sde.training.classifier_task import check_classifier_training
from score_sde.training.few_step_tasks import check_consistency, check_mean_flow
from score_sde.training.init_from import check_source
from score_sde.training.kinds import KINDS
from score_sde.training.lock import check_free
from score_sde.training.losses import build_loss
from score_sde.training.objective import check_label_dropout
from score_sde.training.score_task import check_begins, train
from score_sde.training.settings import check_config
from score_sde.training.task import Evaluator
from score_sde.training.times import build_times
from score_sde.training.trained_score import EXACT, check_score_model
from score_sde.training.weights_and_biases import check_wandb, weights_and_biases


def check(config: Any, sde: SDE) -> tuple[Drawn]:
    """Refuse what cannot be trained or sampled during training; return the samplers used during training.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    if config.model.name == EXACT:
        raise ConfigError(
            "model.name=mixture is an exact score: there is nothing to train; use --mode sample or --mode likelihood"
        )
    refuse_average(config, "train")
    drawn = choose("training.task", config.training.task, CHECKS)(config, sde)
    check_wandb(config.training.wandb)
    return (drawn,)


def check_score(config: Any, sde: SDE) -> Drawn:
    """Check the training of a score network."""
    return check_network(config, sde, build_loss)


def check_network(config: Any, sde: SDE, check_loss: Callable[[Any, SDE], Any]) -> Drawn:
    """Check the training of any network that samples are drawn from."""
    check_score_model(config, sde, to_sample=True)
    check_config(config)
    check_label_dropout(config)
    check_augmentation(config)
    check_loss(config, sde)
    return check_drawn(config, sde)


def check_classifier(config: Any, sde: SDE) -> Drawn:
    """Check the training of a classifier, which draws no samples."""
    check_config(config)
    check_classifier_training(config)
    build_times(config, sde)
    return Drawn()


CHECKS = {
    "score": check_score,
    "classifier": check_classifier,
    "consistency": lambda config, sde: check_network(config, sde, check_consistency),
    "mean_flow": lambda config, sde: check_network(config, sde, check_mean_flow),
}
"""The check for each training.task."""


def run(config: Any, sde: SDE, workdir: Path, samplers: Drawn | None = None) -> dict[str, Any]:
    """Train or resume the task of config.training.task; return the last figures."""
    samplers = samplers or Drawn()
    evaluators: dict[str, Evaluator] = {}
    kind = KINDS[config.training.task]
    if kind.draws:
        say_signal_left(sde)
    if config.training.quality_freq:
        # Refused now, since the features of the real images can take long.
        if not check_begins(config, workdir):
            check_source(config)
        check_free(workdir)
        evaluators["quality"] = quality_of(config, sde, workdir, samplers.quality)
    # Real-valued data have no pixel levels to show, and a classifier draws nothing.
    if config.training.snapshot_freq and config.data.num_levels and kind.draws:
        evaluators["pictures"] = pictures_of(config, sde, workdir, samplers.pictures)
    watch = weights_and_biases(config)
    figures = {"mode": "train", **train(config, workdir, evaluators, sde, watch, kind)}
    report(workdir, figures)
    return figures
