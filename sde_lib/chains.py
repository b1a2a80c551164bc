"""The published finite Markov chains, DDPM and SMLD (score_sde's `discretize`; Song et al. 2021, App. C and E).

A chain has levels i = 0 ... N-1 of growing noise. Level i given x_0 is N(alpha_i x_0, sigma_i^2 I), and one
forward step is x_i = a_i x_{i-1} + G_i z, which starts from clean data at i = 0. Discrete losses and the
networks trained with them use these tables; samplers for continuous models never do.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.sde_lib.base import expand
from score_sde.shapes import Images, Integers, PerImage, Points


@dataclasses.dataclass(frozen=True)
class Chain:
    """The tables of a chain, each of N numbers with ascending noise."""

    num_scales: int

    @property
    def alphas(self) -> Points:
        """Mean coefficient of x_i | x_0."""
        raise NotImplementedError

    @property
    def sigmas(self) -> Points:
        """Standard deviation of x_i | x_0."""
        raise NotImplementedError

    @property
    def step_alphas(self) -> Points:
        """a_i, the mean coefficient of x_i | x_{i-1}."""
        raise NotImplementedError

    @property
    def step_sigmas(self) -> Points:
        """G_i, the standard deviation of x_i | x_{i-1}."""
        raise NotImplementedError

    @property
    def ancestral_sigmas(self) -> Points:
        """Standard deviation of the noise that the chain's ancestral sampling adds in the step from i to i-1."""
        raise NotImplementedError

    def __post_init__(self):
        if self.num_scales < 2:
            raise ConfigError(
                f"model.num_scales={self.num_scales}: a discrete chain needs at least 2"
            )

    def keeping(self, kept: tuple[int, ...]) -> Chain:
        """The chain of some of its levels, rising, with the same marginals there.

        Raises:
          ConfigError: one that does not preserve variance.
        """
        raise ConfigError(
            f"likelihood.chain_levels with {type(self).__name__}: only chains that preserve variance (VP, cosine) keep some of their "
            "levels; leave it out"
        )

    def step(self, x: Images, i: Integers) -> tuple[Images, PerImage]:
        """The published f_i(x) = (a_i - 1) x and G_i, so that x_i = x + f_i(x) + G_i z."""
        return expand(self.step_alphas[i] - 1.0, x) * x, self.step_sigmas[i]


@dataclasses.dataclass(frozen=True)
class VariancePreservingChain(Chain):
    """x_i = sqrt(1 - beta_i) x_{i-1} + sqrt(beta_i) z; a subclass states the beta_i."""

    @property
    def betas(self) -> Points:
        raise NotImplementedError

    @property
    def log_alphas(self) -> Points:
        # A sum of log1p keeps sigma_0 = sqrt(beta_0) to all its digits; 1 - cumprod would not.
        return 0.5 * jnp.cumsum(jnp.log1p(-self.betas))

    @property
    def alphas(self) -> Points:
        return jnp.exp(self.log_alphas)

    @property
    def sigmas(self) -> Points:
        return jnp.sqrt(-jnp.expm1(2.0 * self.log_alphas))

    @property
    def step_alphas(self) -> Points:
        return jnp.sqrt(1.0 - self.betas)

    @property
    def step_sigmas(self) -> Points:
        return jnp.sqrt(self.betas)

    @property
    def ancestral_sigmas(self) -> Points:
        """The larger choice of Ho et al. 2020, Sec. 3.2: the variance of the forward step, beta_i."""
        return self.step_sigmas

    def keeping(self, kept: tuple[int, ...]) -> RespacedChain:
        return RespacedChain(len(kept), self, kept)


@dataclasses.dataclass(frozen=True)
class RespacedChain(VariancePreservingChain):
    """Level j is level kept[j] of `whole`, with beta_j = 1 - (alpha_j / alpha_{j-1})^2 (Nichol & Dhariwal 2021, Eq. 19)."""

    whole: VariancePreservingChain
    kept: tuple[int, ...]

    @property
    def betas(self) -> Points:
        log_alphas = self.whole.log_alphas[jnp.asarray(self.kept)]
        return -jnp.expm1(2.0 * jnp.diff(log_alphas, prepend=0.0))


@dataclasses.dataclass(frozen=True)
class DDPMChain(VariancePreservingChain):
    """beta_i linear from beta_min/N to beta_max/N."""

    beta_min: float
    beta_max: float

    def __post_init__(self):
        super().__post_init__()
        if self.beta_max >= self.num_scales:
            raise ConfigError(
                f"model.beta_max={self.beta_max} with model.num_scales={self.num_scales}: the last "
                "beta_i = beta_max/N would reach 1; use more than beta_max scales"
            )

    @property
    def betas(self) -> Points:
        n = self.num_scales
        return jnp.linspace(self.beta_min / n, self.beta_max / n, n)


@dataclasses.dataclass(frozen=True)
class SMLDChain(Chain):
    """x_i = x_{i-1} + sqrt(sigma_i^2 - sigma_{i-1}^2) z with geometric sigma_i and sigma_{-1} = 0."""

    sigma_min: float
    sigma_max: float

    @property
    def alphas(self) -> Points:
        return jnp.ones(self.num_scales)

    @property
    def sigmas(self) -> Points:
        return jnp.geomspace(self.sigma_min, self.sigma_max, self.num_scales)

    @property
    def step_alphas(self) -> Points:
        return jnp.ones(self.num_scales)

    @property
    def step_sigmas(self) -> Points:
        # sigma_i^2 - sigma_{i-1}^2 as a multiple of sigma_i^2: neighbouring variances would cancel in float32.
        log_ratio = math.log(self.sigma_max / self.sigma_min) / (self.num_scales - 1)
        sigmas = self.sigmas
        return jnp.where(
            jnp.arange(self.num_scales) == 0,
            sigmas,
            sigmas * math.sqrt(-math.expm1(-2 * log_ratio)),
        )

    @property
    def ancestral_sigmas(self) -> Points:
        """That of x_{i-1} given x_i and x_0: G_i sigma_{i-1} / sigma_i (Song et al. 2021, App. F); 0 at i = 0."""
        sigmas = self.sigmas
        below = jnp.concatenate([jnp.zeros(1), sigmas[:-1]])
        return self.step_sigmas * below / sigmas
