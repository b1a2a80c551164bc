"""Training a classifier of noisy images: its figures against known optimal ones, and that its runs behave like others."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm, truncnorm

from score_sde.configs.digits import digits_config
from score_sde.data import Datasets
from score_sde.data.splits import ImagesInMemory
from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.models import noisy_classifier
from score_sde.models.exact import GaussianScore, MixtureScore
from score_sde.models.predictions import noise_label
from score_sde.modes import sample, train
from score_sde.sde_lib import EDM, VE, VP, SubVP, build_sde
from score_sde.training import classifier_task
from score_sde.training.checkpoints import restore_ema
from score_sde.training.classifier_task import (
    ClassifierLoss,
    Labelled,
    Right,
    RightAtEps,
    build_classifier_task,
    held_out_accuracy,
)
from score_sde.training.kinds import KINDS
from score_sde.training.times import TIMES as TIMES_BY_NAME
from score_sde.training.times import LogSNRTimes, UniformTimes
from score_sde.training.weightings import CLASSIFIER_WEIGHTINGS
from tests.training.test_losses import uniform_nodes


class Exact:
    """N(1, 1) of class 0 and N(-1, 1) of class 1."""

    mixture = MixtureScore(
        jnp.array([0.5, 0.5]),
        jax.vmap(lambda mean: GaussianScore(mean[None], jnp.ones(1), jnp.eye(1), SubVP()))(
            jnp.array([1.0, -1.0])
        ),
    )

    def logits(self, x, t, keys):
        assert keys is None
        return self.mixture.log_posterior(x, t).T + 7.0

    def log_probability(self, x, t, labels, keys):
        assert keys is None
        return noisy_classifier.of_label(self.mixture.log_posterior(x, t).T, labels)


NUMBER = 40_000
TIMES = np.array([1e-3, 0.3, 0.6, 1.0])


def found(loss):
    """Of NUMBER images at each of TIMES."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (4, NUMBER))
    x0 = 1.0 - 2.0 * labels + rng.standard_normal((4, NUMBER))
    z = rng.standard_normal((4, NUMBER))

    @jax.jit
    def at(labels, x0, t, z):
        return loss.at(Labelled(Exact(), labels), x0[:, None], jnp.full(NUMBER, t), z[:, None])

    rows = (jnp.asarray(part, jnp.float32) for part in (x0, TIMES, z))
    x0, times, z = rows
    return np.stack([at(*row) for row in zip(jnp.asarray(labels), x0, times, z, strict=True)])


def test_accuracy_is_that_of_the_best_classifier():
    """Phi(alpha / sqrt(alpha^2 + sigma^2)), and chance at the end; within 5 standard errors: at most one false alarm in 10^5."""
    right = found(Right(SubVP(), UniformTimes(SubVP(), 1e-3)))
    assert set(np.unique(right)) == {0.0, 1.0}
    alpha, sigma = (np.asarray(of(jnp.asarray(TIMES))) for of in (SubVP().alpha, SubVP().sigma))
    expected = norm.cdf(alpha / np.hypot(alpha, sigma))
    errors = np.sqrt(expected * (1 - expected) / NUMBER)
    assert (np.abs(right.mean(axis=1) - expected) < 5 * errors).all()
    assert expected[0] > 0.84 > 0.503 > expected[-1]


def test_loss_is_the_entropy_of_what_is_not_known():
    """H(label | x_t) in nats, by quadrature over x_t; ln 2 at the end. Within 5 standard errors."""
    losses = found(ClassifierLoss(SubVP(), UniformTimes(SubVP(), 1e-3)))
    for t, loss in zip(TIMES, losses, strict=True):
        alpha, sigma = float(SubVP().alpha(jnp.asarray(t))), float(SubVP().sigma(jnp.asarray(t)))
        x, std = np.linspace(-9, 9, 4001), np.hypot(alpha, sigma)
        densities = np.stack([norm.pdf(x, sign * alpha, std) for sign in (1, -1)])
        share = densities / densities.sum(axis=0)
        expected = np.trapezoid(-np.sum(0.5 * densities * np.log(share), axis=0), x)
        assert abs(loss.mean() - expected) < 5 * loss.std() / np.sqrt(NUMBER) + 1e-6


