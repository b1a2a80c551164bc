"""What a network predicts of x_t: noise, the score, the image or a velocity, each as a score (table: parameterization.py)."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Array, Images, PerImage

MAX_LABEL = 999.0
INTERVAL_LABEL = 8.0


def noise_label(sde: SDE, t: PerImage) -> PerImage:
    """999 t/T, the label that the published networks are given for a time."""
    return MAX_LABEL * t / sde.T


# By what a network predicts as a rule under a process: the published networks take time so.
NOISE_INPUTS: dict[str, Callable[[SDE, Array], Array]] = {
    "noise": noise_label,
    "flow": noise_label,
    "score": lambda sde, t: sde.sigma(t),
}


@dataclasses.dataclass(frozen=True)
class Prediction(abc.ABC):
    """Maps x and time to what the network is given, and its output to a score. Hashable."""

    sde: SDE

    def noise_input(self, t: PerImage) -> PerImage:
        """The network's noise input at times t."""
        return NOISE_INPUTS[self.sde.predicts](self.sde, t)

    def inputs(self, x: Images, t: PerImage) -> Images:
        """The images that it is given for x."""
        return x

    @abc.abstractmethod
    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        """The score of the marginal at t, from the network's output for x."""

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        """dx/dt of the probability flow, from the same. What knows the image by itself needs no alpha > 0: `SDE.signal_end`."""
        return self.sde.reverse_drift(x, t, self.score(out, x, t), h=0.0)


class NoisePrediction(Prediction):
    """out = eps_hat, the noise of x_t = alpha x_0 + sigma eps."""

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        return -out / expand(self.sde.sigma(t), out)


class ScorePrediction(Prediction):
    """out = score; the noise input is sigma."""

    def noise_input(self, t: PerImage) -> PerImage:
        return NOISE_INPUTS["score"](self.sde, t)

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        return out


class X0Prediction(Prediction):
    """out = E[x_0 | x_t]; Tweedie's formula the other way round. The score of an imperfect one grows as 1/sigma^2."""

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return (alpha * out - x) / sigma / sigma

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return self.sde.velocity(out, (x - alpha * out) / sigma, t)


class VelocityPrediction(Prediction):
    """out = v = (alpha eps - sigma x_0) / r, at right angles to x / r in the plane of x_0 and eps."""

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        r = jnp.hypot(alpha, sigma)
        return -(x / r + alpha / sigma * out) / r

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        r = jnp.hypot(alpha, sigma)
        turned = (
            x / r
        )  # (x / r, out) is (x_0, eps) turned by the angle whose tangent is sigma / alpha
        x0, noise = (alpha * turned - sigma * out) / r, (sigma * turned + alpha * out) / r
        return self.sde.velocity(x0, noise, t)


class FlowPrediction(Prediction):
    """out = alpha' E[x_0 | x_t] + sigma' E[eps | x_t], the velocity of the probability flow (Lipman et al. 2023)."""

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma, alpha_rate, sigma_rate = (
            expand(of(t), x)
            for of in (self.sde.alpha, self.sde.sigma, self.sde.alpha_rate, self.sde.sigma_rate)
        )
        return (alpha_rate * x - alpha * out) / (sigma * (alpha * sigma_rate - sigma * alpha_rate))

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        return out


class AverageFlowPrediction(FlowPrediction):
    """out = the average velocity from t down to r, of a network conditioned on the interval t - r too (Geng et al. 2025, Eq. 3).

    Its derivative in time is learnt from (training/mean_flow.py), and label 999 t/T, whose fastest sinusoid turns 159 times in a
    unit of time, would give that derivative the size of a thousand: both labels are 8 t/T here.
    """

    def noise_input(self, t: PerImage) -> PerImage:
        return INTERVAL_LABEL * t / self.sde.T

    def interval(self, r: PerImage, t: PerImage) -> PerImage:
        """The network's input of the interval from r to t."""
        return INTERVAL_LABEL * (t - r) / self.sde.T
