"""Score models, which are pytrees called as `score(x, t)`, and the equivalent denoised image, noise and velocity.

x is (b, ...), t is (b,), and the result is the gradient of the log-density of the marginal at t with respect to x. A
network with its parameters is a score model; models/exact.py has closed-form ones.

A model may take a condition on each image: a tree of arrays (b, ...), or `()` for none. It is bound to the model
beforehand with `model.given(condition)`, so that samplers and likelihoods see only x and t. A plain function of (x, t)
serves as a model without conditions.

A model that gives E[x_0 | x_t] directly, rather than through its score, has a method `velocity(x, t)`, the velocity of the
probability flow, which is finite where alpha = 0 (`flow_velocity`).
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable
from typing import Any, Protocol, Self

import flax.struct
import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Images, Integers, Keys, PerImage, check_shape

Velocity = Callable[[Images, PerImage], Images]
INTERVAL = "interval"  # key of the interval length in a condition


class ScoreModel(Protocol):
    """Anything callable as score(x, t): a network with its weights, or a closed form."""

    def __call__(self, x: Images, t: PerImage) -> Images: ...

    @property
    def condition(self) -> Any:
        """The bound condition, a tree of arrays (b, ...); `()` for none."""

    @property
    def unconditional(self) -> ScoreModel:
        """The model with the null condition, of the same structure as the bound one, so that one call can evaluate both."""

    @property
    def evaluations(self) -> int:
        """Network evaluations per image of one call."""

    def given(self, condition: Any) -> ScoreModel:
        """Return the same model with `condition` in place of the bound one.

        Raises:
          ValueError: the model does not take such a condition.
        """


def condition_of(score: Any) -> Any:
    """The condition bound to a score model; () for none."""
    return getattr(score, "condition", ())


def evaluations_of(score: Any) -> int:
    """Network evaluations of one call of a score model; 1 if it has no attribute `evaluations`."""
    return getattr(score, "evaluations", 1)


def velocity_of(score: Any) -> Velocity | None:
    """The model's own probability-flow velocity, (x, t) -> dx/dt; None if it has none."""
    return getattr(score, "velocity", None)


def bind(score: Any, condition: Any) -> Any:
    """Return `score.given(condition)`; a plain function takes only `()` and is returned as it is."""
    if hasattr(score, "given"):
        return score.given(condition)
    takes_none(condition)
    return score


def takes_none(condition: Any) -> Any:
    """Check the condition of a model that takes none, and return `()`.

    Raises:
      ValueError: the condition is not empty.
    """
    if jax.tree.leaves(condition):
        raise ValueError(
            f"a score model without conditions was given {jax.tree.map(jax.typeof, condition)}: expected (); only "
            "a network built for a class, an image, a text or an interval takes such a condition"
        )
    return ()


def each_alone(function: Callable[..., Any], score: Any, *images: Any) -> Any:
    """Map `function(score, *images)` over single images (vmap), each with its own part of the score's condition.

    `images` are arrays, or trees of arrays, with a leading batch axis. The function is given batches of one, so a result
    with a batch axis is returned as (b, 1, ...).
    """

    def alone(condition: Any, *one: Any) -> Any:
        condition, one = jax.tree.map(lambda leaf: leaf[None], (condition, one))
        return function(bind(score, condition), *one)

    return jax.vmap(alone)(condition_of(score), *images)


class WithoutCondition:
    """Mixin for score models that take no condition."""

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
    """Base class of score models that wrap another, which holds the condition and is evaluated."""

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


def score_at(score: Any, x: Images, t: PerImage) -> Images:
    """The score at (x, t).

    Raises:
      UserError: it does not have the shape of x, against which it would be broadcast.
    """
    value = score(x, t)
    check_shape("the score", value.shape, x.shape)
    return value


def score_and_variance(score: Any, x: Images, t: PerImage) -> tuple[Images, Images | None]:
    """The score at (x, t), and the variance output of the model's network there; None for a model without one."""
    with_variance = getattr(score, "with_variance", None)
    return (score_at(score, x, t), None) if with_variance is None else with_variance(x, t)


