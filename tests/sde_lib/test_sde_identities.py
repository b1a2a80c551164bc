"""Self-consistency of each process: the closed forms of a class must follow from its alpha and sigma.

All in float64. Tolerances are a few tens of rounding errors of 2.2e-16, times the loss of accuracy of the reference.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose

from score_sde.sde_lib import SDES, VE, VP, NoDiscreteForm, SubVP

pytestmark = pytest.mark.usefixtures("x64")

EPS = np.finfo(np.float64).eps
# Of the end of time
TIMES = np.array([1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
ROUNDING = 1e-13  # 450 roundings: chains of exp, expm1 and their derivatives lose at most some tens


def derivative(fn, t):
    """d fn / dt by reverse mode, so that it shares nothing with the library's forward mode."""
    return jax.vmap(jax.grad(fn))(jnp.asarray(t))


# ---- drift and diffusion follow from alpha and sigma (Song et al. 2021, Eq. 5; App. B) -------------


def test_drift_is_the_rate_of_log_alpha(sde):
    t = sde.signal_end * jnp.asarray(TIMES)
    rate = derivative(lambda t: jnp.log(sde.alpha(t)), t)
    assert_allclose(sde.drift_coefficient(t), rate, rtol=ROUNDING, atol=EPS)


def test_diffusion_balances_the_variance(sde):
    t = sde.signal_end * jnp.asarray(TIMES)
    growth = derivative(lambda t: sde.sigma(t) ** 2, t)
    shrinkage = 2.0 * sde.drift_coefficient(t) * sde.sigma(t) ** 2
    assert_allclose(sde.diffusion_squared(t), growth - shrinkage, rtol=ROUNDING)


def test_diffusion_drives_the_noise_to_signal_ratio(sde):
    t = sde.signal_end * jnp.asarray(TIMES)
    rate = derivative(lambda t: (sde.sigma(t) / sde.alpha(t)) ** 2, t)
    assert_allclose(sde.diffusion_squared(t), sde.alpha(t) ** 2 * rate, rtol=ROUNDING)


def test_log_alpha_and_log_snr_are_logarithms(sde):
    t = sde.signal_end * jnp.asarray(TIMES)
    alpha, sigma = np.asarray(sde.alpha(t)), np.asarray(sde.sigma(t))
    # A logarithm of magnitude 30 carries an absolute rounding of 30 * 1e-16.
    assert_allclose(sde.log_alpha(t), np.log(alpha), rtol=ROUNDING, atol=30 * EPS)
    assert_allclose(sde.log_snr(t), np.log(alpha**2 / sigma**2), rtol=ROUNDING, atol=100 * EPS)


def test_noise_grows_and_signal_falls(sde):
    t = jnp.linspace(0.0, sde.signal_end, 101)
    assert np.all(np.diff(sde.log_snr(t[1:])) < 0)
    assert np.all(np.diff(sde.alpha(t)) <= 0)


# ---- the kernel between two times ------------------------------------------------------------------

TRIPLES = [(0.0, 1e-5, 1e-3), (1e-5, 0.3, 1.0), (0.2, 0.201, 0.2011), (0.5, 0.9, 0.9001)]


@pytest.mark.parametrize(("r", "s", "t"), TRIPLES)
def test_chapman_kolmogorov(sde, r, s, t):
    r, s, t = (sde.signal_end * jnp.asarray(time) for time in (r, s, t))
    first, second = sde.alpha_between(r, s), sde.alpha_between(s, t)
    assert_allclose(sde.alpha_between(r, t), first * second, rtol=ROUNDING)
    # t - s of two stored times is exact, but the times themselves carry eps, which a short step magnifies.
    rtol = ROUNDING + 10 * EPS / float(t - s)
    variance = second**2 * sde.variance_between(r, s) + sde.variance_between(s, t)
    assert_allclose(sde.variance_between(r, t), variance, rtol=rtol)


@pytest.mark.parametrize(("r", "s", "t"), TRIPLES)
def test_kernel_between_two_times_joins_their_marginals(sde, r, s, t):
    del r
    s, t = sde.signal_end * jnp.asarray(s), sde.signal_end * jnp.asarray(t)
    a = float(sde.alpha(t)) / float(sde.alpha(s))
    assert_allclose(sde.alpha_between(s, t), a, rtol=ROUNDING)
    variance = float(sde.sigma(t)) ** 2 - a**2 * float(sde.sigma(s)) ** 2
    # The plain difference cancels: it is good to some roundings of its larger term only.
    atol = 100 * EPS * float(sde.sigma(t)) ** 2
    assert_allclose(sde.variance_between(s, t), variance, rtol=ROUNDING, atol=atol)


