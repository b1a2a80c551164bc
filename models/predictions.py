"""Prediction types of a network (noise, score, image, velocity) and their conversion to a score (table: parameterization.py)."""

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
    """The label 999 t/T by which the published networks are given a time."""
    return MAX_LABEL * t / sde.T


# Noise input by the default prediction under a process (`SDE.predicts`), as the published networks take it.
NOISE_INPUTS: dict[str, Callable[[SDE, Array], Array]] = {
    "noise": noise_label,
    "flow": noise_label,
    "score": lambda sde, t: sde.sigma(t),
}


@dataclasses.dataclass(frozen=True)
class Prediction(abc.ABC):
    """Maps x and t to the inputs of the network, and its output to a score. Hashable."""

    sde: SDE

    def noise_input(self, t: PerImage) -> PerImage:
        """The network's noise input at times t."""
        return NOISE_INPUTS[self.sde.predicts](self.sde, t)

    def inputs(self, x: Images, t: PerImage) -> Images:
        """The images given to the network for x."""
        return x

    @abc.abstractmethod
    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        """The score of the marginal at t, from the network's output for x."""

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        """The probability-flow velocity dx/dt at t, from the network's output for x.

        By default it is computed from the score. Predictions that determine the image directly override it, and so do not need
        alpha > 0 (`SDE.signal_end`).
        """
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
    """out = E[x_0 | x_t], converted by Tweedie's formula; an error in it grows as 1/sigma^2 in the score."""

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return (alpha * out - x) / sigma / sigma

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return self.sde.velocity(out, (x - alpha * out) / sigma, t)


class VelocityPrediction(Prediction):
    """out = v = (alpha eps - sigma x_0) / r, orthogonal to x / r in the plane of x_0 and eps."""

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        r = jnp.hypot(alpha, sigma)
        return -(x / r + alpha / sigma * out) / r

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        r = jnp.hypot(alpha, sigma)
        turned = (
            x / r
        )  # (x / r, out) is (x_0, eps) rotated by the angle whose tangent is sigma / alpha
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
    """out = the average velocity from t down to r, for a network also conditioned on the interval t - r (Geng et al. 2025, Eq. 3).

    The loss contains its time derivative (training/mean_flow.py). With the label 999 t/T, whose fastest sinusoid has 159
    periods per unit of time, that derivative would be of the order of a thousand, so the labels are 8 t/T and 8 (t - r)/T.
    """

    def noise_input(self, t: PerImage) -> PerImage:
        return INTERVAL_LABEL * t / self.sde.T

    def interval(self, r: PerImage, t: PerImage) -> PerImage:
        """The network's input for the interval from r to t."""
        return INTERVAL_LABEL * (t - r) / self.sde.T
