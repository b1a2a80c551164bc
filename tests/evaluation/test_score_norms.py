"""Monte Carlo estimates of E|score|^2 / d and of the denoising error, within their standard errors of closed forms.

A comparison may be off by 5 standard errors, exceeded by chance once in 1.7 million; there are fewer than 50.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_sde.evaluation.score_norms import (
    ScoreNorms,
    ValuesAtTimes,
    at_times,
    score_norms,
    summarise,
)
from score_sde.models.exact import ProductMixtureScore
from score_sde.samplers.noise import RecordedNoise
from score_sde.sde_lib import VE, VP
from tests.samplers.closed_forms import PROCESSES, closed_form

TIMES = np.array([1e-3, 0.05, 0.3, 1.0])
WEIGHTS, MEANS, VARIANCES = np.array([0.3, 0.7]), np.array([-1.0, 0.6]), np.array([0.04, 0.09])


def images(n, d, seed=0):
    """Independent pixels of the mixture, as (n, d) and (n, d, 1)."""
    rng = np.random.default_rng(seed)
    k = (rng.random((n, d)) < WEIGHTS[1]).astype(int)
    return MEANS[k] + np.sqrt(VARIANCES[k]) * rng.standard_normal((n, d))


def mixture(sde):
    return ProductMixtureScore(*map(jnp.asarray, (WEIGHTS, MEANS, VARIANCES)), sde)


def quadrature(sde, t):
    """E score^2 of a pixel, from the density's logarithmic derivative by central differences."""
    alpha, sigma = closed_form(sde, t)[:2]
    std = np.sqrt(alpha**2 * VARIANCES + sigma**2)
    x = np.linspace(-9 * std.max() - alpha, 9 * std.max() + alpha, 200_001)
    log_density = np.logaddexp.reduce(
        np.log(WEIGHTS) + norm.logpdf(x[:, None], alpha * MEANS, std), axis=1
    )
    return np.trapezoid(np.exp(log_density) * np.gradient(log_density, x) ** 2, x)


def off(estimate, standard_error, expected):
    return np.abs(estimate - expected) / standard_error


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_mixture(x64, sde):
    """Gamma by quadrature; m = 1 - sigma^2 Gamma for an exact score."""
    x0 = jnp.asarray(images(4000, 6)).reshape(4000, 2, 3, 1)
    norms = score_norms(mixture(sde), sde, [(x0, ())], TIMES, jax.random.key(0))
    gamma = np.array([quadrature(sde, t) for t in TIMES])
    variances = np.array([closed_form(sde, t).sigma ** 2 for t in TIMES])
    assert np.all(off(norms.norms, norms.norms_se, gamma) < 5)
    assert np.all(off(norms.errors, norms.errors_se, 1 - variances * gamma) < 5)
    assert np.all(norms.norms_se < 0.02 * gamma)
    # Near T it is the measured m that is good, not 1 - sigma^2 Gamma.
    assert norms.errors_se[-1] < 1e-2 * variances[-1] * norms.norms_se[-1]


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_gaussian(x64, sde):
    """Gamma = 1 / c, m = alpha^2 l / c, and standard errors of chi squares: sqrt(2 / (n d)) of each, within 15 %."""
    n, d, variance = 2000, 5, 0.25
    score = ProductMixtureScore(jnp.ones(1), jnp.full(1, 0.5), jnp.full(1, variance), sde)
    x0 = 0.5 + 0.5 * np.random.default_rng(0).standard_normal((n, d))
    norms = score_norms(score, sde, [(jnp.asarray(x0), ())], TIMES, jax.random.key(0))
    alpha, sigma = np.array([closed_form(sde, t)[:2] for t in TIMES]).T
    c = alpha**2 * variance + sigma**2
    for estimate, error, expected in (
        (norms.norms, norms.norms_se, 1 / c),
        (norms.errors, norms.errors_se, alpha**2 * variance / c),
    ):
        assert np.all(off(estimate, error, expected) < 5)
        # The spread of a variance's own estimate from 2,000 chi squares of 5 degrees is some 2 %.
        np.testing.assert_allclose(error, expected * np.sqrt(2 / (n * d)), rtol=0.15)


def test_a_wrong_model_errs_more(x64):
    """Half the true score of N(0, 1): eps_hat = sigma x / 2, and m = E (eps - sigma x / 2)^2 = 1 - sigma^2 + sigma^2 / 4."""
    x0 = jnp.asarray(np.random.default_rng(0).standard_normal((4000, 4)))
    half = jax.tree_util.Partial(lambda x, t: -0.5 * x)
    norms = score_norms(half, VP(), [(x0, ())], TIMES, jax.random.key(0))
    variances = np.array([closed_form(VP(), t).sigma ** 2 for t in TIMES])
    assert np.all(off(norms.errors, norms.errors_se, 1 - 0.75 * variances) < 5)
    assert np.all(off(norms.norms, norms.norms_se, 0.25) < 5)


