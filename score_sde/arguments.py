"""Checks and conversions of the arguments that a script gives to `Trained`, before anything is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.data.array_files import check_levels
from score_sde.data.text import numbers
from score_sde.errors import ConfigError
from score_sde.models.networks import check_no_class, condition_names


def is_whole(number: Any) -> bool:
    """Whether this is one integer of Python, NumPy or JAX; True and False are none."""
    return np.ndim(number) == 0 and np.asarray(number).dtype.kind in "iu"


def whole_number(name: str, number: Any) -> int:
    """Return an integer of Python, NumPy or JAX as Python's.

    Raises:
      ConfigError: a boolean, or anything else that is not an integer.
    """
    if not is_whole(number):
        raise ConfigError(f"{name}={number!r}: expected an integer, such as 16")
    return int(number)


def class_labels(labels: Any) -> tuple[int, ...]:
    """Return a label, or a list or array of labels, as a tuple.

    Raises:
      ConfigError: labels that are not integers, which a conversion would truncate silently.
    """
    given = np.asarray(labels, object)
    if given.ndim > 1 or not all(map(is_whole, given.flat)):
        raise ConfigError(
            f"labels={labels!r}: expected integers, either one class or a list or array (n,) of classes, such as [3, 2]"
        )
    return tuple(map(int, given.flat))


def bound_condition(
    config: Any, what: str, num_images: int, labels: Any = None, texts: Any = None
) -> Any:
    """The condition of `num_images` images of these classes or texts; `()` if neither is given.

    A single label or text is that of every image.

    Raises:
      ConfigError: conditions that do not fit the images or the network, or none for a network that requires them. `what` is
        computed from the condition.
    """
    given = {name: of for name, of in {"label": labels, "text": texts}.items() if of is not None}
    if not given:
        check_no_class(config, f"{what} without labels or texts")
        return ()
    names = condition_names(config)
    if set(given) != set(names):
        raise ConfigError(
            f"{what} with a {' and a '.join(given)} of each image: the network is conditioned on {' and '.join(names) or 'nothing'}; give that, or "
            "nothing for the unconditional model"
        )
    return {name: CONDITIONS[name](config, num_images, of) for name, of in given.items()}


def labels_of_images(config: Any, num_images: int, labels: Any) -> Array:
    """The class of each image, int32 (n,)."""
    listed = list(class_labels(labels)) * (num_images if np.ndim(labels) == 0 else 1)
    if len(listed) != num_images:
        raise ConfigError(
            f"labels={listed} of {num_images} images: expected one for each, or a single one for all"
        )
    num_classes = config.model.num_classes
    if any(not 0 <= label < num_classes for label in listed):
        raise ConfigError(
            f"labels={listed}: expected classes from 0 to {num_classes - 1} (model.num_classes={num_classes}), or no labels "
            "for the unconditional model"
        )
    return jnp.asarray(listed, jnp.int32)


def texts_of_images(config: Any, num_images: int, texts: Any) -> Array:
    """The word numbers of each image's text, int32 (n, words of the longest text)."""
    listed = [texts] * num_images if isinstance(texts, str) else list(texts)
    if len(listed) != num_images or not all(isinstance(text, str) for text in listed):
        raise ConfigError(
            f"texts={listed} of {num_images} images: expected a string for each, or a single one for all"
        )
    return jnp.asarray(numbers(listed, config.model.words.split(), "texts"))


CONDITIONS = {"label": labels_of_images, "text": texts_of_images}
"""What makes each part of a condition, named as in `condition_names`."""


def stored_images(config: Any, shape: Sequence[int], images: Any) -> np.ndarray:
    """Return stored images (n, *shape) as an array.

    Raises:
      UserError: another shape, no images, or other levels than those of the configuration.
    """
    images = np.asarray(images)
    if images.shape[1:] != tuple(shape) or not len(images):
        raise ConfigError(
            f"encode: images of shape {images.shape}, expected {_many(shape)}, at least one; images[None] makes a batch of a single image"
        )
    check_levels(config, "encode", images)
    return images


def model_arrays(what: str, shape: Sequence[int], x: Any) -> np.ndarray:
    """Return the model's arrays (n, *shape), real numbers; `what` is computed from them.

    Raises:
      ConfigError: another shape, no images, integers, or values that are not finite.
    """
    x = np.asarray(x)
    if x.shape[1:] != tuple(shape) or not len(x) or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ConfigError(
            f"{what} of {x.dtype} {x.shape}: expected the model's arrays, real numbers {_many(shape)}, at least one image; "
            "encode(images) gives those of stored images"
        )
    finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
    if not finite.all():
        raise ConfigError(
            f"{what}: x[{int(np.argmin(finite))}] has NaN or infinite values; leave out {np.sum(~finite)} of the {len(x)} images"
        )
    return x


def _many(shape: Sequence[int]) -> str:
    return f"(n, {', '.join(map(str, shape))})"
