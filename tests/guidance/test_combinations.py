"""Interval, rescaling, APG and CFG++: definitions, common properties, and the exact distribution for guidance within an interval."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from score_sde.configs.digits import digits_config
from score_sde.errors import UserError
from score_sde.generation.guided import with_guidance
from score_sde.guidance.classifier_free import ClassifierFree, ConditionIgnored
from score_sde.guidance.combinations import Extrapolated, PlusPlus, Projected, Rescaled, Within
from score_sde.models.score import denoise, evaluations_of, predicted_noise
from score_sde.modes.sample import check, recorded
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.samplers.predictors import tweedie
from score_sde.sde_lib import VE, VP, SubVP, build_sde
from tests.models.class_gaussians import ClassGaussians, labels

SDE = SubVP()  # whose alpha^2 + sigma^2 is not 1
RNG = np.random.default_rng(3)
X, TOWARD, AWAY = RNG.standard_normal((3, 2, 3, 3, 2))
T = np.array([0.3, 0.8])
PLAIN = Extrapolated(1.5)
CLASSES = ClassGaussians(jnp.array([0.5, -0.2]), jnp.array([0.25, 1.0]), VP())


def combined(combine, toward=TOWARD, away=AWAY):
    return np.asarray(jax.jit(combine)(*map(jnp.asarray, (X, T, toward, away))))


def image_of(score):
    """What it makes of X, (2, 18)."""
    image = denoise(SDE, jnp.asarray(score), jnp.asarray(X), jnp.asarray(T))
    return np.asarray(image).reshape(2, -1)


# ---- interval ----------------------------------------------------------------------------------------


def test_guidance_is_within_its_interval(x64):
    """An empty interval gives the conditional score and a full one plain guidance, bit for bit; each image by its own time."""
    early, late = np.asarray(SDE.log_snr(jnp.asarray(T)))
    assert early > late
    inside = [Within(PLAIN, SDE, *ends) for ends in ((9.0, 8.0), (-99.0, 99.0), (early, 99.0))]
    nowhere, everywhere, first = map(combined, inside)
    assert_array_equal(nowhere, TOWARD)
    assert_array_equal(everywhere, combined(PLAIN))
    assert_array_equal(first[0], everywhere[0])
    assert_array_equal(first[1], nowhere[1])


def test_law_of_guidance_within_an_interval(x64):
    """The ODE's log variance has the rate d ln c_toward/dt, plus w d ln(c_toward/c_away)/dt inside the interval."""
    ends = np.array([1e-3, 0.2, 0.6, 1.0])
    alpha, sigma = np.asarray(VP().alpha(ends)), np.asarray(VP().sigma(ends))
    c, none = alpha**2 * 0.25 + sigma**2, alpha**2 + sigma**2
    # From N(0, 1), which for the class is c(T) only in part
    expected = (c[0] / c[3]) * ((c[1] / none[1]) / (c[2] / none[2])) ** 1.5
    log_snrs = VP().log_snr(ends)
    combine = Within(PLAIN, VP(), float(log_snrs[2]), float(log_snrs[1]))
    flow, x = ProbabilityFlow(VP(), AdaptiveSolver("dopri5", 1e-8, 1e-8)), jnp.eye(1, 2).T
    run = jax.jit(lambda model: flow(model, jnp.array([1.0, 1e-3]), None, x, x).x)
    one, nought = np.asarray(run(ClassifierFree(CLASSES, combine).given(labels(0, 0))))[:, 0]
    assert_allclose((one - nought) ** 2, expected, rtol=1e-4)


# ---- rescaling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_rescaling_gives_the_contrast_back(x64, share):
    guided, rescaled = image_of(combined(PLAIN)), image_of(combined(Rescaled(PLAIN, SDE, share)))
    stds = [image.std(axis=1) for image in (image_of(TOWARD), guided, rescaled)]
    assert (np.abs(stds[0] / stds[1] - 1) > 5e-3).all()
    assert_allclose(stds[2], share * stds[0] + (1 - share) * stds[1], rtol=1e-12)
    # the same picture but for its contrast
    assert_allclose(rescaled / guided, (rescaled[:, :1] / guided[:, :1]) * np.ones(18), rtol=1e-9)


