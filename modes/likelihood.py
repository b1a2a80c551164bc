"""--mode likelihood: bits/dim of a split, image by image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import data
from data.scaling import bits_per_dim_offset, scale, slope
from evaluation.bits_per_dim import BitsPerDim, measure_bits_per_dim
from modes.results import report
from modes.sample import unused
from modes.score_model import EXACT, load_score_model
from sde_lib import SDE, build_sde


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
        figures |= distance_to_truth(config, sde, loaded.model, split, measured)
    if jax.process_index() == 0:
        folder = workdir / "likelihood"
        folder.mkdir(parents=True, exist_ok=True)
        path = unused(folder, f"{options.split}-step{loaded.checkpoint_step or 0}", ".npz")
        np.savez(path, bits_per_dim=measured.bits_per_dim, nats=measured.nats, nfe=measured.nfe)
        figures["arrays"] = str(path)
    report(workdir, figures)
    return figures


def distance_to_truth(
    config: Any, sde: SDE, model: Any, split: Any, measured: BitsPerDim
) -> dict[str, float]:
    """The exact bits/dim of the ODE's own law, and the largest difference over the images.

    The flow carries the marginal at T to the marginal at eps; the law of what starts from the prior instead has
    ln p_eps(x) + ln prior(z) - ln p_T(z) at the x whose latent is z.
    """
    latents = jnp.asarray(measured.latents)
    n = len(latents)
    x = scale(jnp.asarray(split.take(range(n))), config.data.centered)
    nats = (
        model.log_density(x, jnp.full(n, config.likelihood.eps))
        + sde.prior_log_density(latents)
        - model.log_density(latents, jnp.full(n, sde.T))
    )
    offset = bits_per_dim_offset(None, slope(config.data.centered))
    exact = -np.asarray(nats, np.float64) / (x[0].size * np.log(2)) + offset
    return {
        "exact_bits_per_dim": float(exact.mean()),
        "largest_difference": float(np.abs(measured.bits_per_dim - exact).max()),
    }
