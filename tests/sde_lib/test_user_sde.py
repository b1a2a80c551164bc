"""A user's process defines alpha and sigma; the rest, derived by the base class, is tested against closed forms."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.errors import ConfigError
from score_sde.sde_lib import SDE, VE, VP, NoDiscreteForm, SubVP

EPS = np.finfo(np.float64).eps
TIMES = np.array([1e-5, 1e-3, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])


@dataclasses.dataclass(frozen=True)
class Stated(SDE):
    """alpha and sigma of another process, and nothing more: everything else is derived."""

    other: SDE

    @property
    def T(self):
        return self.other.T

    def alpha(self, t):
        return self.other.alpha(t)

    def sigma(self, t):
        return self.other.sigma(t)


@dataclasses.dataclass(frozen=True)
class EDM(SDE):
    """Karras et al. 2022: time is the noise level."""

    T: ClassVar[float] = 80.0

    def alpha(self, t):
        return jnp.ones_like(t)

    def sigma(self, t):
        return t


@dataclasses.dataclass(frozen=True)
class CosineVP(SDE):
    """Nichol & Dhariwal 2021, Eq. 17, stopped before alpha reaches 0."""

    T: ClassVar[float] = 0.992
    s: float = 0.008

    def theta(self, t):
        return 0.5 * np.pi * (t + self.s) / (1.0 + self.s)

    def alpha(self, t):
        return jnp.cos(self.theta(t)) / np.cos(self.theta(0.0))

    def sigma(self, t):
        return jnp.sqrt(1.0 - self.alpha(t) ** 2)


@dataclasses.dataclass(frozen=True)
class LinearFlow(SDE):
    """The straight path of flow matching, stopped before alpha reaches 0."""

    T: ClassVar[float] = 0.992

    def alpha(self, t):
        return 1.0 - t

    def sigma(self, t):
        return t


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "method",
    ["log_alpha", "log_snr", "drift_coefficient", "diffusion_squared", "diffusion"],
)
def test_derived_functions_of_time_equal_the_overridden_ones(sde, method):
    t = sde.signal_end * jnp.asarray(TIMES)
    # ln(alpha) of an alpha near 1 has an absolute rounding, and so has what is built on it.
    derived, closed = getattr(Stated(sde), method)(t), getattr(sde, method)(t)
    assert_allclose(derived, closed, rtol=1e-13, atol=100 * EPS)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dt", [0.3, 1e-2, 1e-4])
def test_derived_kernels_equal_the_overridden_ones(sde, dt):
    s = jnp.asarray([1e-5, 0.1, 0.5, 0.69])
    derived = Stated(sde)
    assert_allclose(derived.alpha_between(s, s + dt), sde.alpha_between(s, s + dt), rtol=1e-14)
    # The derived form takes a difference of log-SNRs, each rounded at about 30 * 1e-16.
    gap = float(jnp.min(sde.log_snr(s) - sde.log_snr(s + dt)))
    rtol = 1e-13 + 100 * EPS / gap
    assert_allclose(derived.variance_between(s, s + dt), sde.variance_between(s, s + dt), rtol=rtol)


@pytest.mark.usefixtures("x64")
def test_derived_processes_equal_the_overridden_ones(sde):
    t = jnp.asarray([0.01, 0.6])
    x, score = jnp.asarray(np.random.default_rng(0).standard_normal((2, 2, 4, 4, 3)))
    derived = Stated(sde)
    for h in (0.0, 0.5, 1.0):
        assert_allclose(
            derived.reverse_drift(x, t, score, h),
            sde.reverse_drift(x, t, score, h),
            rtol=1e-12,  # the two terms may nearly cancel in a pixel
            atol=1e-12,
        )
    for ours, theirs in zip(
        derived.euler_maruyama(x, t, 0.01 + t), sde.euler_maruyama(x, t, 0.01 + t), strict=True
    ):
        assert_allclose(ours, theirs, rtol=1e-12)
    assert_allclose(derived.prior_sample(x), float(sde.sigma(jnp.asarray(sde.T))) * x, rtol=4 * EPS)


@pytest.mark.usefixtures("x64")
def test_derived_time_of_log_snr_equals_the_overridden_one(sde):
    log_snr = sde.log_snr(sde.signal_end * jnp.asarray(TIMES))
    found = Stated(sde).time_of_log_snr(log_snr)
    assert_allclose(found, sde.time_of_log_snr(log_snr), rtol=1e-12, atol=10 * EPS)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("user", [EDM(), CosineVP(), LinearFlow()], ids=repr)
def test_bisection_inverts_log_snr(user):
    t = user.T * jnp.asarray(TIMES)
    # 64 halvings leave T 2^-64. The cosine's 1 - alpha^2 is rounded at 1e-16 beside sigma^2 = 4e-7 at t = 1e-5.
    assert_allclose(user.time_of_log_snr(user.log_snr(t)), t, rtol=1e-9)


@pytest.mark.parametrize("user", [EDM(), CosineVP(), LinearFlow()], ids=repr)
def test_bisection_in_float32(user):
    t = user.T * jnp.asarray([0.01, 0.1, 0.5, 0.9], jnp.float32)
    found = jax.jit(user.time_of_log_snr)(user.log_snr(t))
    assert found.dtype == jnp.float32
    # One rounding of a log-SNR near 10 moves ln t by 1e-6; the cosine's own 1 - alpha^2 costs 1e-7/1e-3 more.
    assert_allclose(found, t, rtol=2e-4)


@pytest.mark.usefixtures("x64")
def test_edm_in_closed_form():
    t = jnp.asarray([1e-3, 0.5, 3.0, 80.0])
    assert_allclose(EDM().drift_coefficient(t), 0.0, atol=0)
    assert_allclose(EDM().diffusion_squared(t), 2.0 * t, rtol=4 * EPS)
    assert_allclose(EDM().prior_std, 80.0, rtol=0)
    assert_allclose(EDM().time_of_log_snr(-2.0 * jnp.log(t)), t, rtol=1e-14)


@pytest.mark.usefixtures("x64")
def test_cosine_vp_in_closed_form():
    """f = -theta' tan(theta) and, as for every variance-preserving process, g^2 = -2 f."""
    t = jnp.asarray(TIMES[1:])
    theta = 0.5 * np.pi * (np.asarray(t) + 0.008) / 1.008
    f = -0.5 * np.pi / 1.008 * np.tan(theta)
    assert_allclose(CosineVP().drift_coefficient(t), f, rtol=1e-13)
    # d sqrt(v) / dt times sqrt(v) is exact in v; its rounding is that of v, 1e-16 / 4e-5 at t = 1e-3.
    assert_allclose(CosineVP().diffusion_squared(t), -2.0 * f, rtol=1e-11)


