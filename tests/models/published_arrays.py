"""Golden files of published networks: their arrays, their weights by name, images as (b, h, w, c)."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden" / "peers"
# Compiling is nearly all the time of these tests, and -O0 changes no formula.
FAST_COMPILE = {"xla_backend_optimization_level": 0}


def arrays_of(name):
    """Arrays and options of a file by name."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = dict(file)
    return arrays, json.loads(str(arrays["config_json"]))


def weights(arrays, prefix="state_dict"):
    """A state dict, of its float32 numbers' bytes: of numbers of few bits the file has the two that are not 0."""
    stored = arrays[f"{prefix}_bytes"]
    planes = np.zeros((4, stored.shape[1]), np.uint8)
    planes[4 - len(stored) :] = stored
    flat = np.ascontiguousarray(planes.T).view("<f4")[:, 0]
    found, start = {}, 0
    for name, shape in json.loads(str(arrays[f"{prefix}_names"])):
        size = int(np.prod(shape))
        found[name] = flat[start : start + size].reshape(shape)
        start += size
    return found


def nhwc(x):
    return np.transpose(x, (0, 2, 3, 1))


def relative_error(got, expected):
    return np.abs(np.asarray(got) - expected).max() / np.abs(expected).max()


def number_of_parameters(network):
    """Of a square network, from shapes alone."""
    side, channels = network.image_size, network.num_channels
    image = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    shapes = jax.eval_shape(
        network.init, jax.random.key(0), image, jax.ShapeDtypeStruct((1,), jnp.float32)
    )
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))
