"""From stored images to the loss of each: keys -> dequantise -> flip -> scale -> x0 -> loss.

Every random number of training is a function of (seed, step, the image's place in the global batch). So a
step does not depend on the number of devices that share it, and resuming needs no random state.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from score_sde.data.scaling import dequantize, flip_horizontally, scale, to_unit
from score_sde.errors import UserError
from score_sde.models.networks import conditions_of, null_condition_of
from score_sde.models.parameterization import build_parameterization
from score_sde.models.score import NetworkScore
from score_sde.sde_lib import SDE
from score_sde.training.draws import DRAWS, Draw
from score_sde.training.losses import Loss, build_loss


class Stream(enum.IntEnum):
    """What randomness is for; each has a key of its own. The numbers are part of every run's result."""

    INIT = 0
    TRAIN = 1
    HELD_OUT = 2


def stream_key(seed: int, stream: Stream) -> Array:
    return jax.random.fold_in(jax.random.key(seed), int(stream))


class ImageKeys(NamedTuple):
    """One key per image, (b,), for each thing that is drawn for it."""

    dequantization: Array
    flip: Array
    time: Array
    noise: Array
    dropout: Array
    label_dropout: Array


def image_keys(key: Array, indices: Array) -> ImageKeys:
    """Keys of the images at places `indices` (b,), from a key of the step."""

    def of_one(index: Array) -> Array:
        return jax.random.split(jax.random.fold_in(key, index), len(ImageKeys._fields))

    return ImageKeys(*jax.vmap(of_one)(indices).T)


def drop_labels(keys: Array, condition: Any, null: Any, rate: float) -> Any:
    """The condition with that of each image replaced by the null one at this rate, by the image's key (b,)."""
    if not rate:
        return condition
    dropped = jax.vmap(lambda key: jax.random.bernoulli(key, rate))(keys)
    return jax.tree.map(lambda given, none: jnp.where(dropped, none, given), condition, null)


@dataclasses.dataclass(frozen=True)
class Objective:
    """What training minimises. `apply` and `null_condition` are the network's."""

    loss: Loss
    parameterization: Any
    apply: Callable[..., Array]
    null_condition: Callable[[Any], Any]
    num_levels: int | None
    centered: bool
    random_flip: bool
    uniform_dequantization: bool
    draw: Draw
    batch_size: int
    label_dropout: float = 0.0

    def x0(self, images: Array, keys: Array) -> Array:
        """The model's images (b, h, w, c) from stored ones; keys (b,) draw the dequantisation noise."""
        if self.uniform_dequantization:
            shape = images.shape[1:]
            u = jax.vmap(lambda key: jax.random.uniform(key, shape))(keys)
            return scale(dequantize(images, u, self.num_levels), self.centered)
        return scale(to_unit(images, self.num_levels), self.centered)

    def training_losses(
        self, params: Any, images: Array, step_key: Array, places: Array, condition: Any = ()
    ) -> Array:
        """The losses (b,) of the images at these places (b,) in a training batch: flips and dropouts on."""
        keys = image_keys(step_key, places)
        if self.random_flip:
            images = flip_horizontally(images, jax.vmap(jax.random.bernoulli)(keys.flip))
        u = self.draw(step_key, keys.time, places, self.batch_size)
        null = self.null_condition(condition)
        condition = drop_labels(keys.label_dropout, condition, null, self.label_dropout)
        return self._losses(params, images, u, keys, keys.dropout, condition)

    def held_out_losses(
        self, params: Any, images: Array, u: Array, keys: ImageKeys, condition: Any = ()
    ) -> Array:
        """The losses (b,) of images as they are, without dropouts, at the times that u (b,) picks."""
        return self._losses(params, images, u, keys, None, condition)

    def _losses(
        self,
        params: Any,
        images: Array,
        u: Array,
        keys: ImageKeys,
        dropout_keys: Array | None,
        condition: Any,
    ) -> Array:
        x0 = self.x0(images, keys.dequantization)
        z = jax.vmap(lambda key: jax.random.normal(key, x0.shape[1:]))(keys.noise)
        score_model = NetworkScore(params, self.apply, self.parameterization, condition)
        return self.loss(score_model, x0, u, z, dropout_keys)


def check_label_dropout(config: Any) -> None:
    """Raise UserError unless the rate is one, and 0 where there are no labels."""
    rate = config.training.label_dropout
    if not 0 <= rate <= 1:
        raise UserError(f"training.label_dropout={rate}: expected a rate between 0 and 1, as 0.1")
    if rate and not conditions_of(config):
        raise UserError(
            f"training.label_dropout={rate} with a network that is told no class: set it to 0, or model.num_classes to the "
            "number of classes"
        )


def build_objective(config: Any, network: Any, sde: SDE) -> Objective:
    data = config.data
    return Objective(
        loss=build_loss(config, sde),
        parameterization=build_parameterization(config, sde),
        apply=network.apply,
        null_condition=null_condition_of(network),
        num_levels=data.num_levels or None,
        centered=data.centered,
        random_flip=data.random_flip,
        uniform_dequantization=data.uniform_dequantization,
        draw=DRAWS[config.training.draws],
        batch_size=config.training.batch_size,
        label_dropout=config.training.label_dropout,
    )
