"""--mode dequantize: train the noise within a level that likelihood.dequantization=variational draws."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from score_sde import data
from score_sde.likelihood.dequantization.comparison import compare, standard_error
from score_sde.likelihood.dequantization.trained import dequantizer_folder
from score_sde.likelihood.dequantization.training import stream_key, train_dequantizer
from score_sde.results import report
from score_sde.sde_lib import build_sde
from score_sde.training.trained_score import load_score_model


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Train under the checkpoint's score model, or go on; compare with uniform noise; report the figures and return them."""
    options = config.dequantizer
    sde = build_sde(config)
    loaded = load_score_model(config, sde, workdir)
    datasets = data.load(config)
    folder = dequantizer_folder(workdir, loaded.checkpoint_step)
    began = time.perf_counter()
    trained = train_dequantizer(config, loaded.model, sde, datasets.train, folder)
    figures: dict[str, Any] = {
        "mode": "dequantize",
        "step": trained.step,
        "checkpoint_step": loaded.checkpoint_step,
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
        key = stream_key(config.seed, 2)
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