def test_an_image_without_contrast_has_none_to_give_back(x64):
    """With a single pixel the ratio would be 0/0."""
    t, toward, away = jnp.full(2, 0.4), jnp.asarray([[0.3], [-2.0]]), jnp.asarray([[0.1], [1.0]])
    rescaled = Rescaled(PLAIN, SDE, 0.7)(jnp.ones((2, 1)), t, toward, away)
    assert_array_equal(rescaled, PLAIN(jnp.ones((2, 1)), t, toward, away))


def test_no_rescaling_is_none(x64):
    assert_allclose(combined(Rescaled(PLAIN, SDE, 0.0)), combined(PLAIN), rtol=1e-14)


# ---- APG ---------------------------------------------------------------------------------------------


def test_apg_of_all_is_classifier_free_guidance(x64):
    for weight in (1.5, -0.4):
        expected = combined(Extrapolated(weight))
        assert_allclose(combined(Projected(SDE, weight)), expected, rtol=1e-11)
        assert_allclose(combined(Projected(SDE, weight, 1.0, 1e3)), expected, rtol=1e-11)
    assert_array_equal(combined(Projected(SDE, 0.0, 0.2, 1.0)), TOWARD)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_apg_takes_a_share_along_the_image_and_caps_the_rest(x64, eta):
    image, away = image_of(TOWARD), image_of(AWAY)
    lengths = np.linalg.norm(image - away, axis=1)
    norm = float(lengths.mean())  # between those of the two images
    assert lengths.min() < 0.99 * norm
    moved = image_of(combined(Projected(SDE, 1.5, eta, norm))) - image
    capped = 1.5 * np.minimum(1.0, norm / lengths)[:, None] * (image - away)
    along = image / np.linalg.norm(image, axis=1, keepdims=True)
    shares = [np.sum(along * vector, axis=1) for vector in (moved, capped)]
    assert_allclose(shares[0], eta * shares[1], rtol=1e-9, atol=1e-12)
    across = [
        vector - share[:, None] * along
        for vector, share in zip((moved, capped), shares, strict=True)
    ]
    assert_allclose(*across, rtol=1e-8, atol=1e-12)


def test_apg_where_there_is_nothing_to_project(x64):
    """For equal scores and a zero denoised image, values and their derivatives (used by likelihoods) are finite."""
    zero = np.zeros_like(X)
    for x, toward, away in ((X, TOWARD, TOWARD), (zero, zero, zero), (zero, zero, AWAY)):
        given = [jnp.asarray(part) for part in (x, T, toward, away)]

        def score(x, given=given):
            return Projected(SDE, 1.5, 0.3, 0.7)(x, *given[1:])

        for part in jax.jvp(score, given[:1], [jnp.asarray(X)]):
            assert np.isfinite(part).all()
    assert_array_equal(combined(Projected(SDE, 1.5, 0.3, 0.7), AWAY, AWAY), AWAY)


