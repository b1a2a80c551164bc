"""Score models: pytrees that are called, `score(x, t)`, and the other faces of the same quantity.

x is (b, ...), t is (b,), and the result is the gradient of the log-density of the marginal at t, in the
units of x. A network with its parameters is one score model; models/exact.py holds others.

A model may know more of each image, its condition: a tree of arrays (b, ...), `()` for none. It is bound to the model
beforehand, `model.given(condition)`, so that samplers and likelihoods see x and t alone. A plain function of (x, t)
serves as a model without conditions.

A model that knows E[x_0 | x_t] by itself, and not from its score, says so by a method `velocity` (x, t), of the probability
flow: it is finite where alpha = 0 (`flow_velocity`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, Self

import flax.struct
import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Images, Integers, Keys, PerImage, check_shape

Velocity = Callable[[Images, PerImage], Images]
INTERVAL = "interval"  # of a condition


class ScoreModel(Protocol):
    """Anything called as score(x, t): a network with its weights, or a formula."""

    def __call__(self, x: Images, t: PerImage) -> Images: ...

    @property
    def condition(self) -> Any:
        """What is bound of each image, arrays (b, ...); `()` for none."""

    @property
    def unconditional(self) -> ScoreModel:
        """The model that says nothing of each image, with a condition of the same structure, so that one call can ask both."""

    @property
    def evaluations(self) -> int:
        """Evaluations of a network, of an image, that a call costs."""

    def given(self, condition: Any) -> ScoreModel:
        """The same model with this condition in place of the one it has.

        Raises:
          ValueError: a condition that it does not take.
        """


def condition_of(score: Any) -> Any:
    """What a score model is conditioned on; () for nothing."""
    return getattr(score, "condition", ())


def evaluations_of(score: Any) -> int:
    """Network evaluations that one call of a score model costs: 1 unless it says otherwise."""
    return getattr(score, "evaluations", 1)


def velocity_of(score: Any) -> Velocity | None:
    """(x, t) -> dx/dt of the probability flow, of a model that gives it by itself."""
    return getattr(score, "velocity", None)


def bind(score: Any, condition: Any) -> Any:
    """`score.given(condition)`, also of a plain function, to which only `()` can be given."""
    if hasattr(score, "given"):
        return score.given(condition)
    takes_none(condition)
    return score


def takes_none(condition: Any) -> Any:
    """The condition of a model that takes none, which is `()`.

    Raises:
      ValueError: another one.
    """
    if jax.tree.leaves(condition):
        raise ValueError(
            f"a score model without conditions was given {jax.tree.map(jax.typeof, condition)}: expected (); only "
            "networks with model.num_classes take labels"
        )
    return ()


def each_alone(function: Callable[..., Any], score: Any, *images: Any) -> Any:
    """`function(score, *images)` for each image alone, side by side, with its own part of the score's condition.

    Images are arrays or trees of them that begin with b. A result that begins with the batch of one is (b, 1, ...).
    """

    def alone(condition: Any, *one: Any) -> Any:
        condition, one = jax.tree.map(lambda leaf: leaf[None], (condition, one))
        return function(bind(score, condition), *one)

    return jax.vmap(alone)(condition_of(score), *images)


class WithoutCondition:
    """What a score model says of conditions that takes none."""

    condition = ()
    evaluations = 1

    @property
    def unconditional(self) -> Self:
        return self

    def given(self, condition: Any) -> Self:
        takes_none(condition)
        return self


@flax.struct.dataclass
class ScoreWrapper:
    """A score model made of another, which has the condition and does the work."""

    model: Any

    @property
    def condition(self) -> Any:
        return condition_of(self.model)

    @property
    def evaluations(self) -> int:
        return evaluations_of(self.model)

    @property
    def unconditional(self) -> Any:
        return dataclasses.replace(self, model=self.model.unconditional)

    def given(self, condition: Any) -> Self:
        return dataclasses.replace(self, model=bind(self.model, condition))


def score_and_variance(score: Any, x: Images, t: PerImage) -> tuple[Images, Images | None]:
    """The score at (x, t), and what the model's network says of the variance there; None of a model that says nothing."""
    with_variance = getattr(score, "with_variance", None)
    return (score(x, t), None) if with_variance is None else with_variance(x, t)


@flax.struct.dataclass
class ChangedScore(ScoreWrapper):
    """A model whose score is another's, changed; what that says of the variance stays as it is."""

    def changed(self, x: Images, t: PerImage, score: Images) -> Images:
        """The score of this model at (x, t), from that of the other."""
        raise NotImplementedError

    def __call__(self, x: Images, t: PerImage) -> Images:
        return self.changed(x, t, self.model(x, t))

    def with_variance(self, x: Images, t: PerImage) -> tuple[Images, Images | None]:
        score, v = score_and_variance(self.model, x, t)
        return self.changed(x, t, score), v


