"""Great-circle interpolation between latents that are neither orthogonal nor of length 1."""

import jax.numpy as jnp
import numpy as np

from score_sde.generation.latents import slerp


def test_slerp_cuts_any_angle_into_equal_parts():
    """Four steps of 15 degrees, from 10 to 70 on a circle of radius 3."""
    first, second = (3 * jnp.asarray([np.cos(a), np.sin(a)]) for a in np.radians([10.0, 70.0]))
    points = np.stack([slerp(first, second, weight) for weight in np.linspace(0.0, 1.0, 5)])
    angles = np.radians([10.0, 25.0, 40.0, 55.0, 70.0])
    expected = 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(points, expected, atol=2e-6)