def test_batches_do_not_matter():
    """Each image has its own noise in any batch, and each level too."""
    x0 = jnp.asarray(images(10, 3), jnp.float32)
    together = score_norms(mixture(VE()), VE(), [(x0, ())], TIMES, jax.random.key(0))
    apart = score_norms(
        mixture(VE()),
        VE(),
        [(x0[a:b], ()) for a, b in ((0, 4), (4, 8), (8, None))],
        TIMES,
        jax.random.key(0),
    )
    for name in ("norms", "norms_se", "errors", "errors_se"):
        np.testing.assert_allclose(getattr(apart, name), getattr(together, name), rtol=1e-4)
    assert apart.num_images == together.num_images == 10

    times = np.array([0.5, 0.5 + 1e-6])
    levels = score_norms(mixture(VE()), VE(), [(x0, ())], times, jax.random.key(0))
    assert levels.norms[0] != pytest.approx(levels.norms[1], rel=1e-2)


def test_one_image_by_hand():
    """Score -x, x_0 = 1, noise given: x = alpha + sigma z, and both numbers follow."""
    z = jnp.array([[[[1.0, -2.0]]], [[[0.5, 0.0]]]])
    noise = RecordedNoise(jnp.zeros((1, 2)), z)
    times = jnp.array([0.1, 0.6])
    got = at_times(lambda x, t: -x, VP(), jnp.ones((1, 2)), times, noise)
    for level, t in enumerate((0.1, 0.6)):
        alpha, sigma = closed_form(VP(), t)[:2]
        eps = np.asarray(z[level, 0, 0])
        x = alpha + sigma * eps
        assert float(got.norms[level, 0]) == pytest.approx((x @ x) / 2, rel=1e-5)
        missed = eps - sigma * x
        assert float(got.errors[level, 0]) == pytest.approx((missed @ missed) / 2, rel=1e-5)


def test_mean_and_standard_error_of_given_numbers():
    """1, 2, 3, 6: mean 3, sample variance 14/3, hence standard error sqrt(14/12)."""
    batches = [ValuesAtTimes(jnp.array([a]), 2 * jnp.array([a])) for a in ([1.0, 2.0, 3.0], [6.0])]
    norms = summarise(batches, VP(), [0.5], 7)
    assert (norms.norms[0], norms.errors[0]) == (3.0, 6.0)
    assert norms.norms_se[0] == pytest.approx((14 / 12) ** 0.5, rel=1e-12)
    assert norms.errors_se[0] == pytest.approx(2 * (14 / 12) ** 0.5, rel=1e-12)
    assert (norms.num_images, norms.checkpoint_step) == (4, 7)
    with pytest.raises(ValueError, match="1 images: expected 2 or more"):
        summarise(batches[1:], VP(), [0.5], 7)
    with pytest.raises(ValueError, match="must increase"):
        summarise(batches, VP(), [0.5, 0.2], 7)


@pytest.fixture
def saved(tmp_path):
    values = [ValuesAtTimes(jnp.ones((4, 3)), jnp.arange(12.0).reshape(4, 3))]
    norms = summarise(values, VP(), TIMES, 300)
    norms.save(tmp_path / "norms.npz")
    return tmp_path / "norms.npz", norms


def test_file(saved):
    path, norms = saved
    loaded = ScoreNorms.load(path, VP(), 300, 1.0, 1e-3)
    assert vars(loaded).keys() == vars(norms).keys()
    for name, value in vars(norms).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    ScoreNorms.load(path, VP(), 300, 0.5, 2e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sde": VE()}, "is of the process VP.*but VE"),
        ({"sde": VP(beta_max=19.0)}, "is of the process VP.*beta_max=19.0"),
        ({"checkpoint_step": 400}, "is of the checkpoint of step 300, but 400 is in use"),
        ({"t_end": 1e-4}, "levels from t=0.001 to 1, but the sampler goes from 1 to 0.0001"),
        ({"t_start": 1.2}, "levels from t=0.001 to 1, but the sampler goes from 1.2 to 0.001"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(saved, changes, message):
    fits = {"sde": VP(), "checkpoint_step": 300, "t_start": 1.0, "t_end": 1e-3}
    with pytest.raises(ValueError, match=message):
        ScoreNorms.load(saved[0], **{**fits, **changes})


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    with pytest.raises(ValueError, match="is not a file of score norms, format 1"):
        ScoreNorms.load(tmp_path / "other.npz", VP(), 0, 1.0, 1e-3)


@pytest.mark.parametrize("size", [0, 100, 600])
def test_a_damaged_file_is_named(saved, size):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"norms.npz is damaged \(.*\); estimate again"):
        ScoreNorms.load(path, VP(), 300, 1.0, 1e-3)
