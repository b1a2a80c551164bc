"""The training objective, from stored images to per-image losses: keys -> flip -> encoding as x0 -> augmentation -> loss."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.data.batch import Batch
from score_sde.data.scaling import flip_horizontally
from score_sde.errors import UserError
from score_sde.keys import Stream, TrainingKeys, image_keys, stream_key
from score_sde.measurements.condition_image import ConditionImage, build_condition_image
from score_sde.models.networks import condition_names, null_condition_of
from score_sde.models.parameterization import build_parameterization
from score_sde.models.score import NetworkScore
from score_sde.sde_lib import SDE
from score_sde.spaces import Space, build_space
from score_sde.training.augmentation import Augmentation, check_augmentation, drawn
from score_sde.training.draws import DRAWS, LAST, Draw
from score_sde.training.loss_history import LossHistory
from score_sde.training.losses import Loss, build_loss

BINS = 4  # number of noise-level bins in which the loss is recorded


def drop_labels(keys: Array, condition: Any, null: Any, rate: float) -> Any:
    """Replace each image's condition by the null condition with probability `rate`, using the image's key (b,)."""
    if not rate:
        return condition
    dropped = jax.vmap(lambda key: jax.random.bernoulli(key, rate))(keys)

    def kept(given: Array, none: Array) -> Array:
        of_image = dropped.reshape(-1, *(1,) * (given.ndim - 1))
        return jnp.where(of_image, none, given)

    return jax.tree.map(kept, condition, null)


def flipped(images: Array, keys: TrainingKeys) -> Array:
    """Mirror each image with probability 1/2, using its own key."""
    return flip_horizontally(images, jax.vmap(jax.random.bernoulli)(keys.flip))


def key_of_step(seed: int, step: Array | int) -> Array:
    """Return the random key from which all randomness of an update is derived."""
    return jax.random.fold_in(stream_key(seed, Stream.TRAIN), step)


def step_images(config: Any, space: Space, batch: Batch, step: int) -> Array:
    """Return the clean images x0 (b, ...) of an update's batch, before noise is added."""
    keys = image_keys(TrainingKeys, key_of_step(config.seed, step), batch.index)
    images = flipped(batch.images, keys) if config.data.random_flip else batch.images
    x0 = space.encode(images, keys.dequantization)
    rate = config.training.augment
    return drawn(keys.flip, rate).of(x0) if rate else x0


