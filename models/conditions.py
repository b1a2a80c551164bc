"""What a network is told of each image beside its noise: `{"label": (b,)}`, its class, an integer; `()`: nothing.

A class is a vector that is added to the embedding of the noise level, after its two dense layers and before every
block's, as in Dhariwal and Nichol 2021's networks: all blocks see it, by no layer of their own. "No class" is a vector
like the others, the last of num_classes + 1, learnt from images whose label was dropped (Ho & Salimans 2022, Algorithm 1).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.models.embeddings import looked_up
from score_sde.models.score import takes_none
from score_sde.shapes import Array, Integers


def null_condition(condition: Any, num_classes: int) -> Any:
    """The condition of the same structure that says "no class" of every image.

    Raises:
        ValueError: a condition that a network of so many classes does not take.
    """
    if not (num_classes and jax.tree.leaves(condition)):
        return takes_none(condition)
    given = jax.tree.map(jnp.asarray, condition)
    if not (isinstance(given, dict) and set(given) == {"label"} and _is_integer(given["label"])):
        raise ValueError(
            f"a network of {num_classes} classes was given {jax.tree.map(jax.typeof, given)}: expected "
            '{"label": integers (b,)}, or () for no class'
        )
    return {"label": jnp.full_like(given["label"], num_classes)}


def _is_integer(labels: Array) -> bool:
    return labels.ndim == 1 and jnp.issubdtype(labels.dtype, jnp.integer)


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
    """The embedding of the noise level with that of the class added, in a network of classes; `name` is the table's.

    Raises:
        ValueError: a condition that the network does not take.
    """
    null_condition(condition, num_classes)
    if embedding is None or not num_classes:
        return embedding
    b, features = embedding.shape
    classes = ClassEmbedding(num_classes, features, stddev, name=name)
    return embedding + classes(labels_or_none(condition, b, num_classes))


def labels_or_none(condition: Any, b: int, num_classes: int) -> Integers:
    """The labels of a condition, or of no class."""
    return condition["label"] if condition else jnp.full(b, num_classes)


def class_indicator(
    condition: Any, num_classes: int, b: int, dtype: Any
) -> Float[Array, "b {num_classes}"]:
    """1 at the place of each image's class and 0 elsewhere; 0 everywhere for no class; NaN for any other number."""
    labels = {name: given for name, given in dict(condition).items() if name == "label"}
    table = jnp.eye(num_classes + 1, num_classes, dtype=dtype)
    return looked_up(table, labels_or_none(labels, b, num_classes))
