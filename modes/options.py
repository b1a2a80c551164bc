"""config.interpolation, and the fields that belong to no section."""

from __future__ import annotations

import dataclasses
from typing import Any

from score_sde.errors import ConfigError
from score_sde.options import Range, Section, at_least, count, finite, one_of, option
from score_sde.training.power_average import WIDTH_OR_NONE


@dataclasses.dataclass(frozen=True)
class RunOptions(Section):
    seed: int = option(
        42,
        "everything random derives from it",
        finite("0 to 2^32 - 1, which keys tell apart", lambda seed: 0 <= seed < 2**32, -1, 2**32),
    )
    checkpoint_step: int = option(
        0,
        "the step of the checkpoint to sample from, to measure, to export or to go back to in training; 0: the newest; -1: the best "
        "by held-out loss, or training.keep_best_by",
        at_least(-1),
    )
    ema_sigma_rel: float = option(
        0.0,
        "sample from, measure or export the power-function average of this width, made of those that training.ema kept; 0: "
        "the average of model.ema_rate",
        WIDTH_OR_NONE,
    )
    data_parallel: str = option(
        "pmap",
        "pmap | shard_map | fsdp: how devices share a batch; fsdp: they share the state of training too",
        one_of("pmap", "shard_map", "fsdp"),
    )


def refuse_average(config: Any, mode: str) -> None:
    """An average to use cannot be chosen where weights are made."""
    if config.ema_sigma_rel:
        raise ConfigError(
            f"ema_sigma_rel={config.ema_sigma_rel} chooses what to sample from, to measure or to export; "
            f"--mode {mode} has no use for it: leave it out"
        )


PAIRS = Range(
    "indices of images in pairs, such as 0,1",
    lambda images: len(images) > 0 and len(images) % 2 == 0 and min(images) >= 0,
    ((), (0, 1, 2), (0, -1)),
)


@dataclasses.dataclass(frozen=True)
class InterpolationOptions(Section):
    """--mode interpolate: encode images by the ODE (sampling.ode), go from one latent to the other, decode."""

    split: str = option("test", "test | train", one_of("test", "train"))
    images: tuple[int, ...] = option(
        tuple(range(8)), "indices in the split, two a row of the picture", PAIRS
    )
    frames: int = option(
        9, "images a row from the first to the second, both included", count(10_000, 2)
    )
