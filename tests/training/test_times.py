"""Densities of training times, and that they affect only the variance of a loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from score_sde.configs.default import get_config
from score_sde.errors import UserError
from score_sde.models.exact import GaussianScore
from score_sde.sde_lib import VE, VP, Cosine, Linear, Sigmoid, SubVP, Trigonometric
from score_sde.training.draws import LAST
from score_sde.training.times import TIMES, build_times
from tests.training.test_losses import (
    EPS,
    LIKELIHOOD_WEIGHTED,
    SDES,
    continuous_loss,
    expected_loss,
    uniform_nodes,
)

WIDE = VE(1e-4, 1e3)  # holds all but 1e-11 of EDM's log-normal law


def times(name, sde, to_noise=False, **fields):
    config = get_config()
    config.training.update(times=name, **fields)
    return build_times(config, sde, to_noise)


@pytest.mark.parametrize(
    "sde", [VP(), *(pytest.param(of, marks=pytest.mark.slow) for of in (SubVP(), VE()))], ids=repr
)
@pytest.mark.parametrize("name", TIMES)
def test_the_correction_is_that_of_the_density(x64, name, sde):
    """t(u) has the density p with p(t(u)) t'(u) = 1, all of it between eps and T."""
    law = times(name, sde)
    u = jnp.linspace(0.001, 0.999, 101)
    correction, slope = jax.jit(
        lambda u: (law.correction(law.at(u)), jax.vmap(jax.grad(law.at))(u))
    )(u)
    np.testing.assert_allclose(correction * (1 - EPS), slope, rtol=1e-8)
    np.testing.assert_allclose(law.at(jnp.array([0.0, 1.0])), [EPS, 1.0], rtol=1e-9)


@pytest.mark.parametrize("name", TIMES)
def test_times_stay_in_their_range_in_float32(name):
    for sde in SDES.values():
        t = times(name, sde).at(jnp.array([0.0, 1e-7, 0.5, 1 - 2.0**-24], jnp.float32))
        assert t.dtype == jnp.float32
        assert t.min() >= np.float32(EPS)
        assert t.max() <= 1


def test_log_snr_times_make_the_likelihood_weighting_constant(x64):
    """Under VP the log-SNR falls by 23.86 from 1e-5 to 1, and w times the correction has that value everywhere."""
    law = times("log_snr", VP())
    t = jnp.array([1e-5, 1e-3, 0.1, 0.9])
    weight = VP().diffusion_squared(t) / VP().sigma(t) ** 2
    np.testing.assert_allclose(weight * law.correction(t) * (1 - EPS), 23.86, atol=5e-3)


def test_log_normal_times_have_the_published_quantiles(x64):
    """ln sigma ~ N(-1.2, 1.2^2): its median, and one standard deviation to either side."""
    t = times("log_normal", WIDE).at(jnp.array([0.158655254, 0.5, 0.841344746]))
    np.testing.assert_allclose(jnp.log(WIDE.sigma(t)), [-2.4, -1.2, 0.0], atol=1e-8)


@pytest.mark.parametrize(
    ("name", "ell", "minimum", "_"),
    [
        LIKELIHOOD_WEIGHTED[1],
        *(
            pytest.param(*of, marks=pytest.mark.slow)
            for of in LIKELIHOOD_WEIGHTED
            if of != LIKELIHOOD_WEIGHTED[1]
        ),
    ],
)
def test_the_expected_loss_does_not_depend_on_the_times(x64, name, ell, minimum, _):
    score_model = GaussianScore.create(jnp.zeros(2), ell * jnp.eye(2), SDES[name])
    loss = continuous_loss(SDES[name], weighting="likelihood", times="log_snr")
    value = expected_loss(loss, score_model, ell, nodes_of_u=uniform_nodes())
    assert value == pytest.approx(minimum, rel=1e-7)


@pytest.mark.parametrize(
    ("ell", "average", "law"),
    [
        (0.25, 1.0, "log_normal"),
        (0.04, 0.48848822, "uniform"),
        pytest.param(1.0, 1.62832256, "log_normal", marks=pytest.mark.slow),
        pytest.param(0.25, 1.0, "uniform", marks=pytest.mark.slow),
        pytest.param(0.04, 0.48848822, "log_normal", marks=pytest.mark.slow),
        pytest.param(1.0, 1.62832256, "uniform", marks=pytest.mark.slow),
    ],
)
def test_edms_loss_at_the_optimum(x64, law, ell, average):
    """(sigma^2 + 1/4) ell / (ell + sigma^2) * 4 averaged over ln sigma ~ N(-1.2, 1.2^2), for any sampling of times."""
    score_model = GaussianScore.create(jnp.zeros(2), ell * jnp.eye(2), WIDE)
    loss = continuous_loss(WIDE, weighting="edm", times=law)
    value = expected_loss(loss, score_model, ell, nodes_of_u=uniform_nodes())
    assert value == pytest.approx(average, rel=2e-8)


