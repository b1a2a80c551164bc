"""--mode likelihood: bits/dim of a split, image by image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import data
from data.scaling import scale, slope
from evaluation.bits_per_dim import measure_bits_per_dim
from modes.results import report
from modes.sample import unused
from modes.score_model import EXACT, load_score_model
from sde_lib import build_sde


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Measure, write every image's value to <workdir>/likelihood/*.npz, report the figures and return them."""
    options = config.likelihood
    sde = build_sde(config)
    loaded = load_score_model(config, sde, workdir)
    split = getattr(data.load(config), options.split)
    measured = measure_bits_per_dim(config, sde, loaded.model, split, config.seed)
    figures: dict[str, Any] = {
        "mode": "likelihood",
        "bits_per_dim": measured.mean,
        "standard_error": measured.standard_error,
        "num_images": measured.bits_per_dim.shape[1],
        "repeats": options.repeats,
        "nfe": float(measured.nfe.mean()),
        "seconds": measured.seconds,
        "checkpoint_step": loaded.checkpoint_step,
        "sde": config.sde.name,
        "data": config.data.name,
        "split": options.split,
        "num_levels": config.data.num_levels,
        "eps": options.eps,
        "solver": options.solver,
        "rtol": options.rtol,
        "atol": options.atol,
        "probe": options.probe,
        "seed": config.seed,
    }
    if config.model.name == EXACT:
        figures |= distance_to_truth(config, loaded.model, split, measured.bits_per_dim)
    if jax.process_index() == 0:
        folder = workdir / "likelihood"
        folder.mkdir(parents=True, exist_ok=True)
        path = unused(folder, f"{options.split}-step{loaded.checkpoint_step or 0}", ".npz")
        np.savez(path, bits_per_dim=measured.bits_per_dim, nats=measured.nats, nfe=measured.nfe)
        figures["arrays"] = str(path)
    report(workdir, figures)
    return figures


def distance_to_truth(
    config: Any, model: Any, split: Any, bits_per_dim: np.ndarray
) -> dict[str, float]:
    """Bits/dim under the exact marginal at eps, and the largest difference over the images."""
    images = jnp.asarray(split.take(range(bits_per_dim.shape[1])))
    x = scale(images, config.data.centered)
    nats = model.log_density(x, jnp.full(x.shape[0], config.likelihood.eps))
    exact = -np.asarray(nats) / (x[0].size * np.log(2)) - np.log2(slope(config.data.centered))
    return {
        "exact_bits_per_dim": float(exact.mean()),
        "largest_difference": float(np.abs(bits_per_dim - exact).max()),
    }