@pytest.mark.usefixtures("x64")
def test_linear_flow_in_closed_form():
    t = jnp.asarray(TIMES)
    assert_allclose(LinearFlow().drift_coefficient(t), -1.0 / (1.0 - TIMES), rtol=1e-14)
    assert_allclose(LinearFlow().diffusion_squared(t), 2.0 * TIMES / (1.0 - TIMES), rtol=1e-13)


def test_a_user_process_predicts_noise_and_has_no_chain():
    assert EDM().predicts == "noise"
    with pytest.raises(NoDiscreteForm, match="EDM"):
        EDM().chain(10)
    assert EDM.from_config(None) == EDM()


def test_alpha_and_sigma_are_required():
    class Half(SDE):
        def alpha(self, t):
            return t

    with pytest.raises(TypeError, match="sigma"):
        Half()


@dataclasses.dataclass(frozen=True)
class Given(SDE):
    """Any alpha and sigma."""

    functions: tuple

    def alpha(self, t):
        return self.functions[0](t)

    def sigma(self, t):
        return self.functions[1](t)


WRONG = {
    "noise that falls": (jnp.ones_like, lambda t: 1.0 - 0.5 * t),
    "constant": (jnp.ones_like, jnp.ones_like),
    "rises for a while": (lambda t: 1.0 - 0.9 * t, lambda t: t * (1.2 - jnp.sin(9.0 * t))),
    "no signal at T": (lambda t: 1.0 - t, lambda t: t),
    "negative signal": (lambda t: 1.0 - 2.0 * t, lambda t: t),
    "no noise before T/2": (lambda t: 1.0 - 0.5 * t, lambda t: jnp.maximum(t - 0.5, 0.0)),
    "noise that is no number": (jnp.ones_like, lambda t: jnp.sqrt(t - 0.25)),
    "no noise in float32": (jnp.ones_like, lambda t: 1.0 - jnp.exp(-1e-9 * t)),
}