@pytest.mark.parametrize("name", [pytest.param("vp", marks=pytest.mark.slow), "subvp"])
def test_importance_sampling_lowers_the_variance(x64, name):
    """The standard deviation of one image's likelihood-weighted loss at the optimum, in units of its mean.

    At log-SNR l the loss is proportional to m z^2 with m = ell e^l / (ell e^l + 1). Uniform in l, the integrals of m
    and m^2 are ln(1 + ell e^l) and that plus 1 / (1 + ell e^l). Uniform in t, where g^2/sigma^2 is 1/t, the
    deviation is tens of times that.
    """
    sde = SDES[name]
    score_model = GaussianScore.create(jnp.zeros(2), 0.25 * jnp.eye(2), sde)
    deviations = []
    for law, nodes in (("uniform", None), ("log_snr", uniform_nodes())):
        loss = continuous_loss(sde, weighting="likelihood", times=law)
        first, second = (expected_loss(loss, score_model, 0.25, p, nodes) for p in (1, 2))
        deviations.append(np.sqrt(second / first**2 - 1))
    high, low = np.asarray(sde.log_snr(jnp.array([EPS, 1.0])))
    of_m = np.log1p(0.25 * np.exp(high)) - np.log1p(0.25 * np.exp(low))
    of_squares = of_m + 1 / (1 + 0.25 * np.exp(high)) - 1 / (1 + 0.25 * np.exp(low))
    # E z^4 = 3; the quadrature gives both dimensions the same noise.
    exact = np.sqrt(3 * of_squares * (high - low) / of_m**2 - 1)
    assert deviations[1] == pytest.approx(exact, rel=1e-7)
    assert deviations[0] > 20 * deviations[1]


def test_logit_normal_times_have_the_published_quantiles(x64):
    """The median 1/2, and one standard deviation to either side; likewise for mean 1/2 and deviation 2."""
    quantiles = jnp.array([0.158655254, 0.5, 0.841344746])
    t = times("logit_normal", VP(), eps=1e-9).at(quantiles)
    np.testing.assert_allclose(t, [1 / (1 + np.e), 0.5, np.e / (1 + np.e)], rtol=1e-8)
    wide = times("logit_normal", VP(), eps=1e-9, logit_normal_mean=0.5, logit_normal_std=2.0)
    np.testing.assert_allclose(
        np.log(wide.at(quantiles) / (1 - wide.at(quantiles))), [-1.5, 0.5, 2.5]
    )


def test_wide_laws_have_a_density_at_their_last_time():
    """In float32 the last time is 1 - 2^-24, where ln(t / (1 - t)) = ln(2^24 - 1), whose density times 1 / (t (1 - t)) is that of t."""
    for u in (1 - 2.0**-24, 1 - 2.0**-17):
        law = times("logit_normal", VP(), logit_normal_std=8.0)
        last = law.at(jnp.array([u], jnp.float32))
        assert float(last[0]) == 1 - 2.0**-24
    between = 1 - scipy.stats.norm(0, 8).cdf(np.log(EPS / (1 - EPS)))
    density = 2**24 * scipy.stats.norm(0, 8).pdf(24 * np.log(2)) / between
    np.testing.assert_allclose(law.correction(last), 1 / density / (1 - EPS), rtol=1e-5)


def test_laws_around_the_first_time_have_a_density_at_their_last():
    """With most of the mass below eps, the last u above it rounds to the quantile of 1, unless kept below."""
    law = times("log_normal", VP(), log_normal_mean=-7.5, log_normal_std=0.4)
    t = law.at(jnp.array([1 - 2.0**-24, 1 - 2.0**-23], jnp.float32))
    # What a loss is multiplied by where its weighting is the density itself.
    product = law.correction(t) * law.density(t) * (1 - EPS)
    np.testing.assert_allclose(product, 1.0, rtol=1e-6)


@pytest.mark.parametrize("sde", [Linear(), Sigmoid(), Cosine(), Trigonometric()], ids=repr)
def test_the_density_of_logit_normal_times_falls_to_zero_at_the_end(sde):
    """Where ln(t / (T - t)) is infinite. Times of other densities reach it, and are weighted by it (flow_logit_normal)."""
    law = times("logit_normal", sde, to_noise=True)
    np.testing.assert_array_equal(law.density(jnp.array([sde.T], jnp.float32)), [0.0])
    before = law.density(sde.T * jnp.array([0.999, 0.9999, 0.99999], jnp.float32))
    assert (np.diff(before) < 0).all()
    # Those of the log-SNR are refused where it is -inf.
    for name in TIMES if sde.signal_end == sde.T else set(TIMES) - {"log_snr"}:
        drawn = times(name, sde, to_noise=True).at(jnp.array([0.0, 0.5, LAST], jnp.float32))
        assert np.isfinite(law.density(drawn)).all()


def test_impossible_times_are_refused():
    with pytest.raises(UserError, match="choose one of uniform, log_snr, log_normal, logit_normal"):
        times("x", VP())
    with pytest.raises(UserError, match=r"log_normal_std=0.0: expected a positive"):
        times("log_normal", VP(), log_normal_std=0.0)
    with pytest.raises(UserError, match="less than a thousandth"):
        times("log_normal", VP(), log_normal_mean=30.0)


def test_no_time_has_an_infinite_log_snr():
    """The velocity's loss has times up to T: of the straight path, where the log-SNR is -inf, but not of VP."""
    with pytest.raises(
        UserError, match=r"those after t=0.999023 would never be drawn; .*init_from=its"
    ):
        continuous_loss(Linear(), weighting="flow", times="log_snr")
    assert continuous_loss(VP(), weighting="flow", times="log_snr").times.end == 1.0
    assert continuous_loss(Linear(), weighting="noise", times="log_snr").times.end < 1.0
