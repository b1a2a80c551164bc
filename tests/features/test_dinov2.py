"""DINOv2's vision transformer with random weights, against a PyTorch reimplementation in float64 (tests/golden/dinov2.npz).

The weights are not stored: they are drawn by the recipe of the golden data, in the order of their names. The reimplementation uses
PyTorch's own layers (convolution, attention, layer normalization, interpolation by a scale factor of 16.1 / 37).
"""

import math
from pathlib import Path

import jax
import numpy as np
import PIL.Image
import pytest

from score_sde.errors import UserError
from score_sde.features.dinov2 import (
    DEVIATION,
    MEAN,
    SIDE,
    TRAINED_PLACES,
    DINOv2,
    dinov2_features,
    moved,
    preprocessed,
)
from score_sde.features.dinov2_weights import DINOV2, name
from score_sde.features.weights_file import parameters_of
from score_sde.foreign_weights.names import to_tree

GOLDEN = Path(__file__).parents[1] / "golden" / "dinov2.npz"
SMALL = DINOv2(width=32, depth=3, heads=4)
SIZES = [(32, 28), (300, 260)]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def drawn_weights(shapes, seed):
    """Kernels of variance 1 / inputs, scales around 1, biases of deviation 0.1, tokens and positions of 0.5."""
    rng = np.random.Generator(np.random.PCG64(seed))
    weights = {}
    for key, shape in sorted(shapes.items()):
        z = rng.standard_normal(shape)
        if key.endswith("weight") and len(shape) > 1:
            z = z / math.sqrt(math.prod(shape[1:]))
        elif key.endswith(("weight", "gamma")):
            z = 1 + 0.2 * z
        else:
            z = (0.1 if key.endswith("bias") else 0.5) * z
        weights[key] = z.astype(np.float32)
    return weights


def small_parameters():
    return parameters_of(SMALL, (1, SIDE, SIDE, 3), name)


def drawn_small(seed):
    shapes = {p.name: p.shape for p in small_parameters()}
    return drawn_weights(shapes | {"mask_token": (1, SMALL.width)}, seed)


def images(height, width, count=2):
    rng = np.random.Generator(np.random.PCG64(height))
    return rng.integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def of_largest(expected):
    """A tolerance that is the same for all features."""
    return 1e-5 * np.abs(expected).max()


@pytest.fixture(scope="module")
def weights(golden):
    return drawn_small(int(golden["seed"]))


@pytest.fixture(scope="module")
def run(weights):
    params = to_tree(list(small_parameters()), weights)
    return jax.jit(lambda images: SMALL.apply({"params": params}, preprocessed(images)))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_features_are_pytorchs(run, golden, size):
    """For images that are enlarged or reduced; to 1e-5 of the largest float64 value."""
    expected = golden[f"{size[0]}/features"]
    np.testing.assert_allclose(run(images(*size)), expected, rtol=0, atol=of_largest(expected))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_images_are_prepared_as_pytorch_does(golden, size):
    """To 1e-4, 1/170 of a level: float32 positions among 300 rows are off by 2e-5, and adjacent levels of noise differ by up to 255."""
    given = preprocessed(images(*size))[:, ::23, ::19]
    np.testing.assert_allclose(given, golden[f"{size[0]}/prepared"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_images_are_prepared_as_pillow_does_but_for_rounding(size):
    """dgm-eval uses Pillow, which rounds to whole levels after columns and after rows; medium levels are never clipped."""
    (image,) = 100 + images(*size, count=1) % 56
    expected = np.asarray(
        PIL.Image.fromarray(image).resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC)
    )
    levels = 255 * (np.asarray(preprocessed(image[None])[0]) * DEVIATION + MEAN)
    apart = levels - expected
    assert np.abs(apart).max() < 1.5
    assert abs(apart.mean()) < 0.02


def test_positions_are_interpolated_as_pytorch_does(weights, golden):
    """From 37 positions to 16, with a scale factor for 16.1 and without antialiasing."""
    found = moved(weights["pos_embed"][0, 1:], (16, 16))[:, :4]
    np.testing.assert_allclose(found, golden["positions"], rtol=0, atol=3e-6)


def test_positions_of_images_as_it_was_trained_on_stay(weights):
    own = weights["pos_embed"][0, 1:]
    np.testing.assert_array_equal(moved(own, (TRAINED_PLACES,) * 2), own)


def test_parameters_are_as_many_as_the_public_files():
    """The file's 1,217,586,395 bytes are four per number, plus 111,835 of metadata."""
    numbers = sum(math.prod(shape) for shape in DINOV2.shapes.values())
    assert numbers == 304_368_640
    assert 4 * numbers < 1_217_586_395 < DINOV2.most_bytes
    assert len(DINOV2.shapes) == 343


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), "float32 of shape"),
        (np.zeros((1, 8, 8, 1), np.uint8), r"\(1, 8, 8, 1\)"),
    ],
)
def test_what_is_no_levels_of_colour_is_refused(levels, words):
    with pytest.raises(UserError, match=words):
        dinov2_features({}, levels)


@pytest.mark.slow
def test_features_of_the_whole_network(golden):
    """The full size of ViT-L, 1.2 GB of weights."""
    weights = drawn_weights(DINOV2.shapes, int(golden["seed"]))
    total = sum(array.sum(dtype=np.float64) for array in weights.values())
    assert total == pytest.approx(float(golden["full/sum"]), rel=1e-9)
    params = to_tree(list(DINOV2.parameters()), weights)
    found = jax.jit(dinov2_features)(params, images(32, 28, count=1))
    expected = golden["full/features"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=of_largest(expected))
