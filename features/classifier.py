"""A small classifier of the dataset's own classes, trained in seconds: features for data that no pretrained network fits.

A Frechet distance of features of a digit classifier captures what distinguishes digits, as Inception's does for photographs. Figures
are comparable only for equal weights, which depend on the training images and the kind of processor; their SHA-256 is recorded.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float, Int

from score_sde import data
from score_sde.data.fingerprint import hash_of_some, image_settings
from score_sde.data.image_shape import image_shape
from score_sde.data.loader import labels_of
from score_sde.errors import ConfigError, UserError
from score_sde.features.levels import in_unit
from score_sde.files import write_whole
from score_sde.keys import Stream, stream_key
from score_sde.npz import read_npz
from score_sde.progress import progress_bar
from score_sde.shapes import Array

CLASSIFIER = "classifier"
WIDTH = 64  # number of features
CHANNELS = (
    32,
    64,
    128,
)  # of the convolutions, all but the first of which halve the image; any further ones are like the last
SMALLEST = 2  # pixels of the shorter side after the last halving
BATCH, UPDATES, LEARNING_RATE = 128, 200, 3e-3
CHUNK = 512  # held-out images per batch
# Not config.seed, so that samples drawn from other noise are compared by the same features; the value of its default.
SEED = 42

Images = Float[Array, "b h w c"]


class Seen(NamedTuple):
    """Outputs of the classifier for images in [0, 1]."""

    features: Float[Array, "b width"]
    logits: Float[Array, "b classes"]


class Classifier(nn.Module):
    """Convolutions, mean over positions, a linear layer to normalized features, and a linear layer to the classes.

    The features of each image have mean 0 and mean square 1, whatever scale training gave them, so that KID's kernel
    (x.y/d + 1)^3 lies between 0 and 8.
    """

    num_classes: int

    @nn.compact
    def __call__(self, x: Images) -> Seen:
        x, channels = 2.0 * x - 1.0, channels_for(min(x.shape[1:3]))
        for i, width in enumerate(channels):
            x = nn.relu(nn.Conv(width, (3, 3), strides=2 if i else 1)(x))
        features = nn.LayerNorm(use_scale=False, use_bias=False)(
            nn.Dense(WIDTH)(x.mean(axis=(1, 2)))
        )
        return Seen(features, nn.Dense(self.num_classes)(features))


def channels_for(side: int) -> tuple[int, ...]:
    """Channels of the convolutions for images with this shorter side: larger images are halved more often, to the same size."""
    halvings = max(math.ceil(math.log2(side / SMALLEST)), len(CHANNELS) - 1)
    return (*CHANNELS, *[CHANNELS[-1]] * (halvings + 1 - len(CHANNELS)))


def check_classifier(config: Any) -> None:
    """Refuse a classifier of a dataset that data.label restricts to one class."""
    if config.data.label >= 0:
        raise ConfigError(
            f"evaluation.features={CLASSIFIER} learns to tell classes apart, but data.label={config.data.label} leaves only one; leave "
            "data.label out, or use other features"
        )


def load_classifier(
    config: Any, workdir: Path | None
) -> tuple[Callable[[np.ndarray], Seen], dict[str, Any]]:
    """The classifier of the training split, read from <workdir>/evaluation or trained now and saved there, and facts about it.

    Returns:
      classify: a compiled function of images in [0, 1].
      facts: "sha256" of its weights and "accuracy" on the test split, for the record.

    Raises:
      UserError: a dataset without labels or with only one class, or a damaged file of weights.
    """
    # With the dataset's own labels, which no other network sees.
    splits = data.load(config, ("label",))
    num_classes = 1 + int(max(labels_of(split).max() for split in (splits.train, splits.test)))
    if num_classes < 2:
        raise UserError(
            f"evaluation.features={CLASSIFIER}: {config.data.name!r} has only one class, so there is nothing to classify; use other features"
        )
    network = Classifier(num_classes)
    kept = None if workdir is None else workdir / "evaluation" / f"{identity(config, splits)}.npz"
    params = (
        trained(config, network, splits.train)
        if kept is None or not kept.exists()
        else read(config, network, kept)
    )
    if kept is not None and not kept.exists() and jax.process_index() == 0:
        arrays = flatten_dict(params, sep="/")
        write_whole(kept, lambda file: np.savez(file, **arrays))
    classify = functools.partial(jax.jit(network.apply), {"params": params})
    accuracy = held_out_accuracy(classify, splits.test, config.data.num_levels)
    return classify, {"sha256": digest_of(params), "accuracy": accuracy}


def identity(config: Any, splits: Any) -> str:
    """A file name with a hash of everything that determines the weights."""
    about = [
        SEED,
        image_settings(config.data),
        splits.fingerprint,
        hash_of_some(splits.train),
        channels_for(min(image_shape(config.data)[:2])),
        WIDTH,
        BATCH,
        UPDATES,
        LEARNING_RATE,
    ]
    return f"classifier-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]}"


def digest_of(params: Any) -> str:
    """SHA-256 of the weights, sorted by name."""
    found = hashlib.sha256()
    for name, array in sorted(flatten_dict(params, sep="/").items()):
        found.update(name.encode() + np.asarray(array).tobytes())
    return found.hexdigest()


def first_params(config: Any, network: Classifier) -> Any:
    """Initial parameters of the classifier, determined by SEED."""
    image = jnp.zeros((1, *image_shape(config.data)))
    return network.init(stream_key(SEED, Stream.CLASSIFIER_INIT), image)["params"]


def trained(config: Any, network: Classifier, split: Any) -> Any:
    """Train by UPDATES steps of Adam on the cross-entropy, with a cosine learning-rate decay to 0."""
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, UPDATES))
    params = first_params(config, network)
    state = optimizer.init(params)

    @jax.jit
    def update(
        params: Any, state: Any, images: Images, labels: Int[Array, " b"]
    ) -> tuple[Any, Any]:
        def loss(params: Any) -> Float[Array, ""]:
            seen: Any = network.apply({"params": params}, images)
            return optax.softmax_cross_entropy_with_integer_labels(seen.logits, labels).mean()

        step, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, step), state

    batches = split.batches(SEED, min(BATCH, split.num_images))
    with progress_bar(UPDATES, "classifier", "update") as bar:
        for _, batch in zip(range(UPDATES), batches, strict=False):
            images = in_unit(batch.images, config.data.num_levels)
            params, state = update(params, state, images, batch.condition["label"])
            bar.update(1)
    return jax.device_get(params)


def read(config: Any, network: Classifier, path: Path) -> Any:
    """Read saved weights; UserError if the file is damaged."""
    shapes = jax.eval_shape(lambda: first_params(config, network))
    expected = {name: of.shape for name, of in flatten_dict(shapes, sep="/").items()}
    try:
        arrays = read_npz(path)
        if {name: array.shape for name, array in arrays.items()} != expected:
            raise ValueError("it holds other arrays")
    except ValueError as error:
        raise UserError(
            f"{path}, the classifier of evaluation.features={CLASSIFIER}, is damaged ({error}); remove the file to train it again"
        ) from error
    return unflatten_dict(arrays, sep="/")


def held_out_accuracy(classify: Callable[[np.ndarray], Seen], split: Any, levels: int) -> float:
    """Accuracy on a split: the share of images whose own class has the largest logit."""
    right = 0
    for start in range(0, split.num_images, CHUNK):
        batch = split.take(np.arange(start, min(start + CHUNK, split.num_images)))
        logits = np.asarray(classify(in_unit(batch.images, levels)).logits)
        right += int((logits.argmax(axis=1) == batch.condition["label"]).sum())
    return right / split.num_images