@flax.struct.dataclass
class ChangedScore(ScoreWrapper):
    """Base class of models that modify another's score, and pass its variance output on unchanged."""

    def changed(self, x: Images, t: PerImage, score: Images) -> Images:
        """The score of this model at (x, t), from that of the wrapped model."""
        raise NotImplementedError

    def __call__(self, x: Images, t: PerImage) -> Images:
        return self.changed(x, t, score_at(self.model, x, t))

    def with_variance(self, x: Images, t: PerImage) -> tuple[Images, Images | None]:
        score, v = score_and_variance(self.model, x, t)
        return self.changed(x, t, score), v


def lists_as_arrays(condition: Any) -> Any:
    """A condition in which lists of numbers, such as {"label": [3, 2]}, are arrays."""

    def listed(node: Any) -> bool:
        return isinstance(node, list) and all(isinstance(of, numbers.Number) for of in node)

    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf) if listed(leaf) else leaf, condition, is_leaf=listed
    )


def images_and_times(x: Any, t: Any) -> tuple[Any, Any]:
    """The images and times of a call as arrays.

    Raises:
      ConfigError: integer images, which are levels as stored, and would be evaluated far outside the network's range.
    """
    x, t = jnp.asarray(x), jnp.asarray(t)
    check_real("the score of images", x)
    return x, t


def check_real(what: str, x: Images) -> None:
    """Refuse integer images, which are levels as stored."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ConfigError(
            f"{what} of type {x.dtype}: expected the model's arrays, real numbers; `Trained.encode` or the space's "
            "`encode_middle` converts stored images"
        )


def check_images(what: str, x: Images) -> None:
    """Refuse integer images, and a batch of none."""
    check_real(what, x)
    if not x.shape or not x.shape[0]:
        raise ConfigError(f"{what} of shape {x.shape}: expected (b, ...) of one or more images")


@flax.struct.dataclass
class NetworkScore:
    """A network with its parameters and parameterization, and the condition bound to it.

    Only `params` and `condition` are leaves, so a jitted function that takes the model is retraced for another network
    but never for other weights.
    """

    params: Any
    apply: Callable[..., Any] = flax.struct.field(pytree_node=False)
    parameterization: Any = flax.struct.field(pytree_node=False)
    condition: Any = ()
    null_condition: Callable[[Any], Any] = flax.struct.field(pytree_node=False, default=takes_none)
    """The network's function from a condition to the null condition of the same structure."""

    evaluations = 1

    @property
    def unconditional(self) -> Self:
        return dataclasses.replace(self, condition=self.null_condition(self.condition))

    def given(self, condition: Any) -> Self:
        condition = lists_as_arrays(condition)
        self.null_condition(condition)  # raises if the network does not take it
        return dataclasses.replace(self, condition=condition)

    def __call__(self, x: Images, t: PerImage, dropout_keys: Keys | None = None) -> Images:
        """The score at (x, t). `dropout_keys`, one per image, are given in training only."""
        x, t = images_and_times(x, t)
        return self.parameterization.score(self._at(x, t, dropout_keys)[0], x, t)

    def velocity(self, x: Images, t: PerImage, dropout_keys: Keys | None = None) -> Images:
        """The probability-flow velocity dx/dt at (x, t), for t up to T."""
        x, t = images_and_times(x, t)
        return self.parameterization.velocity(self._at(x, t, dropout_keys)[0], x, t)

    def average_velocity(
        self, x: Images, r: PerImage, t: PerImage, dropout_keys: Keys | None = None
    ) -> Images:
        """The average velocity (x - x_r) / (t - r) of a network conditioned on intervals (MeanFlow).

        x_r is the point that the flow from x at t reaches at r.
        """
        length = self.parameterization.interval(r, t)
        condition = {**dict(self.condition), INTERVAL: length}
        return dataclasses.replace(self, condition=condition).velocity(x, t, dropout_keys)

    def at_level(self, x: Images, level: Integers, dropout_keys: Keys | None = None) -> Images:
        """The score at a level of the discrete chain, for networks trained on one."""
        return self.at_level_with_variance(x, level, dropout_keys)[0]

    def with_variance(self, x: Images, t: PerImage) -> tuple[Images, Images | None]:
        """The score at (x, t), and the network's variance output v in [-1, 1], from beta_tilde to beta; None if it has none."""
        x, t = images_and_times(x, t)
        out, v = self._at(x, t, None)
        return self.parameterization.score(out, x, t), v

    def at_level_with_variance(
        self, x: Images, level: Integers, dropout_keys: Keys | None = None
    ) -> tuple[Images, Images | None]:
        """The score and the variance output at a level of the discrete chain."""
        noise_input = self.parameterization.noise_input_at_level(level)
        out, v = self._halves(x, noise_input, dropout_keys)
        return self.parameterization.score_at_level(out, level), v

    def _at(self, x: Images, t: PerImage, dropout_keys: Keys | None) -> tuple[Any, Any]:
        noise_input = self.parameterization.noise_input(t)
        inputs = self.parameterization.inputs(x, t)
        return self._halves(inputs, noise_input, dropout_keys)

    def log_variance(self, t: PerImage) -> PerImage:
        """Logarithm of the squared error that the network predicts for itself at t; only for networks with such a head."""
        noise_input = self.parameterization.noise_input(t)
        return self.apply({"params": self.params}, noise_input, method="log_variance")

    def _halves(
        self, inputs: Images, noise_input: PerImage, dropout_keys: Keys | None
    ) -> tuple[Any, Any]:
        """Evaluate the network, and split off the second half of the channels, its variance output v, if it has one."""
        out = self.apply({"params": self.params}, inputs, noise_input, self.condition, dropout_keys)
        channels, v = inputs.shape[-1], None
        if out.shape[-1] == 2 * channels:
            out, v = out[..., :channels], out[..., channels:]
        check_shape("the network's output", out.shape, inputs.shape)
        return out, v


