"""Estimators of tr M for M, the integral of a velocity field's Jacobian J along each image's trajectory.

An estimator draws vectors for each image, which stay the same for the whole trajectory: so the differential equation is
well defined, and e . J e integrates to e . M e, a number whose mean is tr M (Skilling 1989; Hutchinson 1990; for
flows Grathwohl et al. 2019). The K numbers of an image are integrated side by side, and their spread is its error bar.

`likelihood.probe` names an entry of `ESTIMATORS`. Costs are Jacobian-vector products for each evaluation of the velocity.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from evaluation.divergence import Velocity, products, quadratic_forms, unit_vectors

SKETCH_TOLERANCE = 1e-2  # of Hutch++'s first solve: its directions may err, and stay unbiased
Rates = Callable[[Velocity, Array, Any], tuple[Array, Array]]


class Integral(NamedTuple):
    """Of rates (b, ...) along the trajectories of b images, with what it took."""

    value: Array
    nfe: Array
    success: Array


class Drawn(NamedTuple):
    """The vectors of each image, a tree of arrays that begin with b, and what drawing them took."""

    vectors: Any
    nfe: Array | int = 0
    success: Array | bool = True


class Trace(NamedTuple):
    """tr M of b images and its standard error, (b,) each."""

    value: Array
    standard_error: Array


Integrate = Callable[[Rates, Array, Any, float], Integral]
"""Of the rates (b, ...), from zeros of the shape given, with the vectors given, at least at this tolerance."""


class TraceEstimator(Protocol):
    """How tr M is estimated. `num_rates` numbers of an image are integrated."""

    @property
    def num_rates(self) -> int: ...

    def draw(self, keys: Array, x: Array, integrate: Integrate) -> Drawn:
        """Vectors for images x (b, ...) from a key for each."""
        ...

    def rates(self, velocity: Velocity, x: Array, vectors: Any) -> tuple[Array, Array]:
        """velocity(x), and rates (b, num_rates)."""
        ...

    def trace(self, integrals: Array) -> Trace:
        """From the integrals of the rates, (b, num_rates)."""
        ...


def mean_of_probes(values: Array) -> Trace:
    """The mean (b,) of values (b, K) and sd / sqrt(K), NaN for K = 1: one value shows no spread."""
    num = values.shape[1]
    mean = jnp.mean(values, axis=1)
    if num == 1:
        return Trace(mean, jnp.full_like(mean, jnp.nan))
    return Trace(mean, jnp.std(values, axis=1, ddof=1) / math.sqrt(num))


# ---- independent probes ---------------------------------------------------------------------------------


def rademacher(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Signs +1 and -1: the least variance of independent entries, 2 sum_{i != j} M_ij^2; none for diagonal M."""
    return jax.random.rademacher(key, shape, dtype)


