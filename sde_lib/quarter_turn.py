"""Accurate sines and cosines of an angle that grows linearly in time from about 0 to about pi/2.

The cosine processes are built on them. Near pi/2 the float32 cosine of the angle has lost its digits; the sine of the remaining
angle, computed from the remaining time, keeps them.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp

from score_sde.shapes import Broadcast, Elements


@dataclasses.dataclass(frozen=True)
class QuarterTurn:
    """The angle u(t) = first + rate t, with remainder v(t) = pi/2 - u(t) = last + rate (end - t).

    `end` must be representable in float32, so that end - t is exact near it.
    """

    first: float
    last: float
    end: float

    @property
    def rate(self) -> float:
        return (0.5 * math.pi - self.first - self.last) / self.end

    def sin(self, t: Elements) -> Elements:
        return jnp.sin(self.first + self.rate * t)

    def cos(self, t: Elements) -> Elements:
        left = self.rate * (self.end - t)
        # Expanded by the addition theorem: in sin(last + left) XLA would merge the constants and lose the digits.
        return math.sin(self.last) * jnp.cos(left) + math.cos(self.last) * jnp.sin(left)

    def tan(self, t: Elements) -> Elements:
        return self.sin(t) / self.cos(t)

    def sin_of_difference(self, s: Broadcast, t: Broadcast) -> Broadcast:
        """sin(u(t) - u(s))."""
        return jnp.sin(self.rate * (t - s))

    def sin_of_sum(self, s: Broadcast, t: Broadcast) -> Broadcast:
        """sin(u(t) + u(s)), as a sum of two positive terms."""
        return self.sin(s) * self.cos(t) + self.cos(s) * self.sin(t)

    def time_of_angle(self, u: Elements) -> Elements:
        return (u - self.first) / self.rate
