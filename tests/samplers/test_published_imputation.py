"""The published loop of inpainting and colorization: a recursion of matrices for DDPM's chain, with its three oddities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.measurements.axes import grey
from score_sde.measurements.coordinates import Coordinates
from score_sde.measurements.measurement import Measurement
from score_sde.models.exact import GaussianScore
from score_sde.samplers.imputation import imputing
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.published_imputation import PublishedImputation
from score_sde.sde_lib import VP
from tests.samplers.gaussian_law import MU, SIGMA

SDE = VP(0.1, 4.0)  # so that a chain of few levels exists
N, EPS, SNR, CORRECTIONS = 6, 1e-3, 0.2, 2
SLOTS = 3 + CORRECTIONS
SHAPE = (1, 1, 3)
GREY = np.full((1, 3), 1 / 3)


def affine(sampler, score, y):
    """Offset and matrix (3, 3 + N SLOTS 3) of the result in the start and all noises, as (3,) and its columns' law."""
    inputs = np.concatenate([np.zeros((1, 3 + N * SLOTS * 3)), np.eye(3 + N * SLOTS * 3)])
    count = len(inputs)
    start = inputs[:, :3].reshape(count, *SHAPE)
    z = np.moveaxis(inputs[:, 3:].reshape(count, N, SLOTS, *SHAPE), 0, 2)
    noise = RecordedNoise(jnp.asarray(start), jnp.asarray(z))
    told = {"measured": jnp.broadcast_to(jnp.asarray(y), (count, *np.shape(y)))}
    grid = sampler.times(EPS)
    run = jax.jit(lambda score: sampler(score, grid, noise, jnp.asarray(start)).x)
    out = np.asarray(run(score.given(told))).reshape(count, 3)
    matrix = (out[1:] - out[0]).T
    return out[0], matrix @ matrix.T


def recursion(known, rest, measured, blank, corrects, denoises):
    """Of x as published: `known` and `rest` are projections, `blank` the pixels at which the prior is 0."""
    keep = np.diag(1.0 - blank)
    mean, covariance = measured, keep @ keep.T
    betas = np.linspace(0.1 / N, 4.0 / N, N)

    def moved(matrix, offset, spread):
        return matrix @ mean + offset, matrix @ covariance @ matrix.T + spread

    for t in np.linspace(1.0, EPS, N):
        beta = betas[int(t * (N - 1))]
        alpha = np.exp(-0.5 * (0.1 * t + 0.5 * (4.0 - 0.1) * t**2))
        sigma = np.sqrt(1.0 - alpha**2)
        inverse = np.linalg.inv(alpha**2 * SIGMA + sigma**2 * np.eye(3))

        def put_in(alpha=alpha, sigma=sigma):
            return moved(rest, alpha * measured, sigma**2 * known)

        if corrects:
            h = 2 * (1 - beta) * (SNR * sigma) ** 2
            for _ in range(CORRECTIONS):
                step = np.eye(3) - h * inverse
                mean, covariance = moved(step, h * alpha * inverse @ MU, 2 * h * np.eye(3))
        mean, covariance = put_in()
        step = (2 - np.sqrt(1 - beta)) * np.eye(3) - beta * inverse
        mean, covariance = moved(step, beta * alpha * inverse @ MU, beta * np.eye(3))
        mean, covariance = put_in()
    if denoises:  # the known part's noise is left out, that of the rest stays
        covariance = rest @ covariance @ rest
    return mean, covariance


@pytest.mark.parametrize("denoises", [True, False])
@pytest.mark.parametrize("corrects", [True, False])
@pytest.mark.parametrize("what", ["pixels", "grey"])
def test_the_law_by_recursion(x64, what, corrects, denoises):
    model = GaussianScore.create(jnp.asarray(MU), jnp.asarray(SIGMA), SDE)
    if what == "pixels":
        linear = Coordinates.of_mask(np.array([[[True, False, False]]]), SHAPE)
        y, matrix, blank = np.array([0.7]), np.array([[1.0, 0.0, 0.0]]), np.array([1.0, 0.0, 0.0])
    else:  # the red channel is blanked, not the grey
        linear, y, matrix = grey(SHAPE), np.array([[[0.7]]]), GREY
        blank = np.array([1.0, 0.0, 0.0])
    score = imputing(model, Measurement.of(linear, 0.0), SDE)
    known = np.linalg.pinv(matrix) @ matrix
    measured = np.linalg.pinv(matrix) @ y.reshape(1)
    sampler = PublishedImputation(
        SDE, "reverse_diffusion", "ald" if corrects else "none", N, SNR, CORRECTIONS, denoises
    )
    got = affine(sampler, score, y)
    expected = recursion(known, np.eye(3) - known, measured, blank, corrects, denoises)
    for one, other in zip(got, expected, strict=True):
        assert_allclose(one, other, atol=1e-10)
