"""What is refused of config.training before anything is built."""

from __future__ import annotations

from typing import Any

from score_sde.configs.default import check_options
from score_sde.devices import check_batch
from score_sde.errors import ConfigError
from score_sde.options import choose
from score_sde.training.accumulation import check_parts
from score_sde.training.draws import DRAWS


def check_config(config: Any) -> None:
    """Refuse settings that would fail later, or train something else than was meant."""
    check_options(config)
    training = config.training
    check_batch(config, "training.batch_size")
    check_parts(training.batch_size, training.accumulation, "training")
    if training.keep_best:
        check_judged(training)
    choose("training.draws", training.draws, DRAWS)


def check_judged(training: Any) -> None:
    """Refuse to keep the best of checkpoints of which nobody measures a held-out loss."""
    every, judged = training.checkpoint_freq, training.eval_freq
    if not judged or every % judged:
        raise ConfigError(
            f"training.keep_best={training.keep_best} with eval_freq={judged} and checkpoint_freq={every}: each checkpoint needs its "
            "held-out loss; set training.eval_freq to checkpoint_freq or to a divisor of it"
        )
