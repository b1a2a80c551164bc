"""Base class of the networks: options of config.model that all share, checks at construction, and the conditioning inputs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax.numpy as jnp

from score_sde.data.image_shape import sides
from score_sde.errors import ConfigError
from score_sde.models.conditions import LABELS, LevelEmbedding, null_condition
from score_sde.models.score import INTERVAL
from score_sde.options import Section, absent, count, not_negative, one_of, option
from score_sde.shapes import Array, Pixels

DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}
# Fields read from config.data; all others come from config.model.
OF_DATA = ("image_size", "image_width", "num_channels", "centered")


class Network(Section, nn.Module):
    """A score network. `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).

    Input images are in [-1, 1] if `centered`, otherwise in [0, 1].
    """

    image_size: int
    num_channels: int = 3
    centered: bool = True
    image_width: int = 0
    num_classes: int = option(
        0,
        "classes on which the network is conditioned (models/conditions.py); 0: none",
        count(10**6, 0),
    )
    condition_image: str = option(
        "none",
        "image on which the network is conditioned, as extra channels of its input: none | measured, what config.condition measures of the "
        "image itself | paired, the dataset's second image",
        one_of("none", "measured", "paired"),
    )
    condition_channels: int = option(
        0, "condition_image=paired: channels of that image", count(1024, 0)
    )
    condition_noise: float = option(
        0.0,
        "conditioning augmentation: in training, noise is added to the image from which the condition is made; its standard deviation, "
        "uniform between 0 and this, is a further condition of the network; 0: none",
        not_negative,
    )
    condition_interval: bool = option(
        False,
        "condition the network on the length of a time interval too, whose average velocity it predicts (training.task=mean_flow)",
    )
    dtype: str = option(
        "float32",
        "float32 | bfloat16: operands of convolutions and attention; parameters, statistics of norms, softmax and embeddings stay float32 "
        "(models/layers.py). float32 casts nothing: "
        "with float64 images and parameters everything is float64",
        one_of(*DTYPES),
    )
    remat: bool = option(
        False,
        "store only the input of each residual and attention block, and recompute the rest for the gradient: saves accelerator "
        "memory (XLA's compiler for CPUs undoes it), costs a third more time",
    )

    UNCONFIGURED: ClassVar[tuple[str, ...]] = ("parent", "name")
    """Fields that are not read from a config."""

    def __post_init__(self) -> None:
        self.check_options(self, "model")
        if self.num_channels < 1:
            raise ConfigError(f"num_channels is {self.num_channels}: expected 1 or more")
        self.check_condition_image()
        if self.condition_interval and not getattr(self, "conditional", True):
            raise ConfigError(
                "model.condition_interval=True with model.conditional=False: such a network has no embedding for the interval; "
                "change one of the two"
            )
        self.check_fits()
        super().__post_init__()

    def check_condition_image(self) -> None:
        """Refuse `condition_channels` or `condition_noise` that contradict `condition_image` or `conditional`."""
        paired = self.condition_image == "paired"
        if paired != bool(self.condition_channels):
            raise ConfigError(
                f"model.condition_channels={self.condition_channels} with model.condition_image={self.condition_image!r}: expected "
                f"{'the number of channels of the paired images' if paired else '0'}"
            )
        if self.condition_noise and not getattr(self, "conditional", True):
            raise ConfigError(
                f"model.condition_noise={self.condition_noise} with model.conditional=False: such a network has no embedding for "
                "the noise; change one of the two"
            )
        if self.condition_noise and self.condition_image == "none":
            raise ConfigError(
                f"model.condition_noise={self.condition_noise} with model.condition_image='none': there is no image to which noise is "
                "added; set it to 0, or set condition_image"
            )

    def check_fits(self) -> None:
        """Refuse fields that are each in range but together define no network, or none for images of this size."""

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Build the network from the fields of the same names in config.data (OF_DATA) and config.model.

        Raises:
          ConfigError: a field is not there, as that of a network registered after the configuration was made.
        """
        given: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if field.name not in cls.UNCONFIGURED:
                section = "data" if field.name in OF_DATA else "model"
                if field.name not in config[section]:
                    raise absent(f"{section}.{field.name}")
                value = config[section][field.name]
                given[field.name] = tuple(value) if isinstance(value, (list, tuple)) else value
        return cls(**given)

    def _block_call(self, block: nn.Module) -> Callable[..., Any]:
        """Return the block as a function, rematerialised if `remat` is set; its name, and its parameters' names, do not change."""
        if not self.remat:
            return block
        again = nn.remat(lambda block, *arguments: block(*arguments))
        return functools.partial(again, block)

    @staticmethod
    def conditions(config: Any) -> tuple[str, ...]:
        """Names (in data/conditions.py) of what is read with each image to condition the configured network."""
        read = {"label": config.model.num_classes, "paired": config.model.condition_channels}
        return tuple(name for name, wanted in read.items() if wanted)

    def null_condition(self, condition: Any) -> Any:
        """Return the null condition, of the same structure as `condition`.

        Raises:
          ValueError: the network does not take such a condition.
        """
        if self.condition_interval and isinstance(
            condition, dict
        ):  # the interval carries no information about the image
            condition = {name: of for name, of in condition.items() if name != INTERVAL}
        words = bool(getattr(self, "words", ""))  # whether the network takes texts
        return null_condition(
            condition, self.num_classes, self._condition_shape, bool(self.condition_noise), words
        )

    @property
    def _condition_shape(self) -> tuple[int, ...] | None:
        """Shape (h, w, c) of the condition image; None if there is none."""
        if self.condition_image == "none":
            return None
        channels = self.condition_channels or self.num_channels
        return (*sides(self.image_size, self.image_width), channels)

    def inputs(self, x: Pixels, noise_input: Array, condition: Any) -> tuple[Array, Array]:
        """Cast images and noise input to float32 or wider, and append the condition image as extra channels.

        Raises:
          ValueError: x is not (b, h, w, num_channels), noise_input is not (b,), or the network does not take the condition.
        """
        check_input(x.shape, noise_input.shape, self)
        real = jnp.promote_types(x.dtype, jnp.float32)
        return self.with_image(x.astype(real), condition), noise_input.astype(real)

    def with_image(self, x: Pixels, condition: Any) -> Array:
        """Append the condition image to x as extra channels, or zeros if the condition has no image.

        Raises:
          ValueError: the network does not take the condition.
        """
        self.null_condition(condition)
        if self._condition_shape is None:
            return x
        nothing = jnp.zeros((len(x), *self._condition_shape))
        image = dict(condition).get("image", nothing)
        return jnp.concatenate([x, image.astype(x.dtype)], axis=-1)

    def with_levels(self, embedding: Any, condition: Any) -> Any:
        """Add the embeddings of the condition image's noise and of the interval length, if used, to that of the noise level, (b, f)."""
        return self._with_interval(self._with_image_noise(embedding, condition), condition)

    def _with_image_noise(self, embedding: Any, condition: Any) -> Any:
        if embedding is None or not self.condition_noise:
            return embedding
        b, features = embedding.shape
        std = dict(condition).get("image_noise", jnp.zeros(b))
        labels = (LABELS * std / self.condition_noise).astype(embedding.dtype)
        return embedding + LevelEmbedding(features, name="image_noise")(labels)

    def _with_interval(self, embedding: Any, condition: Any) -> Any:
        """Add the embedding of the interval length, which is 0 if the condition has none."""
        if embedding is None or not self.condition_interval:
            return embedding
        b, features = embedding.shape
        length = dict(condition).get(INTERVAL, jnp.zeros(b)).astype(embedding.dtype)
        return embedding + LevelEmbedding(features, name=INTERVAL)(length)


def check_input(x_shape: Sequence[int], noise_input_shape: Sequence[int], network: Any) -> None:
    """Raise ValueError unless the images of a call are (b, h, w, channels) and its noise input (b,)."""
    h, w = sides(network.image_size, network.image_width)
    if len(x_shape) != 4 or tuple(x_shape[1:]) != (h, w, network.num_channels):
        raise ValueError(
            f"The network takes images of shape (batch, {h}, {w}, {network.num_channels}), channels "
            f"last, but x has shape {tuple(x_shape)}. Set data.image_size, data.image_width and data.num_channels to the images'."
        )
    if tuple(noise_input_shape) != (x_shape[0],):
        raise ValueError(
            f"The network takes one noise level per image, shape ({x_shape[0]},), but noise_input has shape "
            f"{tuple(noise_input_shape)}. Broadcast a single time with jnp.full((batch,), t)."
        )
