"""Checks and conversions of the arguments that a script gives to `Trained`, before anything is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from score_sde.data.array_files import check_levels
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


def bound_condition(config: Any, what: str, num_images: int, labels: Any) -> Any:
    """The condition of `num_images` images of these classes; `()` if `labels` is None.

    A single label is that of every image.

    Raises:
      ConfigError: labels that do not fit the images or the network, or none for a network that requires them. `what` is
        computed from the condition.
    """
    if labels is None:
        check_no_class(config, f"{what} without labels")
        return ()
    listed = list(class_labels(labels)) * (num_images if np.ndim(labels) == 0 else 1)
    if condition_names(config) != ("label",) or len(listed) != num_images:
        raise ConfigError(
            f"labels={listed} of {num_images} images: expected one for each, and a network with model.num_classes"
        )
    num_classes = config.model.num_classes
    if any(not 0 <= label < num_classes for label in listed):
        raise ConfigError(
            f"labels={listed}: expected classes from 0 to {num_classes - 1} (model.num_classes={num_classes}), or no labels "
            "for the unconditional model"
        )
    return {"label": jnp.asarray(listed, jnp.int32)}


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
