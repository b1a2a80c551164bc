"""--mode dequantize: train the flow that draws the noise for likelihood.dequantization=variational."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from score_sde import data
from score_sde.configs.default import check_options
from score_sde.data.scaling import check_num_levels
from score_sde.devices import check_batch
from score_sde.errors import ConfigError
from score_sde.keys import Stream, stream_key
from score_sde.likelihood.bits_per_dim import standard_error
from score_sde.likelihood.dequantization.comparison import compare
from score_sde.likelihood.dequantization.trained import dequantizer_folder
from score_sde.likelihood.dequantization.training import train_dequantizer
from score_sde.likelihood.per_image import given
from score_sde.models.networks import check_no_class
from score_sde.models.parameterization import refuse_discrete
from score_sde.results import report
from score_sde.sde_lib import SDE
from score_sde.training.recorded_config import recorded_classes
from score_sde.training.same_data import check_same_data
from score_sde.training.trained_score import check_score_model, load_score_model


def check(config: Any, sde: SDE) -> None:
    """Refuse a configuration for which no dequantization flow can be trained.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    check_options(config)
    check_score_model(config, sde)
    if not config.data.num_levels:
        raise ConfigError(
            "--mode dequantize learns the noise between integer levels, but data.num_levels=0: such data are real numbers and need no "
            "dequantization; use --mode likelihood"
        )
    check_num_levels(config.data.num_levels)
    sde.check_time("likelihood.eps", config.likelihood.eps)
    if not config.likelihood.conditional:
        check_no_class(config, "likelihood.conditional=False")
    check_batch(config, "dequantizer.batch_size")
    refuse_discrete(config, sde, "the bound on the likelihood")


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Train or resume under the checkpoint's score model, compare with uniform noise, report and return the figures."""
    options = config.dequantizer
    loaded = load_score_model(config, sde, workdir)
    datasets = data.load(config, given(config), classes=recorded_classes(workdir))
    check_same_data(datasets)
    folder = dequantizer_folder(workdir, loaded)
    began = time.perf_counter()
    trained = train_dequantizer(config, loaded.model, sde, datasets.train, folder)
    figures: dict[str, Any] = {
        "mode": "dequantize",
        "step": trained.step,
        **loaded.recorded,
        "sde": config.sde.name,
        "data": config.data.name,
        "num_levels": config.data.num_levels,
        "eps": config.likelihood.eps,
        "width": options.width,
        "depth": options.depth,
        "seed": config.seed,
        "seconds": time.perf_counter() - began,
        "stopped_by": trained.stopped_by,
    }
    if trained.stopped_by is None:
        split = getattr(datasets, config.likelihood.split)
        key = stream_key(config.seed, Stream.DEQUANTIZER_COMPARISON)
        bounds = compare(config, trained.dequantizer, loaded.model, sde, split, key)
        figures |= {
            "split": config.likelihood.split,
            "num_images": len(bounds.gain),
            "repeats": options.repeats,
            "uniform_bound": float(bounds.uniform.mean()),
            "variational_bound": float(bounds.learnt.mean()),
            "gain": float(bounds.gain.mean()),
            "gain_standard_error": standard_error(bounds.gain),
        }
    report(workdir, figures)
    return figures
