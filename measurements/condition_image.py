"""The condition image of another: what was measured of it, brought back to its size, or the second of a pair.

Of stored images x, and noise n of an image's own,

    y = A x + sqrt(sigma_y^2 + s^2) n,    told: A^T (sigma_y^2 I + A A^T)^{-1} y and s,

which is A^+ y without noise: fewer pixels taken up again, known pixels among zeros, a grey in all channels. It loses nothing of y.
s is the level of conditioning augmentation (Ho et al. 2022, Sec. 4), 0 but where model.condition_noise is more: in training it is
drawn for each image, uniformly up to that; in use config.condition.noise says it.

x stands for the stored image, in the middle of its levels: so y is a function of what is stored and its noise, and a likelihood
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
"""Of random masks: a trained network's condition does not change with the seed of its samples."""


@dataclasses.dataclass(frozen=True)
class ConditionImage:
    """Makes the condition images of stored images; `most_noise` is model.condition_noise."""

    space: Space
    measurement: Measurement | None
    """None: the image is one of a pair, and taken as it is."""
    centered: bool
    most_noise: float
    noise: float = 0.0
    """Its level in use."""

    def in_training(self, images: Stored, condition: Any, key: Any, index: Integers) -> Any:
        """The condition of images with these places in an update of this key: with noise of any level up to the most."""
        keys = _keys(key, index)
        levels = jax.vmap(lambda key: jax.random.uniform(key, maxval=self.most_noise))(keys.level)
        return self._noisy(self._clean(images, condition), condition, keys.noise, levels)

    def in_use(self, images: Stored, condition: Any, key: Any, index: Integers) -> Any:
        """The same at the level of config.condition.noise."""
        clean, keys = self._clean(images, condition), _keys(key, index)
        return self._noisy(clean, condition, keys.noise, self._levels(len(clean)))

    def of_measured(self, y: Measured, condition: Any, key: Any, index: Integers) -> Any:
        """The condition of y, measured already: only noise of the level in use is added."""
        keys, levels = _keys(key, index), self._levels(len(y))
        noise = _normal(keys.noise, y)
        return self._with_image(
            y + levels.reshape(-1, *(1,) * (y.ndim - 1)) * noise, condition, levels
        )

    def measured(self, images: Stored, condition: Any, key: Any, index: Integers) -> Measured:
        """y of these images without augmentation, as `in_use` has it at level 0."""
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
    # A key that is no image's: whatever else is drawn for them stays as it is without a condition image.
    return image_keys(ConditionKeys, jax.random.fold_in(key, int(Stream.OBSERVATION)), index)


def _normal(keys: Any, like: Images) -> Images:
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:]))(keys)


def check_condition(config: Any) -> None:
    """Refuse, of a network that is to be trained, a field of config.condition that its measurement does not read.

    Raises:
      ConfigError: a field that changes nothing.
    """
    if config.model.condition_image == "measured":
        check_fields(config.condition, "condition")


def build_condition_image(config: Any) -> ConditionImage | None:
    """What makes the config's condition images; None where it has none.

    Raises:
      ConfigError: a measurement that does not fit the images, or more noise than in the network's training.
    """
    most, noise = config.model.condition_noise, config.condition.noise
    if noise > most:
        raise ConfigError(
            f"condition.noise={noise} with model.condition_noise={most}: the network was trained with no more noise in its condition; "
            f"set it to {most} or less"
        )
    if config.model.condition_image == "none":
        return None
    space = build_space(config)
    measurement = None
    if config.model.condition_image == "measured":
        measurement = build_measurement(config.condition, space.shape, SEED, "condition")
    return ConditionImage(space, measurement, config.data.centered, most, noise)
