"""Brownian motion for diffrax's solvers, tied to each image rather than to its batch.

Both paths are functions of a variable s that increases from noise to data, such as -t or ln(alpha/sigma). It must increase:
for decreasing times, diffrax 0.7 uses the wrong sign of the drift in its solvers for additive noise (SRA1, ShARK, SEA), and
flips the sign of the space-time Levy area, which a path run backwards keeps.

Besides the increment W over a step of length ds they provide its space-time Levy area H, the mean deviation of the path from
its chord: N(0, ds/12), independent of W.
"""

from __future__ import annotations

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from score_sde.samplers.noise import Noise
from score_sde.shapes import Images, Keys, OneKey, Points, Scalar


class ScalarNoise(diffrax.ControlTerm):
    """g(s) dw with a scalar g for all coordinates, where diffrax expects a matrix."""

    def prod(self, vf: Any, control: Any) -> Any:
        return vf * control


class GridPath(diffrax.AbstractBrownianPath):
    """Brownian motion along the steps of a known grid, drawn by the index k of the step.

    W = sqrt(ds) noise(k, 0) and H = sqrt(ds/12) noise(k, 1). Nothing is stored, and slot 1 is drawn only for solvers that
    request H. A requested interval is identified with the step whose midpoint is nearest, so that its ends may have rounding
    errors; intervals other than steps of the grid would not be consistent with each other.

    Args:
      grid: the increasing values of s, (num_steps + 1,).
      noise: the source of the noise.
      like: an array with shape and dtype of the state, (b, ...).
    """

    grid: Points
    noise: Noise
    like: Images
    levy_area: type = eqx.field(default=diffrax.SpaceTimeLevyArea, static=True, init=False)

    @property
    def t0(self) -> Scalar:  # type: ignore[override]  # a property in diffrax's own paths too
        return self.grid[0]

    @property
    def t1(self) -> Scalar:  # type: ignore[override]
        return self.grid[-1]

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        """The increment from t0 to t1, (b, ...); with `use_levy` a SpaceTimeLevyArea with it and H."""
        middles = 0.5 * (self.grid[:-1] + self.grid[1:])
        k = jnp.argmin(jnp.abs(middles - 0.5 * (t0 + t1)))
        ds = jnp.asarray(t1 - t0, self.like.dtype)
        increment = jnp.sqrt(ds) * self.noise(k, 0, self.like)
        if not use_levy:
            return increment
        area = jnp.sqrt(ds / 12.0) * self.noise(k, 1, self.like)
        return diffrax.SpaceTimeLevyArea(dt=ds, W=increment, H=area)


# As a fraction of the whole interval: the shortest step that a tree supports and float32 resolves.
RESOLUTION = 2.0**-22
TREE = 2**31 - 1  # folded into an image's key; no step of a grid has this number


class ImageTrees(diffrax.AbstractBrownianPath):
    """One Brownian path per image, drawn from the image's own key and consistent over any intervals.

    Adaptive steps can therefore be rejected and halved, and the path of an image depends neither on the steps nor on the
    other images. Each is a virtual Brownian tree (Jelincic, Foster and Kidger 2024) rooted at the data end: the steps there
    are the shortest, and rounding errors grow with the distance from the root.

    Args:
      keys: one per image, (b,); those of `IndexedNoise`.
      t0, t1: the ends of the increasing variable.
      like: an array with shape and dtype of the state, (b, ...).

    Cost: about a hundred draws of standard normal noise per step.
    """

    keys: Keys
    t0: Scalar  # type: ignore[misc]
    t1: Scalar  # type: ignore[misc]
    like: Images
    levy_area: type = eqx.field(default=diffrax.SpaceTimeLevyArea, static=True, init=False)

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        """The increment from t0 to t1, (b, ...); with `use_levy` a SpaceTimeLevyArea with it and H."""
        length = self.t1 - self.t0
        image = jax.ShapeDtypeStruct(self.like.shape[1:], self.like.dtype)

        def from_the_root(key: OneKey) -> diffrax.SpaceTimeLevyArea:
            tree = diffrax.VirtualBrownianTree(
                t0=jnp.zeros_like(length),
                t1=length,
                tol=RESOLUTION * length,
                shape=image,
                key=jax.random.fold_in(key, TREE),
                levy_area=diffrax.SpaceTimeLevyArea,
            )
            return tree.evaluate(self.t1 - t1, self.t1 - t0, use_levy=True)

        there = jax.vmap(from_the_root)(self.keys)
        if not use_levy:
            return there.W
        # The path is the negative of the tree's, run backwards: W keeps its sign and H changes sign.
        ds = jnp.asarray(t1 - t0, self.like.dtype)
        return diffrax.SpaceTimeLevyArea(dt=ds, W=there.W, H=jnp.negative(there.H))
