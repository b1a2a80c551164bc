"""Everything about a config that can be refused before anything is compiled, read or written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax

from score_sde.data.scaling import check_num_levels
from score_sde.errors import UserError
from score_sde.foreign_weights.names import PUBLISHED_NETWORKS
from score_sde.generation.batches import check_batch_size
from score_sde.generation.denoising_errors import stand_in
from score_sde.generation.start_images import SPLITS, check_guides
from score_sde.guidance.classifier_free import check_guidance
from score_sde.likelihood.dequantization.trained import check_dequantization
from score_sde.likelihood.discrete_bound import VARIANCES
from score_sde.likelihood.per_image import build_per_image
from score_sde.models.networks import build_network, conditions_of
from score_sde.models.parameterization import build_parameterization
from score_sde.modes.classify import check_classifier
from score_sde.samplers.configured import configure, needs_errors
from score_sde.sde_lib import SDE, build_sde
from score_sde.training.loop import check_config
from score_sde.training.losses import build_loss
from score_sde.training.objective import check_label_dropout
from score_sde.training.state import init_params
from score_sde.training.trained_score import EXACT

POSITIVE = {
    "train": ("optim.lr", "optim.eps"),
    "sample": ("sampling.num_images", "sampling.pc.num_steps", "sampling.n_steps_each", "sampling.snr",
               "sampling.sde.num_steps", "sampling.exponential.num_steps", "sampling.edm.num_steps", "sampling.ode.num_steps"),
    "interpolate": (),
    "dequantize": ("dequantizer.width", "dequantizer.n_iters", "dequantizer.lr", "dequantizer.repeats"),
    "likelihood": ("likelihood.repeats",),
    "classify": ("likelihood.repeats",),
    "import": (),
    "export": (),
}  # fmt: skip
NOT_NEGATIVE = {
    "train": ("training.snapshot_size", "optim.warmup", "optim.weight_decay"),
    "sample": ("sampling.path_images",),
    "interpolate": (),
    "dequantize": ("dequantizer.checkpoint_freq", "dequantizer.num_images"),
    "likelihood": ("likelihood.num_images",),
    "classify": ("likelihood.num_images",),
    "import": (),
    "export": (),
}  # fmt: skip


def check(config: Any, mode: str) -> None:
    """Refuse what cannot work in this mode.

    Raises:
      UserError: saying what was given, what was expected and what to do.
    """
    check_numbers(config, mode)
    try:
        sde = build_sde(config)
        if config.model.name == EXACT:
            check_exact(config)
        else:
            build_parameterization(config, sde)
            # Only the shapes: widths that no normalisation divides show up here, in a second or two.
            jax.eval_shape(lambda: init_params(config, build_network(config)))
        CHECKS[mode](config, sde)
    except ValueError as error:  # constructors say what is wrong; here, the config is
        raise UserError(str(error)) from error


def check_exact(config: Any) -> None:
    """The exact score is that of one law: beside other data, distances to it would mean nothing."""
    if config.data.name != EXACT:
        raise UserError(
            f"model.name={EXACT} is the exact score of data.name={EXACT}, but data.name={config.data.name!r}; "
            "use that data, or a network"
        )


def check_numbers(config: Any, mode: str) -> None:
    if config.checkpoint_step and mode in ("train", "import"):
        raise UserError(
            f"checkpoint_step={config.checkpoint_step} chooses what to sample from, to measure or to export; "
            f"--mode {mode} has no use for it: leave it out"
        )
    for field in POSITIVE[mode]:
        if not value_of(config, field) > 0:
            raise UserError(f"{field}={value_of(config, field)}: expected a positive number")
    for field in NOT_NEGATIVE[mode]:
        if not value_of(config, field) >= 0:
            raise UserError(f"{field}={value_of(config, field)}: expected 0 or more")


def check_training(config: Any, sde: SDE) -> None:
    check_config(config)
    build_loss(config, sde)
    check_label_dropout(config)
    if config.training.snapshot_freq:
        check_sampling(config, sde)
        if config.sampling.t_start:
            raise UserError(
                "the pictures drawn in training begin at the prior: leave out sampling.t_start and sampling.guides, or "
                "set training.snapshot_freq=0"
            )
        if needs_errors(config.sampling):
            raise UserError(
                "the pictures drawn in training cannot wait for denoising errors, which sampling.grid.name='dp' and "
                "sampling.pc.predictor='ancestral_sampling_optimal' need: choose others, or set training.snapshot_freq=0"
            )


def check_sampling(config: Any, sde: SDE) -> None:
    sampling = config.sampling
    check_time("sampling.eps", sampling.eps, sde)
    check_batch_size(sampling.batch_size, "sampling.batch_size")
    check_guides(sampling)
    check_threshold(config)
    check_guidance(sampling.guidance.weight, conditions_of(config))
    for field in ("num_levels", "num_images"):
        if sampling.errors[field] < 2:
            raise UserError(
                f"sampling.errors.{field}={sampling.errors[field]}: expected 2 or more, for both ends of the levels "
                "and a spread between images"
            )
    if configure(sampling, sde, stand_in(config, sde)).any_time:
        refuse_discrete(config, f"sampling.sampler={sampling.sampler!r}")


def check_threshold(config: Any) -> None:
    sampling = config.sampling
    check_choice("sampling.threshold", sampling.threshold, ("none", "static", "dynamic"))
    if sampling.threshold != "none" and not config.data.num_levels:
        raise UserError(
            f"sampling.threshold={sampling.threshold!r} with data.num_levels=0: such data have no range to keep to; "
            "set threshold='none'"
        )
    if not 0 < sampling.threshold_quantile <= 1:
        raise UserError(
            f"sampling.threshold_quantile={sampling.threshold_quantile}: expected one in (0, 1], such as 0.995"
        )


def check_likelihood(config: Any, sde: SDE) -> None:
    options, data = config.likelihood, config.data
    check_choice("likelihood.split", options.split, SPLITS)
    check_choice("likelihood.step_size", options.step_size, ("batch", "image"))
    check_choice("likelihood.decoder", options.decoder, ("none", "gaussian"))
    check_choice("likelihood.chain_variances", options.chain_variances, VARIANCES)
    check_dequantization(options.dequantization)
    check_time("likelihood.eps", options.eps, sde)
    check_batch_size(options.batch_size, "likelihood.batch_size")
    if options.anomalies and not Path(options.anomalies).is_file():
        raise UserError(
            f"likelihood.anomalies={options.anomalies!r}: no such file; give an .npz file with `images` (levels, as "
            "--mode sample writes them)"
        )
    if not options.ode and not options.bound_draws:
        raise UserError(
            "likelihood.ode=False and likelihood.bound_draws=0 leave nothing to measure; set one of them"
        )
    if options.bound_draws < 0 or options.bound_draws % 2:
        raise UserError(
            f"likelihood.bound_draws={options.bound_draws}: expected an even number, such as 64, or 0 for no bound"
        )
    if options.dequantization != "uniform" and not data.num_levels:
        raise UserError(
            f"likelihood.dequantization={options.dequantization!r} with data.num_levels=0: real-valued data have a density "
            "as they are; set dequantization='uniform'"
        )
    if not config.training.continuous and options.bound_draws == 2:
        raise UserError(
            "likelihood.bound_draws=2 with training.continuous=False: a chain's bound needs 4 or more, two of them for the "
            "decoder"
        )
    if not config.training.continuous and options.decoder != "none":
        raise UserError(
            f"likelihood.decoder={options.decoder!r} with training.continuous=False: a chain's bound ends in a decoder of its "
            "own; set decoder='none'"
        )
    if options.ode:
        refuse_discrete(
            config, "the likelihood of the ODE (likelihood.ode=False leaves the chain's bound)"
        )
    build_per_image(config, sde, data.image_size**2 * data.num_channels)
    if config.model.name == EXACT and not config.training.continuous and options.bound_draws:
        raise UserError(
            "training.continuous=False with model.name=mixture: the exact score has no chain; leave training.continuous alone"
        )


def check_classification(config: Any, sde: SDE) -> None:
    check_likelihood(config, sde)
    if config.data.label >= 0:
        raise UserError(
            f"data.label={config.data.label} with --mode classify: all classes are to be told apart; leave it out"
        )
    if config.model.name == EXACT:
        raise UserError(
            "--mode classify takes trained networks, one for each class, not model.name=mixture"
        )
    check_classifier(config)


def check_dequantizer(config: Any, sde: SDE) -> None:
    options = config.dequantizer
    if not config.data.num_levels:
        raise UserError(
            "--mode dequantize learns the noise between integer levels, but data.num_levels=0: such data are real numbers "
            "and have a density as they are; use --mode likelihood"
        )
    check_num_levels(config.data.num_levels)
    if options.depth < 2:
        raise UserError(
            f"dequantizer.depth={options.depth}: expected 2 or more, since each coupling moves half of the pixels"
        )
    check_choice("likelihood.split", config.likelihood.split, SPLITS)
    check_time("likelihood.eps", config.likelihood.eps, sde)
    check_batch_size(options.batch_size, "dequantizer.batch_size")
    refuse_discrete(config, "the bound on the likelihood")


def check_published(config: Any, sde: SDE) -> None:
    if config.model.name not in PUBLISHED_NETWORKS:
        raise UserError(
            f"model.name={config.model.name} has no published form to import or export; "
            f"take one of {', '.join(PUBLISHED_NETWORKS)}"
        )


def check_interpolation(config: Any, sde: SDE) -> None:
    options = config.interpolation
    check_choice("interpolation.split", options.split, SPLITS)
    if len(options.images) < 2 or len(options.images) % 2 or min(options.images) < 0:
        raise UserError(
            f"interpolation.images={tuple(options.images)}: expected indices of images in pairs, such as 0,1"
        )
    if options.frames < 2:
        raise UserError(f"interpolation.frames={options.frames}: expected at least 2, the two ends")
    if config.sampling.sampler != "ode":
        raise UserError(
            f"sampling.sampler={config.sampling.sampler!r} with --mode interpolate: only the probability-flow ODE "
            "gives an image a latent; leave --sampler out, or set --sampler ode"
        )
    check_time("sampling.eps", config.sampling.eps, sde)
    configure(config.sampling, sde, stand_in(config, sde))
    refuse_discrete(config, "the probability-flow ODE")


CHECKS = {
    "train": check_training,
    "sample": check_sampling,
    "interpolate": check_interpolation,
    "dequantize": check_dequantizer,
    "likelihood": check_likelihood,
    "classify": check_classification,
    "import": check_published,
    "export": check_published,
}


def refuse_discrete(config: Any, what: str) -> None:
    """A discrete VE network knows its noise levels by rounded labels: between them it cannot be asked."""
    if not config.training.continuous and build_sde(config).predicts == "score":
        raise UserError(
            f"{what} needs the score at every time, but a network trained with training.continuous=False "
            "on the SMLD chain knows its own levels only; use --sampler pc, or train with continuous=True"
        )


def check_choice(field: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise UserError(f"{field}={value!r} is unknown; choose one of {', '.join(choices)}")


def check_time(field: str, eps: float, sde: SDE) -> None:
    if not (math.isfinite(eps) and 0 < eps < sde.T):
        raise UserError(f"{field}={eps}: expected a time between 0 and T={sde.T}, such as 1e-5")


def value_of(config: Any, field: str) -> Any:
    for name in field.split("."):
        config = config[name]
    return config
