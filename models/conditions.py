"""What a network is conditioned on beside the noise level; `()`: nothing.

    {"label": (b,)}                          its class, an integer
    {"image": (b, h, w, c)}                  an image, in the units of the model's
    {"image": ..., "image_noise": (b,)}      and the standard deviation of the noise that was added to that one
    {"text": (b, l)}                         words, integers from 1 on; 0 fills up texts that are shorter
    {..., "interval": (b,)}                  beside any of these, the length of an interval of time (model.condition_interval)

A class is a vector that is added to the embedding of the noise level, after its two dense layers and before every
block's, as in Dhariwal and Nichol 2021's networks: all blocks see it, by no layer of their own. "No class" is a vector
like the others, the last of num_classes + 1, learnt from images whose label was dropped (Ho & Salimans 2022, Algorithm 1).

An image is more channels of the network's input, as in SR3 (Saharia et al. 2021) and Palette (Saharia et al. 2022); one of zeros
says nothing. The noise that was added to it (Ho et al. 2022, cascades) is embedded as the time is, by sinusoids and two dense layers. A text has attention of
its own (cross_attention.py); one of zeros says nothing.
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
    """The condition of the same structure that says nothing of every image: no class, an image of zeros, no word.

    Args:
        image_shape: (h, w, c) of the condition image, None for none.
        noisy: the condition has that image's noise.
        words: the condition has a text.

    Raises:
        ValueError: a condition that a network of so many classes and of such images does not take.
    """
    expected = {
        **({"label": "integers (b,)"} if num_classes else {}),
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
        and all(fits[name](of) for name, of in given.items())
    ):
        listed = ", ".join(f'"{name}": {what}' for name, what in expected.items())
        raise ValueError(
            f"a network of {num_classes} classes was given {jax.tree.map(jax.typeof, given)}: expected "
            f"{{{listed}}}, or () for nothing"
        )
    nothing = {"label": num_classes, "image": 0.0, "image_noise": 0.0, "text": 0}
    return {name: jnp.full_like(of, nothing[name]) for name, of in given.items()}


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


class ClassEmbedding(nn.Module):
    """A vector for each class and a last one for "no class"; NaN for any other number.

    The first vectors are of the size of what they are added to: classes differ from the first update on.
    """

    num_classes: int
    features: int
    stddev: float = 1.0
    """Of the numbers of the first vectors."""

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
    """The embedding of the noise level with that of the class added, in a network of classes; `name` is the table's."""
    if embedding is None or not num_classes:
        return embedding
    b, features = embedding.shape
    classes = ClassEmbedding(num_classes, features, stddev, name=name)
    return embedding + classes(labels_or_none(condition, b, num_classes))


def labels_or_none(condition: Any, b: int, num_classes: int) -> Integers:
    """The labels of a condition, or of no class."""
    return dict(condition).get("label", jnp.full(b, num_classes))


LABELS = 999.0
"""Of the largest noise of a condition image, as the latest time has it."""


class LevelEmbedding(nn.Module):
    """The embedding of a number beside the time: the noise of the condition image, or an interval; zero in a fresh network."""

    features: int

    @nn.compact
    def __call__(self, labels: Float[Array, "b"]) -> Float[Array, "b {self.features}"]:
        hidden = nn.Dense(self.features, name="in")(positional_embedding(labels, self.features))
        zeros = nn.initializers.zeros
        return nn.Dense(self.features, kernel_init=zeros, name="out")(nn.silu(hidden))


def class_indicator(
    condition: Any, num_classes: int, b: int, dtype: Any
) -> Float[Array, "b {num_classes}"]:
    """1 at the place of each image's class and 0 elsewhere; 0 everywhere for no class; NaN for any other number."""
    labels = {name: given for name, given in dict(condition).items() if name == "label"}
    table = jnp.eye(num_classes + 1, num_classes, dtype=dtype)
    return looked_up(table, labels_or_none(labels, b, num_classes))
