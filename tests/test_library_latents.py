"""Latents in a script: those of a known flow, there and back, and what is refused."""

import flax.struct
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.errors import ConfigError
from score_sde.models.exact import GaussianScore
from score_sde.sde_lib import VE, VP, Cosine
from tests.models.class_gaussians import ClassGaussians
from tests.test_library import ALPHA_SQUARED_T, known

# Of VP at sampling.eps = 1e-3, where the integral of beta is 1.0995e-4.
SIGMA_SQUARED_EPS = 1.09944e-4
# Two classes, and none: the mean and the variance of every number.
MEANS, VARIANCES = np.array([-0.6, 0.5, 0.0]), np.array([0.04, 0.3, 1.0])
X = np.random.default_rng(0).normal(0.0, 0.5, (3, 2, 2, 1)).astype(np.float32)


@flax.struct.dataclass
class WordGaussians(ClassGaussians):
    """The same, of the one word of a text."""

    def given(self, condition):
        return super().given({"label": condition["text"][:, 0] - 1} if condition else ())


def gaussians(kind=ClassGaussians):
    return kind(jnp.asarray(MEANS, jnp.float32), jnp.asarray(VARIANCES, jnp.float32), VP())


def exact(x, rows):
    """The flow of N(m, v) from eps to T under VP: alpha_T m + r (x - alpha_eps m), r^2 the ratio of alpha^2 v + sigma^2 at T and at eps."""
    mean, variance = (of[rows].reshape(-1, 1, 1, 1) for of in (MEANS, VARIANCES))
    (m_eps, v_eps), (m_end, v_end) = (
        (np.sqrt(alpha_squared) * mean, alpha_squared * variance + 1 - alpha_squared)
        for alpha_squared in (1 - SIGMA_SQUARED_EPS, ALPHA_SQUARED_T)
    )
    return m_end + np.sqrt(v_end / v_eps) * (x - m_eps)


@pytest.mark.parametrize(
    ("sde", "stretch"),
    [
        (VP(), np.sqrt((1 - 0.7 * ALPHA_SQUARED_T) / (0.3 + 0.7 * SIGMA_SQUARED_EPS))),
        # sigma is 0.01 * 5000^0.001 at eps and 50 at T.
        (VE(), np.sqrt((0.3 + 2500) / (0.3 + 1.0172e-4))),
    ],
    ids=repr,
)
def test_the_flow_of_an_isotropic_law_scales(sde, stretch):
    """N(0, 0.3) in every number; and back again."""
    trained = known(GaussianScore(jnp.zeros(4), jnp.full(4, 0.3), jnp.eye(4), sde), sde=sde)
    latents = trained.latents(X)
    np.testing.assert_allclose(latents, stretch * X, rtol=1e-4)
    np.testing.assert_allclose(trained.from_latents(latents.tolist()), X, rtol=1e-4, atol=1e-4)


def test_latents_are_at_the_end_of_the_process():
    """On a grid too, where sampling starts a little earlier under `cosine`: the mean image's latent is alpha_T times it, 4.8e-5; there .0064."""
    sde = Cosine()
    trained = known(GaussianScore(jnp.ones(4), jnp.full(4, 0.3), jnp.eye(4), sde), sde=sde)
    trained.config.sampling.ode.update(steps="grid", num_steps=40)
    latents = trained.latents(np.ones((1, 2, 2, 1), np.float32))
    np.testing.assert_allclose(latents, 4.8e-5, atol=1e-3)


def test_latents_are_those_of_the_class():
    trained = known(gaussians(), 2)
    told = trained.latents(X, labels=[1, 0, 1])
    np.testing.assert_allclose(told, exact(X, [1, 0, 1]), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(trained.from_latents(told, labels=[1, 0, 1]), X, atol=1e-4)
    np.testing.assert_allclose(
        trained.latents(X, labels=0), exact(X, [0] * 3), rtol=1e-4, atol=1e-4
    )
    # The latent of one class, brought back as the other's, is an image of the other.
    shift = np.sqrt(ALPHA_SQUARED_T) * (MEANS[1] - MEANS[0]) * np.sqrt(VARIANCES[0])
    other = MEANS[0] + shift + np.sqrt(VARIANCES[0] / VARIANCES[1]) * (X - MEANS[1])
    moved = trained.from_latents(trained.latents(X, labels=1), labels=0)
    np.testing.assert_allclose(moved, other, atol=1e-3)
    trained.config.training.label_dropout = 0.1
    untold = trained.latents(X)
    np.testing.assert_allclose(untold, exact(X, [2] * 3), rtol=1e-4, atol=1e-4)


def test_latents_are_those_of_the_text():
    trained = known(gaussians(WordGaussians))
    trained.config.model.update(name="ncsnpp", words="dark bright")
    told = trained.latents(X, texts=["bright", "dark", "Bright"])
    np.testing.assert_allclose(told, exact(X, [1, 0, 1]), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(trained.from_latents(told[:1], texts="bright"), X[:1], atol=1e-4)


def test_stored_images_come_back():
    trained = known(gaussians())
    np.testing.assert_array_equal(trained.decode(trained.encode(X)), X)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda of: of.latents(X[0]), r"Trained.latents of float32 \(2, 2, 1\): expected"),
        (lambda of: of.latents(X.astype(int)), "Trained.latents of int64"),
        (lambda of: of.from_latents(X / 0), r"Trained.from_latents: x\[0\] has NaN or infinite"),
        (lambda of: of.decode(X[:, :1]), r"decode of float32 \(3, 1, 2, 1\)"),
        (lambda of: of.latents(X, labels=[1]), r"labels=\[1\] of 3 images"),
        (lambda of: of.latents(X, labels=2), r"labels=\[2, 2, 2\]: expected classes from 0 to 1"),
        (lambda of: of.latents(X, texts="bright"), "with a text of each .* conditioned on label"),
        (
            lambda of: of.config.sampling.update(threshold="static") or of.latents(X),
            "sampling.threshold='static' with latents",
        ),
        (
            lambda of: of.config.training.update(label_dropout=0.0) or of.latents(X),
            "Trained.latents without labels or texts needs the unconditional score",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_has_no_latent(use, words):
    trained = known(gaussians(), 2)
    trained.config.training.label_dropout = 0.1
    with pytest.raises(ConfigError, match=words):
        use(trained)


def test_texts_are_one_for_each_image():
    trained = known(gaussians(WordGaussians))
    trained.config.model.update(name="ncsnpp", words="dark bright")
    for texts, words in (
        (["dark"], "of 3 images"),
        ([1, 2, 3], "a string for each"),
        ("grey", "gr"),
    ):
        with pytest.raises(ConfigError, match=f"texts=.*{words}"):
            trained.latents(X, texts=texts)


def test_a_solver_that_gave_up_is_refused(monkeypatch):
    monkeypatch.setattr("score_sde.samplers.adaptive.MAX_STEPS", 1)
    with pytest.raises(ConfigError, match="sampling.ode.solver='dopri5' gave up"):
        known(gaussians(), 2).latents(X, labels=1)