def gaussian(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Standard normal entries, of variance 2 |M|_F^2."""
    return jax.random.normal(key, shape, dtype)


@dataclasses.dataclass(frozen=True)
class GivenProbes:
    """The mean of e_k . M e_k over K probes of each image, (b, K, ...), given in the place of keys.

    Cost: K products.
    """

    num_rates: int = 1
    at_once: int = 16

    def draw(self, keys: Array, x: Array, integrate: Integrate) -> Drawn:
        return Drawn(keys)

    def rates(self, velocity: Velocity, x: Array, vectors: Array) -> tuple[Array, Array]:
        return quadratic_forms(velocity, x, lambda k: vectors[:, k], self.num_rates, self.at_once)

    def trace(self, integrals: Array) -> Trace:
        return mean_of_probes(integrals)


@dataclasses.dataclass(frozen=True)
class IndependentProbes(GivenProbes):
    """The mean over K independent probes, of variance 1/K of one's. Cost: K products."""

    probe: Callable[[Array, tuple[int, ...], Any], Array] = rademacher

    def draw(self, keys: Array, x: Array, integrate: Integrate) -> Drawn:
        shape = (self.num_rates, *x.shape[1:])
        return Drawn(jax.vmap(lambda key: self.probe(key, shape, x.dtype))(keys))


# ---- probes at right angles -----------------------------------------------------------------------------


def hadamard_order(dimension: int) -> int:
    """The power of two N >= D."""
    return 1 << (dimension - 1).bit_length()


def hadamard_row(i: Array, dimension: int) -> Array:
    """The first D entries of rows i (b,) of Sylvester's matrix, (-1)^popcount(i & j), as int32 (b, D)."""
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

    def draw(self, keys: Array, x: Array, integrate: Integrate) -> Drawn:
        def one(key: Array) -> tuple[Array, Array]:
            sign_key, row_key = jax.random.split(key)
            signs = jax.random.rademacher(sign_key, x.shape[1:], x.dtype)
            rows = jax.random.permutation(row_key, jnp.arange(self.order, dtype=jnp.int32))
            return signs, rows[: self.num_rates]

        return Drawn(jax.vmap(one)(keys))

    def rates(
        self, velocity: Velocity, x: Array, vectors: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        signs, rows = vectors

        def probe(k: Array) -> Array:
            row = hadamard_row(rows[:, k], x[0].size)
            return signs * row.reshape(x.shape).astype(x.dtype)

        return quadratic_forms(velocity, x, probe, self.num_rates, self.at_once)

    def trace(self, integrals: Array) -> Trace:
        mean, standard_error = mean_of_probes(integrals)
        if self.num_rates == self.order:
            return Trace(mean, jnp.zeros_like(mean))
        return Trace(mean, standard_error * math.sqrt(1 - self.num_rates / self.order))


# ---- Hutch++ --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class HutchPlusPlus:
    """tr M = tr Q^T M Q, exactly, for k directions Q, and for the rest a mean over probes at right angles to Q.

    Meyer, Musco, Musco and Woodruff 2021, Algorithm 1, for the integrated Jacobian: the path of x depends on no
    probe, so a first and coarse solve gives Y = M S for k = sketch_size sign vectors S, and Q is an orthonormal basis
    of Y - c S with c = <S, Y>/<S, S>. Only what sets M apart from c I matters: the probes of the rest are uniform on
    the sphere of radius sqrt(D - k) there, so that c I has no variance. Any Q independent of the probes is unbiased.

    It gains where a few directions hold most of that: images near a few-dimensional surface, or a flow with outliers.
    Where the spectrum of M falls slowly, as ln(eigenvalue) of a stationary covariance does, orthogonal probes of the same
    cost are better: on 64 pixels of covariance 0.25 0.9^|i - j|, 24 products leave 0.046 bits/dim, independent signs
    0.039, orthogonal ones 0.032.

    Cost: k products in the first solve, k + num_probes in the second. No gradient is taken of Q, whose expected part
    in it is nought.
    """

    sketch_size: int
    num_probes: int
    at_once: int

    @property
    def num_rates(self) -> int:
        return 1 + self.num_probes

    def draw(self, keys: Array, x: Array, integrate: Integrate) -> Drawn:
        b, k, dimension = x.shape[0], self.sketch_size, x[0].size
        keys = jax.vmap(jax.random.split)(keys)
        draw_signs = jax.vmap(lambda key: jax.random.rademacher(key, (k, *x.shape[1:]), x.dtype))
        sketch = draw_signs(keys[:, 0])

        def push(velocity: Velocity, x: Array, sketch: Array) -> tuple[Array, Array]:
            value, pushed = products(
                velocity, x, lambda i: sketch[:, i], k, self.at_once, lambda e, pushed: pushed
            )
            return value, jnp.moveaxis(pushed, 0, 1)

        integral = integrate(push, jnp.zeros_like(sketch), sketch, SKETCH_TOLERANCE)
        s, y = sketch.reshape(b, k, dimension), integral.value.reshape(b, k, dimension)
        centre = jnp.sum(s * y, axis=(1, 2), keepdims=True) / (k * dimension)
        q = jnp.linalg.qr(jnp.swapaxes(jax.lax.stop_gradient(y - centre * s), 1, 2))[0]
        normals = jax.vmap(lambda key: jax.random.normal(key, (dimension, self.num_probes)))
        e = normals(keys[:, 1]).astype(x.dtype)
        e = e - q @ (jnp.swapaxes(q, 1, 2) @ e)
        e = e * (math.sqrt(dimension - k) / jnp.linalg.norm(e, axis=1, keepdims=True))
        vectors = jnp.swapaxes(jnp.concatenate([q, e], axis=2), 1, 2)
        return Drawn(
            vectors.reshape(b, k + self.num_probes, *x.shape[1:]), integral.nfe, integral.success
        )

    def rates(self, velocity: Velocity, x: Array, vectors: Array) -> tuple[Array, Array]:
        k, num = self.sketch_size, vectors.shape[1]
        value, forms = quadratic_forms(velocity, x, lambda i: vectors[:, i], num, self.at_once)
        known = jnp.sum(forms[:, :k], axis=1, keepdims=True)
        return value, jnp.concatenate([known, forms[:, k:]], axis=1)

    def trace(self, integrals: Array) -> Trace:
        rest, standard_error = mean_of_probes(integrals[:, 1:])
        return Trace(integrals[:, 0] + rest, standard_error)


# ---- the exact trace ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ExactTrace:
    """The sum of the D diagonal entries. Cost: D products, `at_once` of them in a pass."""

    at_once: int = 16
    num_rates: int = 1

    def draw(self, keys: Array, x: Array, integrate: Integrate) -> Drawn:
        return Drawn(())

    def rates(self, velocity: Velocity, x: Array, vectors: Any) -> tuple[Array, Array]:
        dimension = x[0].size
        value, diagonal = quadratic_forms(velocity, x, unit_vectors(x), dimension, self.at_once)
        return value, jnp.sum(diagonal, axis=1, keepdims=True)

    def trace(self, integrals: Array) -> Trace:
        return Trace(integrals[:, 0], jnp.zeros_like(integrals[:, 0]))


# ---- by name --------------------------------------------------------------------------------------------


class Options(NamedTuple):
    """Of config.likelihood, and the dimension D of the data."""

    num_probes: int
    sketch_size: int
    products_at_once: int
    dimension: int


def independent(probe: Callable[[Array, tuple[int, ...], Any], Array]) -> Any:
    def build(o: Options) -> TraceEstimator:
        return IndependentProbes(o.num_probes, o.products_at_once, probe)

    return build


def orthogonal(o: Options) -> TraceEstimator:
    order = hadamard_order(o.dimension)
    if o.num_probes > order:
        raise ValueError(
            f"likelihood.num_probes={o.num_probes} with likelihood.probe='orthogonal': {o.dimension} dimensions have "
            f"{order} such probes, which give the exact trace; take no more"
        )
    return OrthogonalProbes(o.num_probes, o.products_at_once, order)


def hutch_plus_plus(o: Options) -> TraceEstimator:
    if o.sketch_size < 1:
        raise ValueError(
            f"likelihood.sketch_size={o.sketch_size}: expected 1 or more directions whose part of the trace is exact; "
            "for none, take likelihood.probe='rademacher'"
        )
    if o.sketch_size >= o.dimension:  # directions that span everything leave nothing to estimate
        return ExactTrace(o.products_at_once)
    return HutchPlusPlus(o.sketch_size, o.num_probes, o.products_at_once)


ESTIMATORS: dict[str, Callable[[Options], TraceEstimator]] = {
    "rademacher": independent(rademacher),
    "gaussian": independent(gaussian),
    "orthogonal": orthogonal,
    "hutchpp": hutch_plus_plus,
    "exact": lambda o: ExactTrace(o.products_at_once),
}


def build_trace_estimator(
    name: str, num_probes: int, sketch_size: int, products_at_once: int, dimension: int
) -> TraceEstimator:
    """The estimator of config.likelihood.probe for data of this dimension.

    Raises:
      ValueError: an unknown name, or a number out of its range.
    """
    if name not in ESTIMATORS:
        raise ValueError(
            f"likelihood.probe={name!r} is unknown; choose one of {', '.join(ESTIMATORS)}"
        )
    for field, value in (("num_probes", num_probes), ("products_at_once", products_at_once)):
        if value < 1:
            raise ValueError(f"likelihood.{field}={value}: expected 1 or more")
    return ESTIMATORS[name](Options(num_probes, sketch_size, products_at_once, dimension))