def said_of_variance(v: Images | None) -> Images:
    """Return a network's variance output.

    Raises:
      ConfigError: the network has none.
    """
    if v is None:
        raise ConfigError(
            "this needs a network that predicts the variance of a step, and this one does not; train one with model.name=dit or adm, "
            "model.learned_variance=True and training.continuous=False"
        )
    return v


def flow_velocity(sde: SDE, score: Any, x: Images, t: PerImage) -> Images:
    """The probability-flow velocity dx/dt (Song et al. 2021, Eq. 13): the model's own, if it gives one.

    Otherwise it is f x - g^2/2 score, evaluated at `signal_end` for later times of a process with alpha(T) = 0.
    """
    native = velocity_of(score)
    if native is not None:
        return native(x, t)
    if sde.signal_end < sde.T:
        t = jnp.minimum(t, sde.signal_end)
    return sde.reverse_drift(x, t, score_at(score, x, t), h=0.0)


def denoise(sde: SDE, score: Images, x: Images, t: PerImage) -> Images:
    """The denoised image E[x_0 | x_t] by Tweedie's formula, (x + sigma^2 score) / alpha."""
    check_shape("the score", score.shape, x.shape)
    sigma, alpha = expand(sde.sigma(t), x), expand(sde.alpha(t), x)
    return (x + sigma * (sigma * score)) / alpha


def score_moved_by(sde: SDE, score: Images, t: PerImage, change: Images) -> Images:
    """The score whose denoised image is that of `score` plus `change`: score + (alpha / sigma^2) change.

    It is computed as a correction, because (alpha D - x) / sigma^2 would round the score even where `change` is 0.
    """
    return score + expand(sde.alpha(t) / jnp.square(sde.sigma(t)), score) * change


def predicted_noise(sde: SDE, score: Images, t: PerImage) -> Images:
    """The predicted noise eps_hat = -sigma score, the mean of eps given x_t = alpha x_0 + sigma eps."""
    return -expand(sde.sigma(t), score) * score
