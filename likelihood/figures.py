"""Numbers and arrays recorded by --mode likelihood: settings, means and errors, AUC of anomalies, comparison with an exact density."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from score_sde.data.image_shape import image_shape
from score_sde.likelihood.anomaly import auc
from score_sde.likelihood.bits_per_dim import BitsPerDim, Measured, standard_error
from score_sde.likelihood.per_image import given, integer_costs
from score_sde.sde_lib import SDE
from score_sde.spaces import build_space
from score_sde.training.trained_score import LoadedScore

# Fields of config.likelihood that only the ODE uses: its solver and divergence estimator.
OF_THE_ODE = (
    "solver", "rtol", "atol", "step_size", "probe", "num_probes", "sketch_size", "products_at_once", "save_latents",
)  # fmt: skip


def described(config: Any, loaded: LoadedScore, measured: BitsPerDim) -> dict[str, Any]:
    """The settings that the recorded numbers depend on."""
    return {
        "mode": "likelihood",
        **options_in_use(config),
        # The actual number; in the option of that name 0 means all.
        "num_images": measured.best.bits_per_dim.shape[1],
        "seconds": measured.seconds,
        **loaded.recorded,
        "sde": config.sde.name,
        "data": config.data.name,
        "given": list(given(config)),
        "num_levels": config.data.num_levels,
        "seed": config.seed,
    }


def options_in_use(config: Any) -> dict[str, Any]:
    """The fields of config.likelihood that this measurement uses; for a chain also what the bound is on."""
    options = config.likelihood.to_dict()
    unused = set[str]() if options["ode"] else {*OF_THE_ODE}
    if options["probe"] == "exact":
        unused |= {"num_probes"}
    if options["probe"] != "hutchpp":
        unused |= {"sketch_size"}
    if config.training.continuous or not options["bound_draws"]:
        unused |= {"chain_variances", "chain_levels"}
    elif not options["ode"]:  # a chain ends at time 0, with its own decoder
        unused |= {"eps", "decoder"} | ({"dequantization"} if integer_costs(config) else set())
    used = {name: value for name, value in options.items() if name not in unused}
    if config.training.continuous or not options["bound_draws"]:
        return used
    what = "integer" if integer_costs(config) else "dequantized"
    return {**used, "bound_on": f"the chain, of {what} images"}


def summary(measured: BitsPerDim) -> dict[str, float]:
    """The means, their standard errors over images, and the part of these that is measurement noise."""
    figures: dict[str, float] = {}
    for name, part in (("ode", measured.ode), ("bound", measured.bound)):
        if part is not None:
            figures |= {
                f"{name}_bits_per_dim": part.mean,
                f"{name}_standard_error": part.standard_error,
                f"{name}_own_error": part.own_error,
                f"{name}_nfe": float(part.nfe.mean()),
            }
    if measured.gap is not None:
        figures["gap"] = float(measured.gap.mean())
        figures["gap_standard_error"] = standard_error(measured.gap)
    return figures


def detection(measured: BitsPerDim, odd: BitsPerDim) -> dict[str, float]:
    """The AUC with which bits/dim separates the anomalies (`odd`) from the images of the split."""
    figures: dict[str, float] = {"num_anomalies": odd.best.bits_per_dim.shape[1]}
    for name, normal, anomalous in (
        ("ode", measured.ode, odd.ode),
        ("bound", measured.bound, odd.bound),
    ):
        if normal is not None and anomalous is not None:
            found = auc(normal.per_image, anomalous.per_image)
            figures |= {
                f"auc_{name}": found.value,
                f"auc_{name}_standard_error": found.standard_error,
            }
    return figures


def per_image(config: Any, measured: BitsPerDim) -> dict[str, np.ndarray]:
    """Arrays (repeats, images) with the values of every image, and the latents of the last repeat if requested.

    Bits/dim, its Monte Carlo error, nats of the whole image (-ln of its probability, or density for real-valued data), evaluations.
    """
    dimension = math.prod(image_shape(config.data))
    arrays: dict[str, np.ndarray] = {}
    for name, part in (("ode", measured.ode), ("bound", measured.bound)):
        if part is not None:
            arrays |= {
                f"{name}_bits_per_dim": part.bits_per_dim,
                f"{name}_error": part.error,
                f"{name}_nats": part.bits_per_dim * dimension * math.log(2),
                f"{name}_nfe": part.nfe,
            }
    if config.likelihood.save_latents and measured.latents is not None:
        arrays["latents"] = measured.latents
    return arrays


def distance_to_truth(
    config: Any, sde: SDE, model: Any, split: Any, ode: Measured, latents: Any
) -> dict[str, float]:
    """The exact bits/dim of the ODE's distribution at eps, and the largest absolute difference over images and repeats.

    The flow maps the marginal at T to the marginal at eps; if it starts from the prior instead, its log-density is
    ln p_eps(x) + ln prior(z) - ln p_T(z) at the x whose latent is z. Not for likelihood.decoder=gaussian, whose values are for
    the data at time 0 with noise drawn per image.
    """
    latents = jnp.asarray(latents)
    n = len(latents)
    space = build_space(config)
    x = space.encode_middle(jnp.asarray(split.take(range(n)).images))
    nats = (
        model.log_density(x, jnp.full(n, config.likelihood.eps))
        + sde.prior_log_density(latents)
        - model.log_density(latents, jnp.full(n, sde.T))
    )
    exact = -np.asarray(nats, np.float64) / (x[0].size * np.log(2)) + space.bits_per_dim_offset
    return {
        "exact_bits_per_dim": float(exact.mean()),
        "largest_difference": float(np.abs(ode.bits_per_dim - exact).max()),
    }