@dataclasses.dataclass(frozen=True)
class Objective:
    """The function that training minimizes. `apply` and `null_condition` come from the network."""

    space: Space
    loss: Loss
    parameterization: Any
    apply: Callable[..., Array]
    null_condition: Callable[[Any], Any]
    random_flip: bool
    draw: Draw
    batch_size: int
    label_dropout: float = 0.0
    condition_image: ConditionImage | None = None
    augment: float = 0.0
    history: LossHistory | tuple[()] = ()
    """Importance sampling of training times by past losses; (): the times as spread by `draw`."""

    def training_losses(self, params: Any, batch: Batch, step_key: Array) -> Array:
        """Return the losses (b,) of part of a training batch, with flips, augmentation, label dropout and network dropout."""
        images, condition, places = batch
        keys = image_keys(TrainingKeys, step_key, places)
        if self.random_flip:
            images = flipped(images, keys)
            if "paired" in dict(condition):
                condition = {**condition, "paired": flipped(condition["paired"], keys)}
        condition = self.network_condition(images, condition, step_key, places)
        u = self.times_of(keys, places, step_key)
        null = self.null_condition(condition)
        condition = drop_labels(keys.label_dropout, condition, null, self.label_dropout)
        batch = Batch(images, condition, places)
        # Augmentation excludes random flips, so the flip key is unused.
        augmentation = drawn(keys.flip, self.augment) if self.augment else None
        losses = self._losses(params, batch, u, keys, keys.dropout, augmentation)
        return losses * self.history.weight(u) if self.history else losses

    def times_of(self, keys: TrainingKeys, places: Array, step_key: Array) -> Array:
        """Return the u (b,) in [0, 1) that select the times of part of a training batch."""
        u = self.draw(step_key, keys.time, places, self.batch_size)
        return self.history.drawn(u) if self.history else u

    def history_after(self, losses: Array, step_key: Array) -> LossHistory | tuple[()]:
        """Return the loss history updated with the losses of a whole batch, as returned by `training_losses`."""
        if not self.history:
            return ()
        places = jnp.arange(len(losses), dtype=jnp.int32)
        u = self.times_of(image_keys(TrainingKeys, step_key, places), places, step_key)
        return self.history.added(u, losses / self.history.weight(u))

    def noise_bins(self, places: Array, step_key: Array) -> Array:
        """Return the noise-level bin of each image's training time, int32 (b,) in 0 ... BINS-1, lowest noise first."""
        keys = image_keys(TrainingKeys, step_key, places)
        u = self.noisiest(self.times_of(keys, places, step_key), keys)
        return jnp.minimum((u * BINS).astype(jnp.int32), BINS - 1)

    def noisiest(self, u: Array, keys: TrainingKeys) -> Array:
        """The u (b,) of the time at which the network sees each image: the later one if the loss has two."""
        return u

    def bin_names(self) -> tuple[str, ...]:
        """Return the bins' names, made of the log-SNR at their ends.

        Each bin has the same expected share of the drawn times, whatever their density; of pairs of times (MeanFlow), where the later
        one counts, the noisier bins have more.
        """
        with jax.ensure_compile_time_eval():  # the caller may be an update that is being traced
            u = jnp.minimum(jnp.linspace(0.0, 1.0, BINS + 1), LAST)
            ends = np.asarray(self.loss.log_snr(u))
        high_and_low = itertools.pairwise(f"{end:.3g}" for end in ends)
        return tuple(f"loss_by_log_snr/{high}_to_{low}" for high, low in high_and_low)

    def held_out_losses(self, params: Any, batch: Batch, u: Array, key: Array) -> Array:
        """Return the losses (b,) of unmodified images, without dropout, at the times selected by u (b,)."""
        condition = self.network_condition(batch.images, batch.condition, key, batch.index)
        keys = image_keys(TrainingKeys, key, batch.index)
        return self._losses(params, batch._replace(condition=condition), u, keys, None)

    def network_condition(self, images: Array, condition: Any, key: Array, places: Array) -> Any:
        """Return the network's condition for stored images, given the condition that was read with them."""
        if self.condition_image is None:
            return condition
        return self.condition_image.in_training(images, condition, key, places)

    def _losses(
        self,
        params: Any,
        batch: Batch,
        u: Array,
        keys: TrainingKeys,
        dropout_keys: Array | None,
        augmentation: Augmentation | None = None,
    ) -> Array:
        x0, condition = self.space.encode(batch.images, keys.dequantization), batch.condition
        if augmentation is not None:
            # Label dropout never drops the augmentation, and networks without classes are conditioned on it too.
            x0, condition = augmentation.of(x0), {**dict(condition), "augment": augmentation.labels}
        z = jax.vmap(lambda key: jax.random.normal(key, x0.shape[1:]))(keys.noise)
        return self.loss_of(self.model(params, condition), x0, u, z, keys, dropout_keys)

    def loss_of(
        self,
        model: Any,
        x0: Array,
        u: Array,
        z: Array,
        keys: TrainingKeys,
        dropout_keys: Array | None,
    ) -> Array:
        """Return the losses (b,) of clean images and noise at the times selected by u.

        `keys` are for subclasses whose loss samples further random numbers.
        """
        return self.loss(model, x0, u, z, dropout_keys)

    def model(self, params: Any, condition: Any) -> Any:
        """Return the model passed to the loss: the network with these parameters and this condition."""
        return NetworkScore(params, self.apply, self.parameterization, condition)


def check_label_dropout(config: Any) -> None:
    """Raise UserError unless the rate is in [0, 1], and 0 for a network without conditions."""
    rate = config.training.label_dropout
    if not 0 <= rate <= 1:
        raise UserError(
            f"training.label_dropout={rate}: expected a rate between 0 and 1, such as 0.1"
        )
    if rate and not condition_names(config):
        raise UserError(
            f"training.label_dropout={rate} with a network that is not conditioned on classes: set it to 0, or model.num_classes to the "
            "number of classes (or model.condition_image)"
        )


def build_objective(
    config: Any,
    network: Any,
    sde: SDE,
    loss: Any = None,
    kind: type[Objective] = Objective,
) -> Objective:
    """Build the objective of a network from the config.

    Args:
      loss: the loss to use; None: the score-matching loss that config.training names.
      kind: the class of the objective.
    """
    check_augmentation(config)
    return kind(
        space=build_space(config),
        loss=build_loss(config, sde) if loss is None else loss,
        parameterization=build_parameterization(config, sde),
        apply=network.apply,
        null_condition=null_condition_of(network),
        random_flip=config.data.random_flip,
        draw=DRAWS[config.training.draws],
        batch_size=config.training.batch_size,
        label_dropout=config.training.label_dropout,
        condition_image=build_condition_image(config),
        augment=config.training.augment,
    )