# ---- CFG++ -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sde", [SDE, pytest.param(VE(0.01, 5.0), marks=pytest.mark.slow)], ids=repr
)
def test_ddim_with_it_takes_the_published_steps(x64, sde):
    """The guided denoised image with the noise of the unconditional score, step by step, and denoised at the end."""
    model = ClassGaussians(CLASSES.means, CLASSES.variances, sde)
    grid = log_snr_grid(sde, 1.0, 1e-2, 6)
    scale, x = 0.6, 0.5 + np.sqrt(2.0) * jnp.asarray(X[:, 0])
    toward, away = model.given(labels(0, 0)), model.given(labels(1, 1))

    def guided(scale):
        combine = PlusPlus(sde, scale, tuple(grid.tolist()))
        return ClassifierFree(model, combine).given(labels(0, 0))

    @jax.jit
    def run(score, x):
        end = ExponentialSampler(sde, "ddim")(score, grid, None, x, x).x
        return tweedie(score, sde, end, grid[-1])

    @jax.jit
    def step(x, t, s):
        times = jnp.full(2, t)
        scores = [one(x, times) for one in (toward, away)]
        images = [denoise(sde, score, x, times) for score in scores]
        image = images[1] + scale * (images[0] - images[1])
        noise = predicted_noise(sde, scores[1], times)
        return image, sde.alpha(s) * image + sde.sigma(s) * noise

    expected = x
    for t, s in zip(grid, [*grid[1:], grid[-1]], strict=True):  # of the last the image counts
        image, expected = step(expected, t, s)
    assert_allclose(run(guided(scale), x), image, rtol=1e-9)
    assert_allclose(run(guided(0.0), x), run(away, x), rtol=1e-11)


# ---- by the config -----------------------------------------------------------------------------------


def class_config(**guidance):
    config = digits_config("vp")
    config.model.num_classes, config.training.label_dropout = 10, 0.1
    config.sampling.sampler = "ddim"
    config.sampling.guidance.update(guidance)
    return config


def test_what_the_config_builds():
    """The combinations apply in a fixed order; a weight alone costs no more than without them."""
    given = {"log_snr_low": -3.0, "rescale": 0.7, "eta": 0.2, "norm": 5.0, "weight": 2.0}
    config = class_config(**given)
    check(config, VP())
    built = with_guidance(config, VP(), CLASSES)
    apg = Projected(VP(), 2.0, 0.2, 5.0)
    assert built.combine == Within(Rescaled(apg, VP(), 0.7), VP(), -3.0, np.inf)
    assert evaluations_of(built) == 2
    assert recorded(config).items() >= {f"guidance_{name}": v for name, v in given.items()}.items()
    assert "guidance_plus_plus" not in recorded(config)
    assert type(with_guidance(class_config(weight=-1.0), VP(), CLASSES)) is ConditionIgnored
    assert with_guidance(class_config(), VP(), CLASSES) is CLASSES
    config = class_config(plus_plus=0.5)
    config.sampling.exponential.num_steps = 3
    check(config, build_sde(config))
    times = with_guidance(config, VP(), CLASSES).combine.times
    assert_allclose([times[0], times[-1]], [1.0, config.sampling.eps], rtol=1e-6)
    assert len(times) == 4


@pytest.mark.parametrize(
    ("words", "guidance", "sampling"),
    [
        ("rescale=0.7 with weight=0: there is no guidance", {"rescale": 0.7}, {}),
        ("there is no log-SNR between", {"weight": 1.0, "log_snr_low": 1.0, "log_snr_high": 0.0}, {}),
        ("CFG\\+\\+ has a weight of its own", {"plus_plus": 0.5, "weight": 1.0}, {}),
        ("CFG\\+\\+ has a weight of its own", {"plus_plus": 0.5, "eta": 0.0}, {}),
        ("far beyond the image", {"plus_plus": 0.5, "rescale": 0.5}, {}),
        ("far beyond the image", {"plus_plus": 0.5}, {"threshold": "static"}),
        ("CFG\\+\\+ is a step of DDIM", {"plus_plus": 0.5}, {"sampler": "pc"}),
        ("CFG\\+\\+ is a step of DDIM", {"plus_plus": 0.5}, {"exponential.eta": 1.0}),
        ("must know the times", {"plus_plus": 0.5}, {"grid.name": "dp"}),
        ("norm=0.0: expected a positive number", {"weight": 1.0, "norm": 0.0}, {}),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(words, guidance, sampling):
    config = class_config(**guidance)
    config.sampling.update_from_flattened_dict(sampling)
    with pytest.raises(UserError, match=words):
        check(config, VP())
