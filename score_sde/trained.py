"""Use of a trained folder from a script: samples and log-densities without building a configuration.

trained = Trained.load("runs/demo")
images = trained.sample(16, sampler="unipc_3", labels=(3,), guidance=1.0)
nats = trained.log_density(trained.encode(images), labels=[3] * 16)
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from score_sde.arguments import (
    bound_condition,
    class_labels,
    model_arrays,
    stored_images,
    whole_number,
)
from score_sde.configs.default import check_options
from score_sde.errors import ConfigError
from score_sde.files import user_path
from score_sde.generation.generate import build_generator
from score_sde.generation.guides import load_guides
from score_sde.generation.latents import check_whole, decode, encode
from score_sde.generation.sampled_score import check_sampled_score, sampled_score
from score_sde.keys import seed_key
from score_sde.likelihood.log_density import LogDensity
from score_sde.likelihood.per_image import build_log_density
from score_sde.models.parameterization import refuse_discrete
from score_sde.models.score import ScoreModel, bind
from score_sde.nearest import did_you_mean_field
from score_sde.options import value_of
from score_sde.samplers.configured import configure, needs_errors
from score_sde.samplers.record import Samples
from score_sde.sde_lib import SDE, build_sde
from score_sde.spaces import Space, build_space
from score_sde.training.known_classes import known_classes
from score_sde.training.recorded_config import as_json, fields, read_config
from score_sde.training.trained_score import check_score_model, load_score_model

Labels = int | Sequence[int] | np.ndarray | jax.Array


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network with its averaged weights and configuration.

    Args:
      config: the configuration of the folder, with the `options` given to `load`.
      sde: the forward process.
      space: conversion between stored images and the model's arrays.
      model: the score model, called as model(x, t); `model.given({"label": labels})` binds conditions.
      step: the training step of the weights.
      workdir: the trained folder.
    """

    config: Any
    sde: SDE
    space: Space
    model: ScoreModel
    step: int | None
    workdir: Path | None = None

    @classmethod
    def load(
        cls,
        workdir: str | Path,
        checkpoint_step: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Load the newest checkpoint of a folder (--workdir), or that of a step.

        Args:
          options: fields of the configuration to set, by dotted name, such as {"sampling.exponential.num_steps": 10}.

        Raises:
          UserError: the folder has no configuration or checkpoint, its network is a classifier, or an option is invalid.
        """
        workdir = user_path(workdir)
        config = read_config(workdir).lock()
        config.checkpoint_step = checkpoint_step
        set_fields(config, options or {})
        check_options(config)
        sde = build_sde(config)
        check_score_model(config, sde, to_sample=True)
        loaded = load_score_model(config, sde, workdir)
        return cls(config, sde, build_space(config), loaded.model, loaded.checkpoint_step, workdir)

    def sample(
        self,
        num_images: int,
        sampler: str | None = None,
        labels: Labels | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        show: bool = False,
    ) -> np.ndarray:
        """Draw stored images (n, h, w, c) from the prior, the same as --mode sample does.

        Args:
          sampler: a name of samplers/names.py; this and the next three default to the configuration.
          labels: a class, or classes to cycle through, for a class-conditional network; () for all classes.
          guidance: the guidance weight w of guidance/classifier_free.py.
          seed: for a given seed, image i is always the same.
          show: whether to show a progress bar.

        Raises:
          UserError: invalid settings, or settings that need denoising errors or start images, as only --mode sample provides.
        """
        config = self.config.copy_and_resolve_references()
        sampling = config.sampling
        given = {
            # The condition images of the samples depend on both of these.
            "sampling.num_images": whole_number("num_images", num_images),
            "seed": None if seed is None else whole_number("seed", seed),
            "sampling.sampler": sampler,
            "sampling.labels": None if labels is None else class_labels(labels),
            "sampling.guidance.weight": guidance,
        }
        set_fields(config, {name: value for name, value in given.items() if value is not None})
        if sampling.t_start or sampling.start_images or needs_errors(sampling):
            raise ConfigError(
                "sampling.t_start, sampling.start_images and samplers that are built from denoising errors are for --mode sample; "
                "leave them out here"
            )
        check_options(config)
        self.sde.check_time("sampling.eps", sampling.eps)
        check_sampled_score(config, self.sde, self.space)
        configured = configure(sampling, self.sde)
        if configured.any_time:
            refuse_discrete(config, self.sde, f"sampling.sampler={sampling.sampler!r}")
        guides = load_guides(config, self.sde, self.workdir)
        model = sampled_score(config, self.sde, self.space, self.model, guides)
        classes = () if self.workdir is None else known_classes(config, self.workdir)
        generator = build_generator(
            config, self.sde, self.space.shape, configured=configured, classes=classes
        )
        batches = generator.batches(model, num_images, config.seed, show)
        decoded = [np.asarray(self.space.decode(jnp.asarray(batch.x))) for batch in batches]
        return np.concatenate(decoded)

    @functools.cached_property
    def _density_of(self) -> Callable[..., LogDensity]:
        """The jitted log-density, compiled once per shape."""
        return jax.jit(build_log_density(self.config, self.sde, math.prod(self.space.shape)))

    def encode(self, images: ArrayLike) -> np.ndarray:
        """Convert stored images (n, h, w, c) to the model's arrays.

        Raises:
          UserError: the images do not have the shape or the levels of the configuration.
        """
        images = stored_images(self.config, self.space.shape, images)
        return np.asarray(self.space.encode_middle(jnp.asarray(images)))

    def decode(self, x0: ArrayLike) -> np.ndarray:
        """Convert the model's arrays (n, h, w, c) to stored images, rounded and clipped to their levels; the inverse of `encode`.

        Raises:
          ConfigError: arrays of another shape or type, or not finite.
        """
        x0 = model_arrays("decode", self.space.shape, x0)
        return np.asarray(self.space.decode(jnp.asarray(x0)))

    @functools.cached_property
    def _flow(self) -> tuple[Callable[..., Samples], Callable[..., Samples]]:
        """The jitted maps from images to latents and back, compiled once per shape."""
        config = self.config.copy_and_resolve_references()
        config.sampling.sampler = "ode"
        check_whole(config.sampling, "latents")
        self.sde.check_time("sampling.eps", config.sampling.eps)
        refuse_discrete(config, self.sde, "a latent by the ODE")
        configured = configure(config.sampling, self.sde, whole=True)
        ends = (configured.sampler, configured.grid)
        return jax.jit(functools.partial(encode, *ends)), jax.jit(functools.partial(decode, *ends))

    def latents(
        self, x: ArrayLike, labels: Labels | None = None, texts: str | Sequence[str] | None = None
    ) -> np.ndarray:
        """The latents x_T (n, h, w, c) of the model's arrays x (n, h, w, c), by the probability-flow ODE.

        Solves dx/dt = f x - g^2/2 score(x, t) from x at sampling.eps up to T, with the solver of config.sampling.ode, without
        guidance. Latents of images like the training images are distributed approximately as the prior, N(0, sde.prior_std^2 I).
        `from_latents` is the inverse. The cost is as many network evaluations per image as the solver takes: 50 to
        150 at the default tolerances. Images of one call share their step sizes, unless sampling.ode.step_size=image.

        Args:
          labels: the class of each image, or one of all, for a class-conditional network; None for the unconditional model.
          texts: the text of each image, or one of all, for a network conditioned on texts.

        Raises:
          ConfigError: arrays of another shape or type or not finite, unknown classes or words, a network or options without such
            latents, or a failed solve.
        """
        return self._solved(0, "Trained.latents", x, labels, texts)

    def from_latents(
        self, z: ArrayLike, labels: Labels | None = None, texts: str | Sequence[str] | None = None
    ) -> np.ndarray:
        """The model's arrays (n, h, w, c) whose latents x_T are z (n, h, w, c): the inverse of `latents`, at the same cost.

        Solves the ODE from z at T down to sampling.eps. `decode` converts the result to stored images. Arguments and errors are
        those of `latents`; labels or texts other than those of the latents change the image.
        """
        return self._solved(1, "Trained.from_latents", z, labels, texts)

    def _solved(self, way: int, what: str, x: Any, labels: Any, texts: Any) -> np.ndarray:
        """Solve the ODE one way of `_flow`."""
        x = model_arrays(what, self.space.shape, x)
        condition = bound_condition(self.config, what, len(x), labels, texts)
        solve = self._flow[way]
        with jax.default_matmul_precision("highest"):
            found = solve(bind(self.model, condition), jnp.asarray(x))
        if not (np.all(found.success) and np.isfinite(found.x).all()):
            raise ConfigError(
                f"sampling.ode.solver={self.config.sampling.ode.solver!r} gave up; try other tolerances, more steps or a larger sampling.eps"
            )
        return np.asarray(found.x)

    def log_density(self, x: ArrayLike, labels: Labels | None = None, seed: int = 0) -> np.ndarray:
        """ln p_eps(x) in nats (n,) under the probability-flow ODE, for the model's arrays x (n, h, w, c).

        Uses the solver, tolerances and probes of config.likelihood, with all images in one batch. This is a density, not the
        probability of an image with integer levels; --mode likelihood converts it to bits/dim of the latter.

        Args:
          labels: the class y of each image, or one of all, for ln p(x|y); None for an unconditional network or density.
          seed: the seed of the probes.

        Raises:
          ConfigError: arrays of another shape or type or not finite, unknown classes, a network without such a density, or a failed solve.
        """
        x = model_arrays("log_density", self.space.shape, x)
        refuse_discrete(self.config, self.sde, "a log-density by the ODE")
        condition = bound_condition(self.config, "a log-density", len(x), labels)
        keys = jax.random.split(seed_key(whole_number("seed", seed)), len(x))
        with jax.default_matmul_precision("highest"):
            found = self._density_of(bind(self.model, condition), jnp.asarray(x), keys)
        if not np.all(found.success):
            raise ConfigError(
                f"likelihood.solver={self.config.likelihood.solver!r} failed; try other tolerances or a larger likelihood.eps"
            )
        return np.asarray(found.nats)


def set_fields(config: Any, values: Mapping[str, Any]) -> None:
    """Set fields of the configuration, by dotted name.

    Raises:
      ConfigError: there is no such field, or it takes values of another type.
    """
    for name, value in values.items():
        try:
            value_of(config, name)
            config.update_from_flattened_dict({name: value})
        except (AttributeError, KeyError) as error:
            guess = did_you_mean_field(name, dict(fields(as_json(config))), "{}")
            raise ConfigError(
                f"no field {name!r} to set; `python -m score_sde.configs.default` lists all{guess}"
            ) from error
        except TypeError as error:
            raise ConfigError(f"{name}={value!r}: {error}") from error