@pytest.mark.parametrize("functions", WRONG.values(), ids=WRONG)
def test_a_process_whose_log_snr_does_not_fall_is_refused(functions):
    """Checked at construction, also while JAX is tracing; sampling inside a traced function still works."""
    sde = Given(functions)
    with pytest.raises(ConfigError, match="Given: the log-SNR, .* must be finite and fall from t="):
        sde.check_time("training.eps", 1e-3)
    with pytest.raises(ConfigError, match="Given: "):
        jax.eval_shape(lambda x: (sde.check_time("training.eps", 1e-2), x)[1], jnp.ones(()))


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        (
            (lambda t: 1.0, lambda t: t),
            r"Given.alpha\(t\) is float32\[\] for times .* float32\[257\]",
        ),
        ((jnp.ones_like, lambda t: t[-1] - 0 * t[0]), r"Given.sigma\(t\) is float32\[\]"),
        ((jnp.ones_like, lambda t: t.astype(jnp.bfloat16)), r"Given.sigma\(t\) is bfloat16\[257\]"),
    ],
    ids=["number", "one of all", "dtype"],
)
def test_alpha_and_sigma_must_have_a_value_for_each_time(functions, message):
    """A number broadcasts in training, and ends in a TypeError in samplers that differentiate it."""
    with pytest.raises(ConfigError, match=message):
        Given(functions).check_time("training.eps", 1e-3)


def test_a_process_that_is_not_frozen_is_refused():
    @dataclasses.dataclass
    class Thawed(SDE):
        def alpha(self, t):
            return 1.0 - 0.9 * t

        def sigma(self, t):
            return t

    with pytest.raises(ConfigError, match=r"Thawed is not hashable .*frozen=True"):
        Thawed().check_time("training.eps", 1e-3)


class OwnLogSNR(VP):
    """Of a formula of its own, which is infinite from B = 88.7 on in float32."""

    def log_snr(self, t):
        return -jnp.log(jnp.expm1(self.beta_integral(t)))


def test_a_log_snr_of_its_own_must_be_finite_too():
    with pytest.raises(ConfigError, match="OwnLogSNR: the log-SNR, .* it is -inf"):
        OwnLogSNR(0.1, 200.0).check_time("training.eps", 1e-3)


def test_the_log_snr_of_vp_is_finite_where_alpha_and_sigma_are():
    """-ln(e^B - 1) is -B - 4e-44 at B = 100.05; exact values at small times come from Python's math functions."""
    sde = VP(0.1, 200.0)
    sde.check_time("training.eps", 1e-5)
    assert_allclose(sde.log_snr(jnp.float32(1.0)), -100.05, rtol=1e-6)
    for t in (1e-6, 1e-3, 0.1):
        B = t * (0.1 + 0.5 * t * 199.9)
        assert_allclose(sde.log_snr(jnp.float32(t)), -math.log(math.expm1(B)), rtol=1e-6)


@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.5, 0.9])
@pytest.mark.parametrize(
    "sde",
    [VP(), SubVP(), VE(), EDM(), CosineVP(), LinearFlow(), VE(1e-3, 1e4), VP(1e-3, 40.0)],
    ids=repr,
)
def test_processes_that_are_some_are_let_through(sde, eps):
    if not (isinstance(sde, CosineVP) and eps < 1e-3):  # 1 - alpha^2 is 0 in float32
        sde.check_time("training.eps", eps)