def test_no_time_no_change(sde):
    t = sde.signal_end * jnp.asarray(TIMES)
    assert_allclose(sde.alpha_between(t, t), 1.0, rtol=0)
    assert_allclose(sde.variance_between(t, t), 0.0, atol=0)


def test_drift_and_diffusion_are_the_kernel_of_a_short_time(sde):
    s = sde.signal_end * jnp.asarray(TIMES)
    moved = jax.vmap(lambda s: jax.grad(lambda t: sde.alpha_between(s, t))(s))(s)
    noised = jax.vmap(lambda s: jax.grad(lambda t: sde.variance_between(s, t))(s))(s)
    assert_allclose(sde.drift_coefficient(s), moved, rtol=ROUNDING, atol=EPS)
    assert_allclose(sde.diffusion_squared(s), noised, rtol=ROUNDING)


def test_euler_maruyama_agrees_with_the_kernel_to_first_order(sde):
    t, x = jnp.asarray([0.1, 0.4, 0.8]), jnp.ones((3, 2))

    def errors(step):
        dt = jnp.full(3, step)
        mean, std = sde.euler_maruyama(x, t, dt)
        exact_mean = np.asarray(sde.alpha_between(t, t + dt))[:, None] * np.ones((3, 2))
        return abs(mean - exact_mean), abs(std**2 - sde.variance_between(t, t + dt))

    # A local error dt^2 falls fourfold when dt halves; a wrong rate would leave an error dt, twofold.
    for coarse, fine in zip(errors(2e-4), errors(1e-4), strict=True):
        assert np.all(fine <= coarse / 3.9)


# ---- time and log-SNR ------------------------------------------------------------------------------


def test_time_of_log_snr_inverts_log_snr(sde):
    t = sde.signal_end * jnp.asarray(TIMES)
    # log_snr is rounded at 1e-16 |log_snr|, at most 4e-15, and time moves by at most that over its slope >= 1.
    assert_allclose(sde.time_of_log_snr(sde.log_snr(t)), t, rtol=ROUNDING, atol=20 * EPS)


def test_log_snr_inverts_time_of_log_snr(sde):
    log_snr = jnp.linspace(float(sde.log_snr(jnp.asarray(sde.signal_end))), 8.0, 50)
    t = sde.time_of_log_snr(log_snr)
    # The time is rounded, which the slope magnifies.
    magnified = 2 * EPS * sde.signal_end * np.abs(derivative(sde.log_snr, t))
    assert np.all(np.abs(sde.log_snr(t) - log_snr) < ROUNDING * (1 + np.abs(log_snr)) + magnified)


# ---- the reverse family ----------------------------------------------------------------------------


def test_all_processes_share_one_probability_flow(sde):
    """In the variables (x/alpha, sigma/alpha) every process has the flow dx/dsigma = -sigma score.

    (Karras et al. 2022, Eq. 4 with s = 1.) The relation is linear in the score, so any function serves.
    """
    log_snr = jnp.asarray([6.0, 0.0, -6.0])
    t = sde.time_of_log_snr(log_snr)
    x_hat = jnp.asarray([[-1.0, 0.3], [0.2, 2.0], [5.0, -0.1]])
    score_hat = jnp.tanh(x_hat) - x_hat**2
    alpha = sde.alpha(t)[:, None]
    velocity = sde.reverse_drift(alpha * x_hat, t, score_hat / alpha, h=0.0)
    alpha_rate = derivative(sde.alpha, t)[:, None]
    ratio_rate = derivative(lambda t: sde.sigma(t) / sde.alpha(t), t)[:, None]
    slope = (velocity / alpha - x_hat * alpha_rate / alpha) / ratio_rate
    # sigma/alpha as the log-SNR says it; 1e-12 for the cancellation of the drift against alpha'.
    assert_allclose(slope, -np.exp(-0.5 * log_snr)[:, None] * score_hat, rtol=1e-12, atol=1e-12)


