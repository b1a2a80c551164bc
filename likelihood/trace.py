"""Estimators of tr M, where M is the integral of the Jacobian J of a velocity field along the trajectory of an image.

An estimator draws vectors for each image and keeps them fixed along the whole trajectory: the differential equation is then
well defined, and e . J e integrates to e . M e, whose mean is tr M (Skilling 1989; Hutchinson 1990; for
flows Grathwohl et al. 2019). The K values of an image are integrated side by side, and their spread gives its error bar.

likelihood/estimators.py registers them by the names of `likelihood.probe`; Hutch++ is in hutch_plus_plus.py. Costs are stated in
Jacobian-vector products per evaluation of the velocity.
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

Row = Float[Array, "b r"]  # r numbers per image
Several = Float[Array, "b k *dims"]  # k vectors per image
Rates = Callable[[Velocity, Images, Any], tuple[Images, Array]]


class Integral(NamedTuple):
    """The integral of rates along the trajectories of b images, with the number of evaluations and success of the solve."""

    value: Float[Array, "b *r"]
    nfe: Array
    success: Array


class Drawn(NamedTuple):
    """The vectors of each image, a tree of arrays (b, ...), with the number of evaluations and success of drawing them."""

    vectors: Any
    nfe: Array | int = 0
    success: Array | bool = True


class Trace(NamedTuple):
    """tr M of b images and its standard error."""

    value: PerImage
    standard_error: PerImage


Integrate = Callable[[Rates, Array, Any, float], Integral]
"""(rates, zeros, vectors, tolerance) -> the integral of the rates from `zeros` on, with tolerances no smaller than `tolerance`."""


class TraceEstimator(Protocol):
    """An estimator of tr M, which integrates `num_rates` numbers per image."""

    @property
    def num_rates(self) -> int: ...

    def draw(self, keys: Keys, x: Images, integrate: Integrate) -> Drawn:
        """Draw the vectors for images x (b, ...) from their keys (b,); `rates` is given them along the whole trajectory.

        `integrate` is for estimators that need a preliminary solve, whose evaluations are counted in the result's `nfe`.
        """

    def rates(self, velocity: Velocity, x: Images, vectors: Any) -> tuple[Images, Row]:
        """velocity(x) (b, ...), and the rates to integrate with it (b, num_rates): v . J v for a probe v (Hutchinson 1990)."""

    def trace(self, integrals: Row) -> Trace:
        """tr M and its standard error, both (b,), from the integrals of the rates (b, num_rates)."""


def mean_of_probes(values: Row) -> Trace:
    """The mean of K values and its standard error sd / sqrt(K); NaN for K = 1."""
    num = values.shape[1]
    mean = jnp.mean(values, axis=1)
    if num == 1:
        return Trace(mean, jnp.full_like(mean, jnp.nan))
    return Trace(mean, jnp.std(values, axis=1, ddof=1) / math.sqrt(num))


# ---- independent probes ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class GivenProbes:
    """The mean of e_k . M e_k over K probes per image, which are passed in place of the keys.

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
    """The mean over K independent probes, with 1/K of the variance of one probe. Cost: K products.

    Among probes with independent entries, random signs have the least variance, 2 sum_{i != j} M_ij^2 for symmetric M, which
    is 0 for diagonal M. Standard normal entries have 2 |M|_F^2.
    """

    probe: Callable[[Array, tuple[int, ...], Any], Array] = jax.random.rademacher

    def draw(self, keys: Keys, x: Images, integrate: Integrate) -> Drawn:
        shape = (self.num_rates, *x.shape[1:])
        return Drawn(jax.vmap(lambda key: self.probe(key, shape, x.dtype))(keys))


# ---- orthogonal probes ----------------------------------------------------------------------------------


def hadamard_order(dimension: int) -> int:
    """The smallest power of two N >= D."""
    return 1 << (dimension - 1).bit_length()


def hadamard_row(i: Integers, dimension: int) -> Int[Array, "b {dimension}"]:
    """The first D entries of rows i of Sylvester's matrix, (-1)^popcount(i & j)."""
    bits = jax.lax.population_count(i[:, None] & jnp.arange(dimension, dtype=i.dtype)[None])
    return 1 - 2 * (bits & 1)


@dataclasses.dataclass(frozen=True)
class OrthogonalProbes:
    """K of the N = 2^ceil(log2 D) rows of a Hadamard matrix, drawn without replacement, times one random sign vector.

    Each probe is a Rademacher vector, and all N give the exact trace, so the mean of K has the variance of a sample without
    replacement from a finite population: (1/K) (N - K)/(N - 1) of that of one probe, less than for independent probes. (An
    antithetic pair e, -e would gain nothing, as both have the same e . M e; for a quadratic form, orthogonality is what makes
    probes negatively correlated.) The standard error is sd sqrt((1 - K/N) / K), 0 if K = N.

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
    """The exact trace, the sum of D diagonal entries. Cost: D products, `at_once` of them per pass."""

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
