"""config.interpolation, config.tradeoff and config.merge, and the fields that belong to no section."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from score_sde.errors import ConfigError
from score_sde.options import Range, Section, at_least, count, finite, one_of, option
from score_sde.training.power_average import WIDTH_OR_NONE

FINITE = Range(
    "finite numbers, such as 1,0.5",
    lambda numbers: all(map(math.isfinite, numbers)),
    ((math.nan,), (1.0, math.inf)),
)


@dataclasses.dataclass(frozen=True)
class RunOptions(Section):
    """Fields of the configuration itself: seed, checkpoint, devices."""

    seed: int = option(
        42,
        "every random number of a run derives from it",
        finite("0 to 2^32 - 1, which keys tell apart", lambda seed: 0 <= seed < 2**32, -1, 2**32),
    )
    checkpoint_step: int = option(
        0,
        "step of the checkpoint to sample from, measure, export, or go back to in training; 0: the newest; -1: the best by held-out loss, "
        "or by training.keep_best_by",
        at_least(-1),
    )
    ema_sigma_rel: float = option(
        0.0,
        "relative width of the power-function average to sample from, measure or export, made of those that training.ema kept; 0: the "
        "average of model.ema_rate",
        WIDTH_OR_NONE,
    )
    adapters: str = option(
        "",
        "low-rank updates (LoRA) to add to the weights, separated by commas: folders trained with training.lora.rank, or files that "
        "--mode export wrote of such",
    )
    adapter_scales: tuple[float, ...] = option(
        (),
        "factor of each of the adapters, in their order; 0 turns one off; empty: 1 for each",
        FINITE,
    )
    data_parallel: str = option(
        "pmap",
        "how devices share a batch: pmap | shard_map | fsdp, which divides the training state among them too",
        one_of("pmap", "shard_map", "fsdp"),
    )


def refuse_average(config: Any, mode: str) -> None:
    """Refuse the choice of an average or of adapters in modes that produce weights."""
    if config.ema_sigma_rel:
        raise ConfigError(
            f"ema_sigma_rel={config.ema_sigma_rel} chooses what to sample from, to measure or to export; "
            f"--mode {mode} has no use for it: leave it out"
        )
    refuse_adapters(config, mode)


def refuse_adapters(config: Any, mode: str) -> None:
    """Refuse adapters in modes that train or write weights, which cannot start from them."""
    if config.adapters:
        raise ConfigError(
            f"adapters={config.adapters!r} is for modes that use a network; for --mode {mode} make weights of them first, by --mode "
            "merge, and leave it out"
        )


def numbers(words: str, holds: Callable[[float], bool], *outside: float) -> Range:
    """The range of tuples of one or more numbers that each satisfy `holds`."""
    of_each = finite(words, holds, *outside)
    return Range(
        words,
        lambda values: len(values) > 0 and all(map(of_each.holds, values)),
        ((), *((value,) for value in outside)),
    )


@dataclasses.dataclass(frozen=True)
class TradeoffOptions(Section):
    """--mode tradeoff: sample quality of several samplers at given numbers of network evaluations, with bits/dim.

    Everything else about the samples, including their number, is set by config.sampling; features and real images by config.evaluation.
    """

    samplers: str = option(
        "unipc_3, dpm_solver_pp_2m, ddim, heun, dopri5 adaptive, sde shark",
        "samplers, names of samplers/entries.py separated by commas; after one, ` on GRID` for another grid than this section's, and `: "
        "10 20` for budgets (of an adaptive one tolerances) of its own",
    )
    grid: str = option("log_snr", "time grid of samplers with fixed steps, as sampling.grid.name")
    evaluations: tuple[int, ...] = option(
        (5, 10, 20, 40),
        "budgets: network evaluations per image, the last denoising among them; a sampler takes the most steps that fit",
        numbers("numbers of evaluations of 1 or more, such as 10,20", lambda n: 1 <= n <= 10**6, 0),
    )
    tolerances: tuple[float, ...] = option(
        (0.1, 0.01, 0.001),
        "relative and absolute tolerances of samplers with adaptive steps",
        numbers("positive numbers, such as 0.1,0.01", lambda x: x > 0, 0.0, -1.0),
    )
    bits_per_dim: bool = option(True, "measure bits/dim too, as config.likelihood says")


PAIRS = Range(
    "indices of images in pairs, such as 0,1",
    lambda images: len(images) > 0 and len(images) % 2 == 0 and min(images) >= 0,
    ((), (0, 1, 2), (0, -1)),
)


@dataclasses.dataclass(frozen=True)
class InterpolationOptions(Section):
    """--mode interpolate: encode pairs of images by the ODE (sampling.ode), interpolate the latents, decode."""

    split: str = option("test", "test | train", one_of("test", "train"))
    images: tuple[int, ...] = option(
        tuple(range(8)), "indices in the split, two per row of the picture", PAIRS
    )
    frames: int = option(
        9, "images per row from the first to the second, both included", count(10_000, 2)
    )


SUM_ONE = Range(
    "finite numbers that add up to 1, such as 0.5,0.5, or none for equal ones",
    lambda weights: not weights or (FINITE.holds(weights) and abs(math.fsum(weights) - 1) < 1e-6),
    ((0.5, 0.4), (math.nan,)),
)


@dataclasses.dataclass(frozen=True)
class MergeOptions(Section):
    """--mode merge: a new folder with the mean of the weights of others, plus the updates of config.adapters."""

    folders: str = option("", "folders whose averaged weights are averaged, separated by commas")
    weights: tuple[float, ...] = option(
        (), "weights of that average, one per folder; empty: all equal", SUM_ONE
    )
