"""Evaluators of a score network during training, with its averaged weights. To add one, write a function and register it below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from score_sde.data import Datasets
from score_sde.devices import Devices
from score_sde.training.about import HELD_OUT
from score_sde.training.held_out import HeldOutLoss
from score_sde.training.objective import Objective
from score_sde.training.task import Evaluator

Builder = Callable[[Any, Objective, Datasets, Devices], Evaluator]


def held_out_loss(
    config: Any, objective: Objective, datasets: Datasets, devices: Devices
) -> Evaluator:
    """Build the evaluator of eval_loss, the loss on the test split (held_out.py)."""
    held_out = HeldOutLoss(config, objective, datasets.test, devices)
    return Evaluator(
        config.training.eval_freq,
        lambda averaged, step: {HELD_OUT: held_out(averaged)},
        figures=(HELD_OUT,),
    )


EVALUATORS: dict[str, Builder] = {"held_out_loss": held_out_loss}
