"""The twisted diffusion sampler against the Gaussian distribution of its chain, by a recursion of matrices, in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose

from score_sde.errors import ConfigError
from score_sde.measurements.matrices import Matrix
from score_sde.measurements.measurement import Measurement
from score_sde.models.exact import GaussianScore
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.noise import START, IndexedNoise
from score_sde.samplers.resampling import RESAMPLING, effective_size, uniform
from score_sde.samplers.twisted import TDS, twisting
from score_sde.sde_lib import VP
from tests.fast_cases import fast_where
from tests.samplers.closed_forms import closed_form

SIGMA = np.array([[1.0, 0.8], [0.8, 1.0]])
A, STD, YS = np.array([[1.0, 0.5]]), 0.5, np.array([1.2, -0.4])
STEPS, EPS = 6, 1e-3


def chain():
    """Mean 0 and covariance of ancestral sampling's last state, from N(0, I)."""
    covariance = np.eye(2)
    times = [closed_form(VP(), t) for t in np.asarray(log_snr_grid(VP(), 1.0, EPS, STEPS), float)]
    for now, then in zip(times[:-1], times[1:], strict=True):
        a = now.alpha / then.alpha
        variance = now.sigma**2 - a**2 * then.sigma**2
        slope = -np.linalg.inv(now.alpha**2 * SIGMA + now.sigma**2 * np.eye(2))
        matrix = (np.eye(2) + variance * slope) / a
        covariance = matrix @ covariance @ matrix.T + variance * np.eye(2)
    return covariance


def setting(repetitions):
    """The score of as many runs for each y, the grid and the noise."""
    pair = GaussianScore.create(jnp.zeros(2), jnp.asarray(SIGMA), VP())
    score = twisting(pair, Measurement.of(Matrix.of(A, (2,)), STD), VP())
    told = {"measured": jnp.asarray(np.repeat(YS, repetitions)[:, None])}
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(2 * repetitions))
    return score.given(told), log_snr_grid(VP(), 1.0, EPS, STEPS), noise


def run(sampler, repetitions):
    """All particles after the last step."""
    score, grid, noise = setting(repetitions)

    @jax.jit
    def last(score):
        x = VP().prior_sample(noise(START, 0, jnp.zeros((2 * repetitions, 2))))
        return sampler.advance(score, grid, noise, 0, STEPS, sampler.begin(x))

    return last(score)


SAMPLERS = [
    (TDS(VP(), particles=1), 8000),
    (TDS(VP(), particles=4, threshold=1.0, resampling="multinomial"), 4000),
    (TDS(VP(), particles=16), 2000),
]


@pytest.mark.parametrize(
    ("sampler", "repetitions"),
    fast_where(lambda sampler, _: sampler.particles == 16, SAMPLERS),
    ids=["1", "4", "16"],
)
def test_the_mean_of_the_evidence_is_the_chains(x64, sampler, repetitions):
    """For every number of particles E[Z] = p(y), and E[Z f] = p(y) E[f | y] for f = 1, x and x_1 x_2, both for weighted particles
    and for the chosen one. Ten numbers for two measurements within 5 standard errors: a false alarm in 80,000."""
    state = run(sampler, repetitions)
    z = np.exp(np.asarray(state.evidence())).reshape(2, -1)
    weights = np.asarray(jax.nn.softmax(state.log_weights)).reshape(*z.shape, -1, 1)
    x = np.asarray(state.x).reshape(*weights.shape[:3], 2)
    chosen = np.asarray(sampler.result(state)).reshape(*z.shape, 1, 2)
    covariance = chain()
    variance = float((A @ covariance @ A.T)[0, 0]) + STD**2
    gain = covariance @ A[0] / variance
    spread = covariance - variance * np.outer(gain, gain)

    for m, y in enumerate(YS):
        mean = y * gain
        moments = np.array([1.0, *mean, spread[0, 1] + mean[0] * mean[1]])
        expected = scipy.stats.norm(0.0, np.sqrt(variance)).pdf(y) * moments
        for parts, share in ((x[m], weights[m]), (chosen[m], 1.0)):
            f = np.concatenate(
                [np.ones_like(parts[..., :1]), parts, parts[..., :1] * parts[..., 1:]], axis=-1
            )
            estimates = z[m][:, None] * np.sum(share * f, axis=1)
            errors = estimates.std(axis=0) / np.sqrt(repetitions)
            assert (np.abs(estimates.mean(axis=0) - expected) < 5 * errors).all()
            assert errors[0] < 0.015 * expected[0]
    sizes = np.asarray(state.least_size)
    assert 1 - 1e-9 < sizes.min() < sizes.mean() + 1e-9
    assert sizes.max() < sampler.particles + 1e-9