def test_the_mean_velocity_of_the_paths_is_the_flow(sde):
    """alpha' E[x_0 | x] + sigma' E[eps | x] = f x - g^2/2 score, for white data of variance 1/4."""
    t = sde.signal_end * jnp.asarray(TIMES)
    x = jnp.linspace(-2.0, 2.0, len(TIMES))[:, None]
    alpha, sigma = sde.alpha(t)[:, None], sde.sigma(t)[:, None]
    variance = 0.25 * alpha**2 + sigma**2
    velocity = sde.velocity(0.25 * alpha / variance * x, sigma / variance * x, t)
    flow = sde.reverse_drift(x, t, -x / variance, h=0.0)
    # The flow's two terms are as large as f x, of opposite signs.
    assert_allclose(
        velocity, flow, rtol=1e-12, atol=1e-12 * float(jnp.max(jnp.abs(sde.drift(x, t))))
    )


def test_reverse_family_interpolates_between_flow_and_reverse_sde(sde):
    """The published members: f - g^2 s at h = 1 (Song et al. 2021, Eq. 6) and f - g^2 s / 2 at 0 (Eq. 13)."""
    t = jnp.asarray([0.1, 0.9])
    x = jnp.asarray([[1.0, -2.0, 0.5], [0.3, 0.1, -1.0]])
    score = jnp.asarray([[0.2, 0.4, -1.0], [-0.3, 0.2, 3.0]])
    forward, g = sde.drift(x, t), sde.diffusion(t)
    assert_allclose(
        sde.reverse_drift(x, t, score),
        forward - (g**2)[:, None] * score,
        rtol=ROUNDING,
        atol=EPS,
    )
    flow = 0.5 * (forward + sde.reverse_drift(x, t, score))
    assert_allclose(sde.reverse_drift(x, t, score, h=0.0), flow, rtol=ROUNDING, atol=EPS)
    # The family is linear in h^2.
    beyond = flow + 9.0 * (sde.reverse_drift(x, t, score) - flow)
    assert_allclose(sde.reverse_drift(x, t, score, h=3.0), beyond, rtol=1e-12)
    assert_allclose(sde.reverse_diffusion(t), g, rtol=0)
    assert_allclose(sde.reverse_diffusion(t, h=0.0), 0.0, atol=0)
    assert_allclose(sde.reverse_diffusion(t, h=0.5), g / 2, rtol=0)


# ---- the prior -------------------------------------------------------------------------------------


def test_prior_log_density_is_a_gaussian_of_prior_std(sde):
    z = 7.0 * jnp.asarray(np.random.default_rng(0).standard_normal((4, 3, 2, 5)))
    expected = scipy.stats.norm(scale=float(sde.prior_std)).logpdf(z).reshape(4, -1).sum(axis=1)
    assert_allclose(sde.prior_log_density(z), expected, rtol=ROUNDING)


@pytest.mark.parametrize(
    ("process", "log_density"), [(VP(), -2822.97917), (SubVP(), -2822.97917), (VE(), -14840.71385)]
)
def test_prior_log_density_of_a_cifar10_image_at_the_origin(process, log_density):
    # Values of the reference implementation to 5 decimals.
    density = process.prior_log_density(jnp.zeros((1, 32, 32, 3)))
    assert_allclose(density, [log_density], rtol=0, atol=6e-6)


def test_prior_std_is_that_of_the_last_marginal(sde):
    # VP's and sub-VP's N(0, I) leaves out 1 - sigma(T), which is half of exp(-B(T)) or all of it.
    missing = np.exp(2 * float(sde.log_alpha(jnp.asarray(sde.T))))
    missing = 0.0 if missing == 1.0 else missing
    assert (
        abs(sde.prior_std - float(sde.sigma(jnp.asarray(sde.T))))
        <= missing + 100 * EPS * sde.prior_std
    )


def test_prior_sample_scales_its_noise(sde):
    noise = jnp.asarray([[-1.3, 0.2], [0.7, 2.5]])
    assert_allclose(sde.prior_sample(noise) / noise, float(sde.prior_std), rtol=4 * EPS)


# ---- shapes, types and published numbers -----------------------------------------------------------


def test_marginal_scales_image_by_image(sde):
    t = jnp.asarray([0.2, 0.7])
    x0 = jnp.asarray(np.random.default_rng(2).standard_normal((2, 4, 4, 3)))
    mean, std = sde.marginal(x0, t)
    for image in range(2):
        alpha = sde.alpha(t[image])
        assert_allclose(mean[image], alpha * x0[image], rtol=4 * EPS)
    assert_allclose(std, sde.sigma(t), rtol=0)


