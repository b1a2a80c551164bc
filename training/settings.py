"""Checks of config.training before anything is built."""

from __future__ import annotations

from typing import Any

from score_sde.configs.default import check_options
from score_sde.devices import check_batch
from score_sde.errors import ConfigError
from score_sde.options import choose
from score_sde.training.accumulation import check_parts
from score_sde.training.draws import DRAWS

# For each value of training.keep_best_by: the field that sets how often it is measured, and its name in words.
JUDGES = {
    "eval_loss": ("eval_freq", "held-out loss"),
    "frechet": ("quality_freq", "Frechet distance"),
    "frechet_limit": ("quality_freq", "Frechet distance"),
}


def check_config(config: Any) -> None:
    """Raise UserError for settings that would fail later, or train something other than intended."""
    check_options(config)
    training = config.training
    check_batch(config, "training.batch_size")
    check_parts(training.batch_size, training.accumulation, "training")
    if training.keep_best:
        check_judged(training)
    check_kept(training)
    choose("training.draws", training.draws, DRAWS)
    check_low_rank(training)


def check_judged(training: Any) -> None:
    """Check that the figure which ranks checkpoints is measured for every checkpoint."""
    figure = training.keep_best_by
    frequency, what = JUDGES[figure]
    every, judged = training.checkpoint_freq, training[frequency]
    if not judged or every % judged:
        raise ConfigError(
            f"training.keep_best={training.keep_best} with {frequency}={judged} and checkpoint_freq={every}: each checkpoint needs its "
            f"{what} (training.keep_best_by={figure!r}); set training.{frequency} to checkpoint_freq or to a divisor of it"
        )


def check_kept(training: Any) -> None:
    """Check that a checkpoint is saved at every multiple of training.keep_every."""
    keep, every, calls = training.keep_every, training.checkpoint_freq, training.steps_per_call
    # If all checkpoints are kept, or only the last one is saved, no multiple can be missed.
    if not (keep and every and training.keep_checkpoints):
        return
    if keep % every or every % calls:
        raise ConfigError(
            f"training.keep_every={keep} with checkpoint_freq={every} and steps_per_call={calls}: checkpoints would not fall on its multiples; "
            "set keep_every to a multiple of checkpoint_freq, and that to a multiple of steps_per_call, or keep_every=0"
        )


def check_low_rank(training: Any) -> None:
    """Check that low-rank updates have weights to start from, and are not combined with training.trainable."""
    rank = training.lora.rank
    if rank and not training.init_from:
        raise ConfigError(
            f"training.lora.rank={rank} without weights to update: set training.init_from to a folder or a published checkpoint file, "
            "or the rank to 0 to train from scratch"
        )
    if rank and training.trainable:
        raise ConfigError(
            f"training.trainable={training.trainable!r} with training.lora.rank={rank}: the weights are frozen, and "
            "training.lora.targets selects what is trained; unset one of the two"
        )