@pytest.mark.parametrize("name", RESAMPLING)
def test_resampling_is_unbiased(name):
    """Counts averaged over a fine grid of u: k w for each particle, to the resolution of the grid."""
    weights, n = np.array([0.05, 0.4, 0.0, 0.3, 0.25], np.float32), 4000
    u = (np.arange(n, dtype=np.float32) + 0.5) / n
    places = jax.jit(jax.vmap(lambda u: RESAMPLING[name](jnp.asarray(weights), jnp.full(5, u))))(u)
    counts = np.stack([np.sum(np.asarray(places) == i, axis=1) for i in range(5)], axis=1)
    assert_allclose(counts.mean(axis=0), 5 * weights, atol=5 / n)
    if name == "systematic":
        assert np.abs(counts - 5 * weights).max() < 1
    else:  # each by its own number
        assert_allclose(
            RESAMPLING[name](jnp.asarray(weights), jnp.array([0.0, 0.04, 0.06, 0.5, 0.99])),
            [0, 0, 1, 3, 4],
        )


def test_effective_size_and_uniform_numbers():
    sizes = effective_size(
        jnp.log(jnp.array([[1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 0.0, 0.0], [2.0, 1.0, 1.0, 0.0]]))
    )
    assert_allclose(sizes, [4.0, 1.0, 16 / 6], rtol=1e-6)
    assert_allclose(uniform(jnp.array([0.0, -40.0])), [0.5, 0.0])
    assert float(uniform(jnp.asarray(9.0))) < 1


def test_particles_are_resampled_below_the_threshold_only():
    """Half of 4 particles: weights of effective size 1 / (.97^2 + 3 .01^2) = 1.06 are resampled, to their mean of 1/4 each, and those of
    1 / (.4^2 + 3 .2^2) = 3.57 are kept. In the middle of the offsets the quantiles .125, .375, ... are all of the first particle."""
    sampler = TDS(VP(), particles=4, threshold=0.5)
    weights = jnp.log(jnp.array([[0.97, 0.01, 0.01, 0.01], [0.4, 0.2, 0.2, 0.2]]))
    state = dataclasses.replace(sampler.begin(jnp.zeros((2, 1))), log_weights=weights)
    taken, after = sampler._resampled(lambda step, slot, like: 0.0 * like, 0, state)
    np.testing.assert_array_equal(taken, [[0, 0, 0, 0], [0, 1, 2, 3]])
    np.testing.assert_array_equal(after.log_weights, [np.zeros(4), weights[1]])
    assert_allclose(after.log_evidence, [np.log(1 / 4), 0.0], rtol=1e-6)
    assert_allclose(after.least_size, [1.0625, 1 / 0.28], rtol=1e-3)


@pytest.mark.parametrize("k", [0, STEPS - 1])
def test_no_noise_is_used_twice(k):
    """Of particles resampled by the number that later chooses one, the choice would not be random."""
    score, grid, noise = setting(1)
    asked = []

    def noted(step, slot, like):
        asked.append((int(step), slot))
        return noise(step, slot, like)

    sampler = TDS(VP(), particles=4)
    jax.make_jaxpr(lambda x: sampler.step(score, grid, noted, k, sampler.begin(x)))(
        jnp.zeros((2, 2))
    )
    assert len(asked) >= 3
    assert len(set(asked)) == len(asked)


def test_evaluations_are_counted():
    """Evaluations of the model and of its transposed Jacobian, counted on the host, each for a batch of all particles."""
    calls = {"evaluations": 0, "products": 0}

    def count(what, x):
        def add(n):
            calls[what] += int(n)

        jax.debug.callback(add, len(x))

    @jax.custom_vjp
    def watched(x):
        count("evaluations", x)
        return x

    def forward(x):
        count("evaluations", x)
        return x, None

    def back(_, v):
        count("products", v)
        return (v,)

    watched.defvjp(forward, back)
    sampler, grid = TDS(VP(), particles=3), log_snr_grid(VP(), 1.0, EPS, 2)
    score = twisting(lambda x, t: -watched(x), Measurement.of(Matrix.of(A, (2,)), STD), VP())
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(2))
    out = sampler(score.given({"measured": jnp.ones((2, 1))}), grid, noise, jnp.zeros((2, 2)))
    jax.block_until_ready(out)
    jax.effects_barrier()
    assert calls == {"evaluations": 2 * out.nfe, "products": 2 * sampler.jacobian_products(2)}
    assert out.nfe == 6


def test_what_it_refuses():
    linear = Matrix.of(A, (2,))
    with pytest.raises(ConfigError, match="TDS with sigma_y=0"):
        twisting(None, Measurement.of(linear, 0.0), VP())
    for options in ({"particles": 0}, {"threshold": 1.5}, {"spread": -1.0}):
        with pytest.raises(
            ConfigError, match=f"TDS with .*{next(iter(options))}={next(iter(options.values()))}"
        ):
            TDS(VP(), **options)
    with pytest.raises(ConfigError, match="resampling='stratified' is unknown"):
        TDS(VP(), resampling="stratified")
    with pytest.raises(ConfigError, match="samples of the prior"):
        TDS(VP())(None, jnp.ones(2), None, jnp.zeros((1, 2)), x_start=jnp.zeros((1, 2)))
