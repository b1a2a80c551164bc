"""Conditions of a network besides the noise level: a dictionary of arrays, or `()` for none.

    {"label": (b,)}                          class label, an integer
    {"image": (b, h, w, c)}                  image, in the units of the model
    {"image": ..., "image_noise": (b,)}      the same, with the standard deviation of the noise added to it
    {"text": (b, l)}                         words, integers from 1 on; shorter texts are padded with 0
    {..., "interval": (b,)}                  in addition to any of these, the length of a time interval (model.condition_interval)

A class is a vector added to the embedding of the noise level, after its two dense layers and before those of the blocks,
as in the networks of Dhariwal and Nichol 2021: all blocks see it, without layers of their own for it. "No class" is a
vector like the others, the last of num_classes + 1, learned from images whose label was dropped (Ho & Salimans 2022, Algorithm 1).

An image is appended to the network's input as extra channels, as in SR3 (Saharia et al. 2021) and Palette (Saharia et al.
2022); an image of zeros stands for none. The level of the noise added to it (Ho et al. 2022, cascades) is embedded like
the time, by sinusoids and two dense layers. A text enters by cross-attention (cross_attention.py); a text of zeros stands for none.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.models.embeddings import looked_up, positional_embedding
from score_sde.models.score import takes_none
from score_sde.shapes import Array, Integers


def null_condition(
    condition: Any,
    num_classes: int,
    image_shape: tuple[int, ...] | None = None,
    noisy: bool = False,
    words: bool = False,
) -> Any:
    """Return the null condition with the structure of `condition`: no class, an image of zeros, no words.

    Args:
        image_shape: (h, w, c) of the condition image; None if the network takes none.
        noisy: whether the network takes the noise level of that image.
        words: whether the network takes a text.

    Raises:
        ValueError: a network of these classes, images and texts does not take the condition.
    """
    expected = {
        **({"label": f"integers (b,) of {num_classes} classes"} if num_classes else {}),
        **({"image": f"real numbers (b, {_sizes(image_shape)})"} if image_shape else {}),
        **({"image_noise": "real numbers (b,)"} if noisy else {}),
        **({"text": "integers (b, l)"} if words else {}),
    }
    if not (expected and jax.tree.leaves(condition)):
        return takes_none(condition)
    given = jax.tree.map(jnp.asarray, condition)
    fits = {
        "label": lambda of: of.ndim == 1 and jnp.issubdtype(of.dtype, jnp.integer),
        "image": lambda of: of.shape[1:] == image_shape and jnp.issubdtype(of.dtype, jnp.floating),
        "image_noise": lambda of: of.ndim == 1 and jnp.issubdtype(of.dtype, jnp.floating),
        "text": lambda of: of.ndim == 2 and jnp.issubdtype(of.dtype, jnp.integer),
    }
    if not (
        isinstance(given, dict)
        and set(given) == set(expected)
        and all(isinstance(of, jax.Array) and fits[name](of) for name, of in given.items())
    ):
        listed = ", ".join(f'"{name}": {what}' for name, what in expected.items())
        raise ValueError(
            f"a conditional network was given {jax.tree.map(jax.typeof, given)}: expected "
            f"{{{listed}}}, or () for no condition"
        )
    nothing = {"label": num_classes, "image": 0.0, "image_noise": 0.0, "text": 0}
    return {name: jnp.full_like(of, nothing[name]) for name, of in given.items()}


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


class ClassEmbedding(nn.Module):
    """A learned vector per class, and a last one for "no class"; NaN for any other label.

    The initial vectors are as large as what they are added to, so classes differ from the first update on.
    """

    num_classes: int
    features: int
    stddev: float = 1.0
    """Standard deviation of the initial vectors' elements."""

    @nn.compact
    def __call__(self, labels: Integers) -> Float[Array, "b {self.features}"]:
        shape = (self.num_classes + 1, self.features)
        return looked_up(
            self.param("table", nn.initializers.normal(self.stddev), shape, jnp.float32), labels
        )


def with_class(
    embedding: Float[Array, "b f"] | None,
    condition: Any,
    num_classes: int,
    stddev: float = 1.0,
    name: str | None = None,
) -> Float[Array, "b f"] | None:
    """Add the class embedding, a module called `name`, to that of the noise level, if the network has classes."""
    if embedding is None or not num_classes:
        return embedding
    b, features = embedding.shape
    classes = ClassEmbedding(num_classes, features, stddev, name=name)
    return embedding + classes(labels_or_none(condition, b, num_classes))


def labels_or_none(condition: Any, b: int, num_classes: int) -> Integers:
    """The labels of a condition, or num_classes ("no class") for every image if it has none."""
    return dict(condition).get("label", jnp.full(b, num_classes))


LABELS = 999.0
"""Label of the largest noise of a condition image, the same as that of the last time."""


class LevelEmbedding(nn.Module):
    """Embedding of a number other than the time (a condition image's noise, an interval's length); zero in a fresh network."""

    features: int

    @nn.compact
    def __call__(self, labels: Float[Array, "b"]) -> Float[Array, "b {self.features}"]:
        hidden = nn.Dense(self.features, name="in")(positional_embedding(labels, self.features))
        zeros = nn.initializers.zeros
        return nn.Dense(self.features, kernel_init=zeros, name="out")(nn.silu(hidden))


def class_indicator(
    condition: Any, num_classes: int, b: int, dtype: Any
) -> Float[Array, "b {num_classes}"]:
    """One-hot encoding of each image's class; all zeros for "no class", NaN for any other label."""
    table = jnp.eye(num_classes + 1, num_classes, dtype=dtype)
    return looked_up(table, labels_or_none(condition, b, num_classes))
