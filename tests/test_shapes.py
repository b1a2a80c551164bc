"""Arrays whose shapes contradict a signature are refused in every test run (tests/shape_checks.py)."""

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from score_sde.guidance.classifier_free import ClassifierFree
from score_sde.likelihood.divergence import dot
from score_sde.measurements.fourier import hartley
from score_sde.models.score import denoise
from score_sde.samplers.predictors import batch_times
from score_sde.sde_lib import VP
from score_sde.sde_lib.base import time_derivative
from score_sde.spaces import PixelSpace
from score_sde.training.losses import denoising_error
from tests.shape_checks import CHECKED

THREE, TWO = jnp.ones((3, 2, 2, 1)), jnp.ones(2)

REFUSED = {
    "guidance": lambda: ClassifierFree(None, 1.0)(THREE, TWO),
    "likelihood": lambda: dot(THREE, THREE[:2]),
    "measurements": lambda: hartley(jnp.ones((3, 4), jnp.int32)),
    "models": lambda: denoise(VP(), THREE, THREE, TWO),
    "samplers": lambda: batch_times(THREE, TWO),
    "sde_lib": lambda: VP().marginal(THREE, TWO),
    "spaces": lambda: PixelSpace((2, 2, 1), None, True, False).encode_with(THREE, THREE[:2]),
    "training": lambda: denoising_error(THREE, TWO, THREE, True),
}


def test_all_that_is_checked_has_a_case():
    assert {part.split(".")[0] for part in CHECKED} == set(REFUSED)


@pytest.mark.parametrize("room", REFUSED)
def test_every_room_is_held_to_its_shapes(room):
    with pytest.raises(TypeCheckError, match="checking the parameters"):
        REFUSED[room]()


def test_a_result_is_held_to_its_shape():
    with pytest.raises(TypeCheckError, match="return value"):
        time_derivative(lambda t: jnp.ones(3) * jnp.sum(t), TWO)
