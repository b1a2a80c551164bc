"""Condition images: a measurement of an image, brought back to its size, or the second image of a pair.

From a stored image x and noise n that belongs to it,

    y = A x + sqrt(sigma_y^2 + s^2) n,    network input: A^T (sigma_y^2 I + A A^T)^{-1} y and s,

which for sigma_y = 0 is A^+ y: an upsampled image, the known pixels among zeros, grey in all channels. No information of y is lost.
s is the level of conditioning augmentation (Ho et al. 2022, Sec. 4), 0 unless model.condition_noise is set: in training it is drawn
uniformly up to that value for each image; afterwards it is config.condition.noise.

x is the stored image at the middle of its pixel levels, so that y depends only on the stored image and its noise, and a likelihood
given y is one of the stored image.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from score_sde.data.scaling import scale
from score_sde.errors import ConfigError
from score_sde.keys import ConditionKeys, Stream, image_keys
from score_sde.measurements.configured import build_measurement, check_fields
from score_sde.measurements.measurement import Measurement, spectral
from score_sde.shapes import Array, Images, Integers, Measured, PerImage, Stored
from score_sde.spaces import Space, build_space

SEED = 0
"""Seed of random masks, fixed so that the condition of a trained network does not depend on the seed of its samples."""


@dataclasses.dataclass(frozen=True)
class ConditionImage:
    """Makes the condition images of stored images; `most_noise` is model.condition_noise."""

    space: Space
    measurement: Measurement | None
    """None: the condition is the second image of a pair, used as it is."""
    centered: bool
    most_noise: float
    noise: float = 0.0
    """The noise level after training."""

    def in_training(self, images: Stored, condition: Any, key: Any, index: Integers) -> Any:
        """The condition in training, of the images with these indices, with noise levels uniform up to `most_noise`."""
        keys = _keys(key, index)
        levels = jax.vmap(lambda key: jax.random.uniform(key, maxval=self.most_noise))(keys.level)
        return self._noisy(self._clean(images, condition), condition, keys.noise, levels)

    def in_use(self, images: Stored, condition: Any, key: Any, index: Integers) -> Any:
        """The condition after training, at the noise level of config.condition.noise."""
        return self.of_noiseless(self._clean(images, condition), condition, key, index)

    def of_noiseless(self, y: Measured, condition: Any, key: Any, index: Integers) -> Any:
        """The condition from A x, to which the noise of the measurement and that of level `noise` are added."""
        return self._noisy(y, condition, _keys(key, index).noise, self._levels(len(y)))

    def of_measured(self, y: Measured, condition: Any, key: Any, index: Integers) -> Any:
        """The condition from existing measurements y, to which only noise of level `noise` is added."""
        keys, levels = _keys(key, index), self._levels(len(y))
        noise = _normal(keys.noise, y)
        return self._with_image(
            y + levels.reshape(-1, *(1,) * (y.ndim - 1)) * noise, condition, levels
        )

    def measured(self, images: Stored, condition: Any, key: Any, index: Integers) -> Measured:
        """The measurements y of images, without augmentation: those of `in_use` at level 0."""
        y = self._clean(images, condition)
        return y + self._std * _normal(_keys(key, index).noise, y)

    def _clean(self, images: Stored, condition: Any) -> Measured:
        if self.measurement is not None:
            return self.measurement.linear(self.space.encode_middle(images))
        beside = condition["paired"]
        if jnp.issubdtype(beside.dtype, jnp.integer):
            return scale(beside.astype(jnp.float32) / 255, self.centered)
        return beside

    @property
    def _std(self) -> Array | float:
        return 0.0 if self.measurement is None else self.measurement.std

    def _levels(self, b: int) -> PerImage:
        return jnp.full(b, self.noise)

    def _noisy(self, y: Measured, condition: Any, keys: Any, levels: PerImage) -> Any:
        std = jnp.hypot(levels, self._std).reshape(-1, *(1,) * (y.ndim - 1))
        return self._with_image(y + std * _normal(keys, y), condition, levels)

    def _with_image(self, y: Measured, condition: Any, levels: PerImage) -> Any:
        image: Any = y
        if self.measurement is not None:
            linear = spectral(self.measurement, "model.condition_image='measured'")
            image = linear.regularized(y, jnp.square(self._std), 1.0)
        rest = {name: of for name, of in dict(condition).items() if name != "paired"}
        return {**rest, "image": image, **({"image_noise": levels} if self.most_noise else {})}


def _keys(key: Any, index: Integers) -> ConditionKeys:
    # A separate key, so that all other draws for these images are the same as without a condition image.
    return image_keys(ConditionKeys, jax.random.fold_in(key, int(Stream.OBSERVATION)), index)


def _normal(keys: Any, like: Images) -> Images:
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:]))(keys)


def measures_by_mask(config: Any) -> bool:
    """Whether the condition is measured through the picture condition.mask."""
    return config.model.condition_image == "measured" and config.condition.name == "mask"


def check_condition(config: Any) -> None:
    """Refuse fields of config.condition that the measurement does not read, for a network that is to be trained.

    Raises:
      ConfigError: an option with no effect is set.
    """
    if config.model.condition_image == "measured":
        check_fields(config.condition, "condition")


def build_condition_image(config: Any) -> ConditionImage | None:
    """Build the condition images of a config; None if the network has none.

    Raises:
      ConfigError: the measurement does not fit the images, or there is more noise than in training.
    """
    most, noise = config.model.condition_noise, config.condition.noise
    if noise > most:
        raise ConfigError(
            f"condition.noise={noise} with model.condition_noise={most}: the network was trained with at most that much noise in its "
            f"condition; set condition.noise to {most} or less"
        )
    if config.model.condition_image == "none":
        return None
    space = build_space(config)
    measurement = None
    if config.model.condition_image == "measured":
        measurement = build_measurement(config.condition, space.shape, SEED, "condition")
    return ConditionImage(space, measurement, config.data.centered, most, noise)