def test_processes_are_hashable_values(sde):
    twin = type(sde)(**vars(sde))
    assert twin == sde
    assert hash(twin) == hash(sde)


def test_a_process_without_a_chain_says_so():
    with pytest.raises(
        NoDiscreteForm, match="SubVP has no published discrete chain of 1000 scales"
    ):
        SubVP().chain(1000)


# t, beta, mean, std VP, g VP, std sub-VP, g sub-VP, sigma VE, g VE: reference implementations in float64,
# default parameters, 8 significant digits (or 8 decimals).
PUBLISHED = np.array([
    [1e-5, 0.100199, 0.9999995, 0.0010004971, 0.31654226, 1.0009945e-06, 0.00044788078, 0.010000852, 0.04127625],
    [0.001, 0.1199, 0.99994503, 0.010485416, 0.34626579, 0.00010994396, 0.005134502, 0.010085536, 0.041625764],
    [0.01, 0.299, 0.999003, 0.044643155, 0.54680892, 0.0019930113, 0.034505552, 0.010889043, 0.044942057],
    [0.1, 2.09, 0.9467218, 0.32205254, 1.4456832, 0.10371784, 0.64113775, 0.023436729, 0.096729791],
    [0.25, 5.075, 0.72365719, 0.6901596, 2.2527761, 0.47632028, 1.9191742, 0.084089642, 0.34706095],
    [0.5, 10.05, 0.28118288, 0.9596542, 3.1701735, 0.92093619, 3.1602494, 0.70710678, 2.9184231],
    [0.75, 15.025, 0.058663503, 0.99827781, 3.8762095, 0.99655859, 3.8761865, 5.9460356, 24.540915],
    [1, 20, 0.0065715865, 0.99997841, 4.472136, 0.99995681, 4.472136, 50, 206.36367],
])  # fmt: skip


def test_published_constants():
    t, beta, mean, *rest = (jnp.asarray(column) for column in PUBLISHED.T)
    digits = {"rtol": 6e-8}  # half a unit of the 8th digit is at most 5e-8
    assert_allclose(VP().beta(t), beta, **digits)
    for process in (VP(), SubVP()):
        assert_allclose(process.alpha(t), mean, **digits)
    assert_allclose(VE().alpha(t), 1.0, rtol=0)
    for process, std, g in zip((VP(), SubVP(), VE()), rest[::2], rest[1::2], strict=True):
        assert_allclose(process.sigma(t), std, **digits)
        assert_allclose(process.diffusion(t), g, **digits)


def test_published_constants_at_the_ends():
    zero, one = jnp.asarray(0.0), jnp.asarray(1.0)
    assert_allclose(VP().beta_integral(one), 10.05, rtol=4 * EPS)
    assert_allclose(jnp.exp(-VP().log_snr(one) / 2), 152.167, rtol=3e-6)  # 6 digits
    assert_allclose(VE().diffusion_squared(zero), 0.00170344, rtol=2e-6)  # 6 digits
    assert_allclose(VE().diffusion_squared(one), 42585.97, rtol=2e-7)  # 7 digits


def test_every_registered_process_is_tested():
    assert set(SDES) >= {"vp", "subvp", "ve"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_time_keep_its_dtype(sde, dtype):
    def results(t, x):
        return [
            sde.alpha(t), sde.sigma(t), sde.log_alpha(t), sde.log_snr(t), sde.time_of_log_snr(-t),
            sde.alpha_between(t, t), sde.variance_between(t, t), sde.drift_coefficient(t),
            sde.diffusion_squared(t), sde.drift(x, t), sde.reverse_drift(x, t, x, h=0.3),
            sde.prior_sample(x), sde.prior_log_density(x), *sde.marginal(x, t), *sde.euler_maruyama(x, t, t),
        ]  # fmt: skip

    t, x = jax.ShapeDtypeStruct((2,), dtype), jax.ShapeDtypeStruct((2, 3), dtype)
    assert {str(result.dtype) for result in jax.eval_shape(results, t, x)} == {dtype}


def test_ve_has_its_first_noise_already_at_time_zero():
    """The kernel is from clean data; simulated from t = 0 the variance lacks sigma_min^2: .0164723 of .0165723."""
    zero, t = jnp.asarray(0.0), jnp.asarray(0.3)
    assert_allclose(VE().sigma(t) ** 2, 0.0165723, atol=6e-8)
    assert_allclose(VE().variance_between(zero, t), 0.0164723, atol=6e-8)
