"""Estimators of tr M for M, the integral of a velocity field's Jacobian J along each image's trajectory.

An estimator draws vectors for each image, which stay the same for the whole trajectory: so the differential equation is
well defined, and e . J e integrates to e . M e, a number whose mean is tr M (Skilling 1989; Hutchinson 1990; for
flows Grathwohl et al. 2019). The K numbers of an image are integrated side by side, and their spread is its error bar.

likelihood/estimators.py has them by the names of `likelihood.probe`, and Hutch++ a file of its own. Costs are Jacobian-vector products for each evaluation of the velocity.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from score_sde.likelihood.divergence import Velocity, quadratic_forms, unit_vectors
from score_sde.shapes import Array, Images, Index, Integers, Keys, OneKey, PerImage

Row = Float[Array, "b r"]  # numbers of each image
Several = Float[Array, "b k *dims"]  # vectors of each image
Rates = Callable[[Velocity, Images, Any], tuple[Images, Array]]


class Integral(NamedTuple):
    """Of rates along the trajectories of b images, with what it took."""

    value: Float[Array, "b *r"]
    nfe: Array
    success: Array


class Drawn(NamedTuple):
    """The vectors of each image, a tree of arrays that begin with b, and what drawing them took."""

    vectors: Any
    nfe: Array | int = 0
    success: Array | bool = True


class Trace(NamedTuple):
    """tr M of b images and its standard error."""

    value: PerImage
    standard_error: PerImage


Integrate = Callable[[Rates, Array, Any, float], Integral]
"""Of the rates (b, ...), from zeros of the shape given, with the vectors given, at least at this tolerance."""


class TraceEstimator(Protocol):
    """How tr M is estimated. `num_rates` numbers of an image are integrated."""

    @property
    def num_rates(self) -> int: ...

    def draw(self, keys: Keys, x: Images, integrate: Integrate) -> Drawn:
        """Vectors for images x (b, ...) from a key for each, (b,): those that `rates` is told all along a trajectory.

        `integrate` is for estimators that need a solve of their own before it; its evaluations are in the result's `nfe`.
        """

    def rates(self, velocity: Velocity, x: Images, vectors: Any) -> tuple[Images, Row]:
        """velocity(x) (b, ...), and what is integrated beside it, (b, num_rates): of a probe v, v . J v (Hutchinson 1990)."""

    def trace(self, integrals: Row) -> Trace:
        """The trace's integral along each trajectory and its standard error, both (b,), from the integrals of the rates (b, num_rates)."""


def mean_of_probes(values: Row) -> Trace:
    """The mean of K values and sd / sqrt(K), NaN for K = 1: one value shows no spread."""
    num = values.shape[1]
    mean = jnp.mean(values, axis=1)
    if num == 1:
        return Trace(mean, jnp.full_like(mean, jnp.nan))
    return Trace(mean, jnp.std(values, axis=1, ddof=1) / math.sqrt(num))


# ---- independent probes ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class GivenProbes:
    """The mean of e_k . M e_k over K probes of each image, given in the place of keys.

    Cost: K products.
    """

    num_rates: int = 1
    at_once: int = 16

    def draw(self, keys: Array, x: Images, integrate: Integrate) -> Drawn:
        return Drawn(keys)

    def rates(self, velocity: Velocity, x: Images, vectors: Several) -> tuple[Images, Row]:
        return quadratic_forms(velocity, x, lambda k: vectors[:, k], self.num_rates, self.at_once)

    def trace(self, integrals: Row) -> Trace:
        return mean_of_probes(integrals)


@dataclasses.dataclass(frozen=True)
class IndependentProbes(GivenProbes):
    """The mean over K independent probes, of variance 1/K of one's. Cost: K products.

    Signs have the least variance of independent entries, 2 sum_{i != j} M_ij^2: none for diagonal M. Standard normal
    ones have 2 |M|_F^2.
    """

    probe: Callable[[Array, tuple[int, ...], Any], Array] = jax.random.rademacher

    def draw(self, keys: Keys, x: Images, integrate: Integrate) -> Drawn:
        shape = (self.num_rates, *x.shape[1:])
        return Drawn(jax.vmap(lambda key: self.probe(key, shape, x.dtype))(keys))


# ---- probes at right angles -----------------------------------------------------------------------------


def hadamard_order(dimension: int) -> int:
    """The power of two N >= D."""
    return 1 << (dimension - 1).bit_length()


def hadamard_row(i: Integers, dimension: int) -> Int[Array, "b {dimension}"]:
    """The first D entries of rows i of Sylvester's matrix, (-1)^popcount(i & j)."""
    bits = jax.lax.population_count(i[:, None] & jnp.arange(dimension, dtype=i.dtype)[None])
    return 1 - 2 * (bits & 1)


@dataclasses.dataclass(frozen=True)
class OrthogonalProbes:
    """K of the N = 2^ceil(log2 D) rows of a Hadamard matrix, drawn without replacement, times one random sign vector.

    Each probe is a Rademacher vector, and all N give the exact trace; so K of them have the variance of a sample
    from a finite population, (1/K) (N - K)/(N - 1) of one's: less than that of independent ones. (An antithetic pair
    e, -e would gain nothing: both have the same e . M e. For a quadratic form, probes at right angles are what
    negative correlation means.) The standard error is sd sqrt((1 - K/N) / K), 0 for all N.

    Cost: K products.
    """

    num_rates: int
    at_once: int
    order: int

    def draw(self, keys: Keys, x: Images, integrate: Integrate) -> Drawn:
        def one(key: OneKey) -> tuple[Array, Array]:
            sign_key, row_key = jax.random.split(key)
            signs = jax.random.rademacher(sign_key, x.shape[1:], x.dtype)
            rows = jax.random.permutation(row_key, jnp.arange(self.order, dtype=jnp.int32))
            return signs, rows[: self.num_rates]

        return Drawn(jax.vmap(one)(keys))

    def rates(
        self, velocity: Velocity, x: Images, vectors: tuple[Images, Int[Array, "b k"]]
    ) -> tuple[Images, Row]:
        signs, rows = vectors

        def probe(k: Index) -> Images:
            row = hadamard_row(rows[:, k], x[0].size)
            return signs * row.reshape(x.shape).astype(x.dtype)

        return quadratic_forms(velocity, x, probe, self.num_rates, self.at_once)

    def trace(self, integrals: Row) -> Trace:
        mean, standard_error = mean_of_probes(integrals)
        if self.num_rates == self.order:
            return Trace(mean, jnp.zeros_like(mean))
        return Trace(mean, standard_error * math.sqrt(1 - self.num_rates / self.order))


# ---- the exact trace ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ExactTrace:
    """The sum of the D diagonal entries. Cost: D products, `at_once` of them in a pass."""

    at_once: int = 16
    num_rates: int = 1

    def draw(self, keys: Array, x: Images, integrate: Integrate) -> Drawn:
        return Drawn(())

    def rates(self, velocity: Velocity, x: Images, vectors: Any) -> tuple[Images, Row]:
        dimension = x[0].size
        value, diagonal = quadratic_forms(velocity, x, unit_vectors(x), dimension, self.at_once)
        return value, jnp.sum(diagonal, axis=1, keepdims=True)

    def trace(self, integrals: Row) -> Trace:
        return Trace(integrals[:, 0], jnp.zeros_like(integrals[:, 0]))
