"""Per-image likelihoods: that of the probability-flow ODE and the bound for the SDE, on the same dequantized image.

Values are costs: -ln of a density of x in nats, plus ln q(u|v) of the dequantization. Up to the offset of data/scaling.py they are
upper bounds on -ln P of the integer image. They depend on the index of the image and the seed, not on the batch
except through a step size that its images share (likelihood.step_size=batch).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from score_sde.configs.default import check_options
from score_sde.data.batch import Batch
from score_sde.keys import MeasurementKeys, image_keys
from score_sde.likelihood.bound import Bound, continuous_bound
from score_sde.likelihood.decoder import decoding_term, discretised, mean_decoding_term, noised
from score_sde.likelihood.discrete_bound import VARIANCES, discrete_bound
from score_sde.likelihood.estimators import build_trace_estimator
from score_sde.likelihood.log_density import LogDensity, log_density
from score_sde.measurements.condition_image import ConditionImage, build_condition_image
from score_sde.models.networks import conditions_of
from score_sde.models.score import bind, evaluations_of
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.sde_lib import SDE, Chain
from score_sde.sde_lib.respacing import AtKeptLevels, kept_levels
from score_sde.shapes import Array, Images, Keys, OneKey, PerImage, Stored
from score_sde.spaces import build_space
from score_sde.training.trained_score import EXACT

DECODING_DRAWS = 8  # draws for the last decoding step, in addition to those of the bound

Values = dict[str, Array]
"""Arrays by name: nats, error (Monte Carlo error of nats) and nfe (network evaluations), (b,); `ode` also success, and latent if kept."""

Measure = Callable[[Any, Any, Array, Batch], dict[str, Values]]
"""(score model, dequantizer, key, batch) -> the values of `ode` and `bound`, given the condition of each image."""


def build_per_image(config: Any, sde: SDE, dimension: int) -> Measure:
    """Build the function that measures what config.likelihood asks for, for images of `dimension` numbers.

    Raises:
      ConfigError: an option that does not exist or is out of its range.
    """
    check_options(config)
    sde.check_time("likelihood.eps", config.likelihood.eps)
    options, space = config.likelihood, build_space(config)
    image = condition_image_of(config)
    parts: dict[str, Any] = {}
    if options.ode:
        parts["ode"] = build_ode(config, sde, dimension)
    if options.bound_draws:
        build = build_continuous_bound if config.training.continuous else build_chain_bound
        parts["bound"] = build(config, sde)

    def measure(model: Any, dequantizer: Any, key: OneKey, batch: Batch) -> dict[str, Values]:
        images, condition = batch.images, batch.condition
        if image is not None:
            condition = image.in_use(images, condition, key, batch.index)
        model = bind(model, condition)
        keys = image_keys(MeasurementKeys, key, batch.index)
        if space.num_levels is None:
            x0, log_q = space.encode_middle(images), jnp.zeros(batch.index.shape)
        else:
            u, log_q = dequantizer(images, keys.dequantization)
            x0 = space.encode_with(images, u)
        measured = {name: part(model, images, x0, log_q, keys) for name, part in parts.items()}
        for values in measured.values():
            values["nfe"] = values["nfe"] * evaluations_of(model)  # the parts count calls
        return measured

    return measure


def given(config: Any) -> tuple[str, ...]:
    """Names of the conditions that are read with each measured image and bound to the model."""
    return conditions_of(config) if config.likelihood.conditional else ()


def condition_image_of(config: Any) -> ConditionImage | None:
    """The operator that makes condition images from the measured images, or None if the model takes none."""
    return build_condition_image(config) if config.likelihood.conditional else None


def keeps_latents(config: Any) -> bool:
    """Whether x(T) of every image is kept: to save it, or to check an exact score. It takes as much memory as the images."""
    return config.likelihood.save_latents or config.model.name == EXACT


def decodes(config: Any) -> bool:
    """Whether the likelihood includes the last decoding step to time 0."""
    return config.likelihood.decoder == "gaussian"


def build_log_density(config: Any, sde: SDE, dimension: int) -> Callable[..., LogDensity]:
    """Build (score model, x (b, ...), keys (b,)) -> ln p_eps(x), with the solver and trace estimator of config.likelihood."""
    options = config.likelihood
    solver = AdaptiveSolver(options.solver, options.rtol, options.atol)
    estimator = build_trace_estimator(
        options.probe,
        options.num_probes,
        options.sketch_size,
        options.products_at_once,
        dimension,
    )
    each_image = options.step_size == "image"

    def density_of(model: Any, x: Images, keys: Keys) -> LogDensity:
        return log_density(model, sde, x, estimator, keys, options.eps, solver, each_image)

    return density_of


def build_ode(config: Any, sde: SDE, dimension: int) -> Callable[..., Values]:
    """Build the measurement by the probability-flow ODE (likelihood/log_density.py)."""
    options, density_of = config.likelihood, build_log_density(config, sde, dimension)

    def ode(
        model: Any, images: Stored, x0: Images, log_q: PerImage, keys: MeasurementKeys
    ) -> Values:
        cost, x, more = log_q, x0, 0
        if decodes(config):
            z = jax.vmap(lambda key: jax.random.normal(key, x0.shape[1:]))(keys.decoding)
            cost = cost + decoding_term(model, sde, x0, z, options.eps)
            x, more = noised(sde, x0, z, options.eps), 1
        density = density_of(model, x, keys.probe)
        return {
            "nats": cost - density.nats,
            "error": density.standard_error,
            "nfe": density.nfe + more,
            "success": density.success,
            **({"latent": density.latent} if keeps_latents(config) else {}),
        }

    return ode


def build_continuous_bound(config: Any, sde: SDE) -> Callable[..., Values]:
    """Build the measurement of the bound for the SDE (likelihood/bound.py)."""
    options = config.likelihood

    def bound(
        model: Any, images: Stored, x0: Images, log_q: PerImage, keys: MeasurementKeys
    ) -> Values:
        total = continuous_bound(model, sde, x0, keys.bound, options.eps, options.bound_draws)
        if decodes(config):
            last = mean_decoding_term(model, sde, x0, keys.decoding, options.eps, DECODING_DRAWS)
            total = Bound(
                total.nats + last.nats,
                jnp.hypot(total.standard_error, last.standard_error),
                total.nfe + last.nfe,
            )
        return values_of(total, log_q)

    return bound


def build_chain_bound(config: Any, sde: SDE) -> Callable[..., Values]:
    """Build the measurement of the bound for the chain that the network was trained on.

    If it was trained on levels v/(L-1), the bound is on integer images, with a discretized decoder; else on dequantized images.
    """
    options, data, space = config.likelihood, config.data, build_space(config)
    chain, adapted = chain_of_bound(config, sde)
    variances = VARIANCES[options.chain_variances](chain)
    of_levels = integer_costs(config)

    def bound(
        model: Any, images: Stored, x0: Images, log_q: PerImage, keys: MeasurementKeys
    ) -> Values:
        arguments = (keys.bound, options.bound_draws, variances, sde.prior_std)
        model = adapted(model)
        if not of_levels:
            return values_of(discrete_bound(model, chain, x0, *arguments), log_q)
        decoder = discretised(data.num_levels, data.centered)
        x = space.encode_middle(images)
        return values_of(discrete_bound(model, chain, x, *arguments, decoder), 0.0)

    return bound


def chain_of_bound(config: Any, sde: SDE) -> tuple[Chain, Callable[[Any], Any]]:
    """The chain whose likelihood is bounded, and a function that adapts the network's score model to it.

    Raises:
      ConfigError: an invalid likelihood.chain_levels.
    """
    chain, text = sde.chain(config.model.num_scales), config.likelihood.chain_levels
    if not text:
        return chain, lambda model: model
    kept = kept_levels(chain.num_scales, text)
    return chain.keeping(kept), lambda model: AtKeptLevels(model, kept)


def integer_costs(config: Any) -> bool:
    """Whether the bound is on the probability of the integer images themselves: not a density, so without an offset."""
    data = config.data
    return bool(
        not config.training.continuous and data.num_levels and not data.uniform_dequantization
    )


def values_of(bound: Bound, log_q: PerImage | float) -> Values:
    """Convert a bound to `Values`, adding ln q of the dequantization."""
    return {"nats": bound.nats + log_q, "error": bound.standard_error, "nfe": bound.nfe}