@flax.struct.dataclass
class NetworkScore:
    """A network, its parameters and its parameterization, and a condition of each image that the network takes.

    Only `params` and `condition` are leaves, so a jitted function that takes the model retraces for another network,
    never for other weights.
    """

    params: Any
    apply: Callable[..., Any] = flax.struct.field(pytree_node=False)
    parameterization: Any = flax.struct.field(pytree_node=False)
    condition: Any = ()
    null_condition: Callable[[Any], Any] = flax.struct.field(pytree_node=False, default=takes_none)
    """The network's: the condition of the same structure that says nothing."""

    evaluations = 1

    @property
    def unconditional(self) -> Self:
        return dataclasses.replace(self, condition=self.null_condition(self.condition))

    def given(self, condition: Any) -> Self:
        self.null_condition(condition)  # refuses what the network does not take
        return dataclasses.replace(self, condition=condition)

    def __call__(self, x: Images, t: PerImage, dropout_keys: Keys | None = None) -> Images:
        """The score at (x, t). `dropout_keys`, one for each image, are given in training only."""
        return self.parameterization.score(self._at(x, t, dropout_keys)[0], x, t)

    def velocity(self, x: Images, t: PerImage, dropout_keys: Keys | None = None) -> Images:
        """dx/dt of the probability flow at (x, t), up to T."""
        return self.parameterization.velocity(self._at(x, t, dropout_keys)[0], x, t)

    def average_velocity(
        self, x: Images, r: PerImage, t: PerImage, dropout_keys: Keys | None = None
    ) -> Images:
        """(x - x_r) / (t - r), with x_r where the flow takes x from t to r, of a network conditioned on intervals (MeanFlow)."""
        length = self.parameterization.interval(r, t)
        condition = {**dict(self.condition), INTERVAL: length}
        return dataclasses.replace(self, condition=condition).velocity(x, t, dropout_keys)

    def at_level(self, x: Images, level: Integers, dropout_keys: Keys | None = None) -> Images:
        """The score at a level of the discrete chain, for discretely trained networks."""
        return self.at_level_with_variance(x, level, dropout_keys)[0]

    def with_variance(self, x: Images, t: PerImage) -> tuple[Images, Images | None]:
        """The score at (x, t), and what the network says of the variance: v in [-1, 1], from beta_tilde to beta; None if nothing."""
        out, v = self._at(x, t, None)
        return self.parameterization.score(out, x, t), v

    def at_level_with_variance(
        self, x: Images, level: Integers, dropout_keys: Keys | None = None
    ) -> tuple[Images, Images | None]:
        """The same at a level."""
        noise_input = self.parameterization.noise_input_at_level(level)
        out, v = self._halves(x, noise_input, dropout_keys)
        return self.parameterization.score_at_level(out, level), v

    def _at(self, x: Images, t: PerImage, dropout_keys: Keys | None) -> tuple[Any, Any]:
        noise_input = self.parameterization.noise_input(t)
        inputs = self.parameterization.inputs(x, t)
        return self._halves(inputs, noise_input, dropout_keys)

    def log_variance(self, t: PerImage) -> PerImage:
        """The logarithm of the error that the network expects of itself at t, of one that has such a head."""
        noise_input = self.parameterization.noise_input(t)
        return self.apply({"params": self.params}, noise_input, method="log_variance")

    def _halves(
        self, inputs: Images, noise_input: PerImage, dropout_keys: Keys | None
    ) -> tuple[Any, Any]:
        """The output, and what a network of learned variances gives beside it in as many channels more."""
        out = self.apply({"params": self.params}, inputs, noise_input, self.condition, dropout_keys)
        channels, v = inputs.shape[-1], None
        if out.shape[-1] == 2 * channels:
            out, v = out[..., :channels], out[..., channels:]
        check_shape("the network's output", out.shape, inputs.shape)
        return out, v


def said_of_variance(v: Images | None) -> Images:
    """What a network says of the variance.

    Raises:
      ConfigError: it says nothing.
    """
    if v is None:
        raise ConfigError(
            "this needs what a network says of the variance of a step, and it says nothing: train one with model.name=dit or adm, "
            "model.learned_variance=True and training.continuous=False"
        )
    return v


def flow_velocity(sde: SDE, score: Any, x: Images, t: PerImage) -> Images:
    """dx/dt of the probability flow (Song et al. 2021, Eq. 13): the model's own velocity, if it gives one.

    Otherwise f x - g^2/2 score, which at the end of a process with alpha(T) = 0 is that of `signal_end`.
    """
    native = velocity_of(score)
    if native is not None:
        return native(x, t)
    if sde.signal_end < sde.T:
        t = jnp.minimum(t, sde.signal_end)
    return sde.reverse_drift(x, t, score(x, t), h=0.0)


def denoise(sde: SDE, score: Images, x: Images, t: PerImage) -> Images:
    """E[x_0 | x_t], by Tweedie's formula: (x + sigma^2 score) / alpha."""
    check_shape("the score", score.shape, x.shape)
    sigma, alpha = expand(sde.sigma(t), x), expand(sde.alpha(t), x)
    return (x + sigma * (sigma * score)) / alpha


def score_moved_by(sde: SDE, score: Images, t: PerImage, change: Images) -> Images:
    """The score whose expected image is that of `score` and `change`: score + (alpha / sigma^2) change.

    A correction, and not (alpha D - x) / sigma^2, which would round the score where nothing changes.
    """
    return score + expand(sde.alpha(t) / jnp.square(sde.sigma(t)), score) * change


def predicted_noise(sde: SDE, score: Images, t: PerImage) -> Images:
    """eps_hat = -sigma score, the expected noise given x_t = alpha x_0 + sigma eps."""
    return -expand(sde.sigma(t), score) * score