def test_times_are_those_of_the_density():
    """The mean over uniform times, however they are drawn; all times at eps for the accuracy there."""
    sde, u = VP(), jnp.array([0.2, 0.9])
    times = LogSNRTimes(sde, 1e-3)
    x0, z, labels = jnp.ones((2, 1)), jnp.array([[0.3], [-2.5]]), jnp.array([0, 1])
    model, t = Labelled(Exact(), labels), times.at(u)
    loss = ClassifierLoss(sde, times)
    expected = times.correction(t) * loss.at(model, x0, t, z)
    np.testing.assert_allclose(loss(model, x0, u, z), expected, rtol=1e-6)
    clean = RightAtEps(sde, times)(model, x0, u, z)
    np.testing.assert_array_equal(clean, [1.0, 0.0])
    np.testing.assert_allclose(loss.log_snr(u), sde.log_snr(t), rtol=1e-6)


def weighed(times, weighting, sde, **training):
    """The objective under a config of these times and this weighting, of a network that knows the noise level alone."""
    config = small(
        **{
            "training.times": times,
            "training.weighting": weighting,
            "training.eps": 0.002,
            "training.batch_size": 400,
            "data.random_flip": False,
            **{f"training.{name}": value for name, value in training.items()},
        }
    )
    config.noisy_classifier.update(head_channels=32)
    return config, build_classifier_task(config, sde).objective


@pytest.mark.parametrize("weighting", CLASSIFIER_WEIGHTINGS)
@pytest.mark.parametrize("times", TIMES_BY_NAME)
def test_accuracy_is_the_share_of_the_weighting(times, weighting):
    """Under EDM, of 400 images: 1 where all are right whatever the noise, and of those right below sigma = 0.3 the law's mass there."""
    config, objective = weighed(times, weighting, EDM())
    split = ImagesInMemory(np.zeros((400, 8, 8, 1), np.uint8), {"label": np.ones(400, np.int32)})
    datasets = Datasets("ones", split, split, 256)

    def accuracy(below):
        def network(variables, x, level, keys):
            right = level < noise_label(EDM(), jnp.full(len(x), below))
            return jnp.stack([jnp.where(right, -1.0, 1.0), jnp.zeros(len(x))], axis=1)

        evaluator = held_out_accuracy(
            config, dataclasses.replace(objective, apply=network), datasets, PmapDevices()
        )
        return evaluator.evaluate({}, 0)["eval_accuracy"]

    assert accuracy(np.inf) == pytest.approx(1.0, rel=1e-6)
    if times == "log_normal" and weighting == "log_normal":
        # One image in each of 400 cells of the law.
        assert accuracy(0.3) == pytest.approx(norm.cdf((np.log(0.3) + 1.2) / 1.2), abs=1 / 400)
    if times == "uniform" and weighting != "log_normal":
        assert accuracy(20.0) == pytest.approx(20 / 80, abs=1 / 400)


@pytest.mark.parametrize("times", TIMES_BY_NAME)
def test_the_expected_loss_is_that_of_its_weighting_whatever_the_times(x64, times):
    """Of a cross entropy t: (eps + T) / 2. Of the square of a standard normal in ln sigma, cut off at both ends: its second moment."""
    sde, u = VE(1e-2, 50.0), jnp.asarray(uniform_nodes()[0])
    x = jnp.zeros((len(u), 1))

    def standard(t):
        return (jnp.log(sde.sigma(t)) - 0.5) / 3

    def mean(weighting, entropy):
        law = {"log_normal_mean": 0.5, "log_normal_std": 3.0, "logit_normal_std": 2.0}
        _, objective = weighed(times, weighting, sde, **law)

        class Known:
            def log_probability(self, x, t, labels, keys):
                return -entropy(t)

        losses = jax.jit(lambda u: objective.loss(Labelled(Known(), None), x, u, x))(u)
        return uniform_nodes()[1] @ losses

    low, high = (float(standard(t)) for t in (jnp.asarray(0.002), jnp.asarray(1.0)))
    for weighting in ("noise", "uniform"):
        assert mean(weighting, lambda t: t) == pytest.approx((0.002 + 1) / 2, rel=1e-3)
    second = truncnorm(low, high).moment(2)
    assert mean("log_normal", lambda t: standard(t) ** 2) == pytest.approx(second, rel=1e-3)


