"""Cascades (Ho et al. 2022): a network for small images draws the condition images of a network for larger ones.

The small images come from another folder's network, with the sampler of this command and noise of their own: the two stages
are independent except for the condition of the second.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.data.image_shape import image_shape
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path
from score_sde.generation.guides import classes_in_turn
from score_sde.generation.sampled_score import check_sampled_score, sampled_score
from score_sde.guidance.options import GuidanceOptions
from score_sde.keys import Stream, stream_key
from score_sde.measurements.condition_image import ConditionImage
from score_sde.models.networks import condition_names, has_condition_image
from score_sde.models.parameterization import refuse_discrete
from score_sde.progress import progress_bar
from score_sde.samplers.configured import configure, needs_errors
from score_sde.sde_lib import build_sde
from score_sde.spaces import build_space
from score_sde.training.known_classes import check_same_classes
from score_sde.training.recorded_config import read_config
from score_sde.training.trained_score import check_score_model, load_score_model


def base_config(config: Any, maker: ConditionImage, classes: Sequence[str] = ()) -> Any:
    """The config of the smaller network, set to draw with this config's sampler and without guidance.

    Raises:
      ConfigError: not a folder of a score network, or one for other images or other `classes` than the network is conditioned on.
    """
    field, folder = (
        f"condition.cascade={config.condition.cascade!r}",
        user_path(config.condition.cascade),
    )
    try:
        base = read_config(folder)
    except UserError as error:
        raise ConfigError(f"{field}: {error}") from None
    check_same_classes(field, folder, classes, "the network conditioned on its images")
    if maker.measurement is not None:
        shape: tuple[int, ...] = maker.measurement.linear.measured_shape
    else:
        shape = (*image_shape(config.data)[:2], config.model.condition_channels)
    space = build_space(base)
    if base.training.task != "score" or has_condition_image(base):
        raise ConfigError(
            f"{field}: expected a folder of a score network that is not conditioned on images itself"
        )
    if space.shape != shape or space.range != build_space(config).range:
        raise ConfigError(
            f"{field} draws images of shape {space.shape} within {space.range}; the network is conditioned on images of shape {shape} within "
            f"{build_space(config).range}: train the smaller network on images of the shape and range that the larger one is conditioned on"
        )
    if base.model.num_classes not in (0, config.model.num_classes):
        raise ConfigError(
            f"{field} is conditioned on {base.model.num_classes} classes, but the network conditioned on its images on "
            f"{config.model.num_classes or 'none'}; train them with the same"
        )
    if config.sampling.t_start or needs_errors(config.sampling):
        raise ConfigError(
            f"{field} with sampling.t_start, start_images or a sampler built from denoising errors: both networks start from "
            "noise and use one sampler; remove these"
        )
    if jax.process_count() > 1:
        raise ConfigError(
            f"{field} on several hosts: sample the small images first, and set condition.images to their file"
        )
    base.sampling = config.sampling.copy_and_resolve_references()
    base.sampling.guidance.update(GuidanceOptions.defaults())
    if not base.model.num_classes:
        base.sampling.labels = ()
    elif not base.sampling.labels:
        # Those of the larger network, which may know fewer.
        base.sampling.labels = tuple(range(classes_in_turn(config, classes)))
    if "text" not in condition_names(base):
        base.sampling.text = ""
    sde = build_sde(base)
    check_score_model(base, sde)
    try:
        check_sampled_score(base, sde, space)
    except ConfigError as error:
        raise ConfigError(f"{field}: {error}") from None
    if configure(base.sampling, sde).any_time:
        refuse_discrete(base, sde, f"{field} by sampling.sampler={base.sampling.sampler!r}")
    check_conditions(base, field)
    return base


def check_conditions(base: Any, field: str) -> None:
    """Refuse classes and texts that the smaller network does not know."""
    # Imported here, since conditions.py imports this module indirectly.
    from score_sde.generation.conditions import build_conditions

    try:
        build_conditions(base)
    except ConfigError as error:
        raise ConfigError(f"{field}: {error}") from None


def cascaded(config: Any, base: Any, maker: ConditionImage) -> Any:
    """A function that conditions each sample on the small image of the same index, drawn on request.

    The small image is A x: the network learned from measurements of noise sigma_y, which is added.
    """
    draw = functools.cache(lambda: small_images(config, base))
    tell = jax.jit(maker.of_noiseless)
    key = stream_key(config.seed, Stream.OBSERVATION)

    def with_image(indices: np.ndarray, condition: Any) -> Any:
        return jax.device_get(tell(draw()(indices), dict(condition), key, indices))

    return with_image


def small_images(config: Any, base: Any) -> Any:
    """A function from indices (b,) to the small images of these indices, in the model's units, at the middle of their levels."""
    # Imported here, since generate.py imports this module indirectly.
    from score_sde.generation.generate import build_generator

    sde, space = build_sde(base), build_space(base)
    loaded = load_score_model(base, sde, user_path(config.condition.cascade))
    model = sampled_score(base, sde, space, loaded.model)
    generator = build_generator(base, sde, space.shape)
    key, size = stream_key(config.seed, Stream.CASCADE), base.sampling.batch_size

    def draw(indices: np.ndarray) -> np.ndarray:
        drawn = []
        for start in range(0, len(indices), size):
            part = indices[start : start + size]
            # Pad the batch with indices that are not in it.
            filled = np.concatenate([part, 1 + part.max() + np.arange(size - len(part))])
            with progress_bar(len(part), "small images", "image") as bar:
                x = generator.draw(model, key, filled.astype(np.int32), size, bar).x[: len(part)]
            drawn.append(np.asarray(space.encode_middle(space.decode(jnp.asarray(x)))))
        return np.concatenate(drawn)

    return draw