# ---- as a run ----------------------------------------------------------------------------------------


class Linear(nn.Module):
    """Logits that are linear in the pixels, whatever the noise."""

    dropout: float = 0.0

    @classmethod
    def from_config(cls, config):
        return cls()

    @nn.compact
    def __call__(self, x, noise_input, dropout_keys=None):
        return nn.Dense(10)(x.reshape(len(x), -1))


def small(**changes):
    config = digits_config("vp")
    config.update_from_flattened_dict(
        {
            "training.task": "classifier",
            "training.n_iters": 60,
            "training.batch_size": 32,
            "training.eval_freq": 30,
            "training.checkpoint_freq": 30,
            "optim.lr": 0.1,
            "optim.warmup": 5,
            "optim.decay": "none",
            "model.ema_rate": 0.9,
            **changes,
        }
    )
    return config


def trained(config, folder):
    folder.mkdir(exist_ok=True)
    sde = build_sde(config)
    return train.run(config, sde, folder, *train.check(config, sde))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier_task, "NoisyClassifierNetwork", Linear)
        yield folder, trained(small(), folder)


def test_it_learns_and_says_how_well(whole):
    """Chance is .1 and ln 10 = 2.30; the digits' classes are nearly linearly separable."""
    _, figures = whole
    assert figures["step"] == 60
    assert figures["classes"] == [str(k) for k in range(10)]
    assert figures["eval_accuracy_at_eps"] > 0.6
    assert 0.15 < figures["eval_accuracy"] < figures["eval_accuracy_at_eps"]


@pytest.mark.slow
def test_a_resumed_run_is_the_run_without_a_stop(whole, tmp_path):
    folder, figures = whole
    trained(small(**{"training.n_iters": 30}), tmp_path / "run")
    again = trained(small(), tmp_path / "run")
    template = jax.eval_shape(lambda: classifier_task.init_classifier(small(), Linear()))
    ours, theirs = (restore_ema(path, template)[0] for path in (folder, tmp_path / "run"))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert again["eval_loss"] == figures["eval_loss"]
    assert again["eval_accuracy"] == figures["eval_accuracy"]


def test_its_folder_is_no_score_network(whole):
    """Refused both with its own config and with that of a score network."""
    folder, _ = whole
    with pytest.raises(UserError, match="a classifier has no score"):
        sample.check(small(), VP())
    with pytest.raises(UserError, match="trained with another config: training.task"):
        sample.run(digits_config("vp"), VP(), folder)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("training.weighting='likelihood' applies only to score networks", {"training.weighting": "likelihood"}),
        ("training.label_dropout=0.1 applies only to score networks", {"training.label_dropout": 0.1}),
        ("training.continuous=False applies only to score networks", {"training.continuous": False}),
        ("training.quality_freq=5 applies only to score networks", {"training.quality_freq": 5}),
        ("data.label=3 selects only one", {"data.label": 3}),
        ("training.task='both' is unknown", {"training.task": "both"}),
        ("training.times='never' is unknown", {"training.times": "never", "noisy_classifier.head_channels": 32}),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(words, changes):
    config = small(
        **{
            "noisy_classifier.width": 32,
            "noisy_classifier.head_channels": 32,
            "noisy_classifier.ch_mult": (1,),
            **changes,
        }
    )
    with pytest.raises(UserError, match=words):
        train.check(config, VP())


def test_more_classes_than_the_network_has_are_refused(whole, tmp_path):
    config = small(**{"noisy_classifier.num_classes": 9})
    with pytest.raises(
        UserError, match="images of class 9, but noisy_classifier.num_classes=9; set it to 10"
    ):
        trained(config, tmp_path / "run")
    assert KINDS[config.training.task].conditions(config) == ("label",)
