"""The published finite Markov chains, DDPM and SMLD (score_sde's `discretize`; Song et al. 2021, App. C and E).

A chain has noise levels i = 0 ... N-1 of increasing noise, with x_i | x_0 ~ N(alpha_i x_0, sigma_i^2 I). A forward
step is x_i = a_i x_{i-1} + G_i z, and the step to i = 0 starts from clean data. Discrete losses and the networks trained
with them use these tables; samplers of continuous-time models do not.
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
    """A finite Markov chain, as tables of N values each, in order of increasing noise."""

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
        """Standard deviation of the noise that ancestral sampling adds in the step from i to i-1."""
        raise NotImplementedError

    def __post_init__(self):
        if self.num_scales < 2:
            raise ConfigError(
                f"model.num_scales={self.num_scales}: a discrete chain needs at least 2"
            )

    def keeping(self, kept: tuple[int, ...]) -> Chain:
        """The shorter chain on the levels `kept` (increasing), with the same marginals there.

        Raises:
          ConfigError: the chain is not variance preserving.
        """
        raise ConfigError(
            f"likelihood.chain_levels with {type(self).__name__}: only variance-preserving chains (VP, cosine) can use some of their "
            "levels; remove it"
        )

    def step(self, x: Images, i: Integers) -> tuple[Images, PerImage]:
        """The published f_i(x) = (a_i - 1) x and G_i, so that x_i = x + f_i(x) + G_i z."""
        return expand(self.step_alphas[i] - 1.0, x) * x, self.step_sigmas[i]


@dataclasses.dataclass(frozen=True)
class VariancePreservingChain(Chain):
    """x_i = sqrt(1 - beta_i) x_{i-1} + sqrt(beta_i) z; a subclass defines the beta_i."""

    @property
    def betas(self) -> Points:
        raise NotImplementedError

    @property
    def log_alphas(self) -> Points:
        # Summing log1p keeps sigma_0 = sqrt(beta_0) to full precision; 1 - cumprod would not.
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
        """sqrt(beta_i), the forward step's: the larger of the two choices of Ho et al. 2020, Sec. 3.2."""
        return self.step_sigmas

    def keeping(self, kept: tuple[int, ...]) -> RespacedChain:
        return RespacedChain(len(kept), self, kept)


@dataclasses.dataclass(frozen=True)
class RespacedChain(VariancePreservingChain):
    """A chain whose level j is level kept[j] of `whole`, with beta_j = 1 - (alpha_j / alpha_{j-1})^2 (Nichol & Dhariwal 2021, Eq. 19)."""

    whole: VariancePreservingChain
    kept: tuple[int, ...]

    @property
    def betas(self) -> Points:
        log_alphas = self.whole.log_alphas[jnp.asarray(self.kept)]
        return -jnp.expm1(2.0 * jnp.diff(log_alphas, prepend=0.0))


@dataclasses.dataclass(frozen=True)
class DDPMChain(VariancePreservingChain):
    """The chain of DDPM, with beta_i linear from beta_min/N to beta_max/N."""

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
    """The chain of SMLD, x_i = x_{i-1} + sqrt(sigma_i^2 - sigma_{i-1}^2) z with geometric sigma_i and sigma_{-1} = 0."""

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
        # sigma_i^2 - sigma_{i-1}^2 as a multiple of sigma_i^2, since adjacent variances would cancel in float32.
        log_ratio = math.log(self.sigma_max / self.sigma_min) / (self.num_scales - 1)
        sigmas = self.sigmas
        return jnp.where(
            jnp.arange(self.num_scales) == 0,
            sigmas,
            sigmas * math.sqrt(-math.expm1(-2 * log_ratio)),
        )

    @property
    def ancestral_sigmas(self) -> Points:
        """G_i sigma_{i-1} / sigma_i, that of x_{i-1} | x_i, x_0 (Song et al. 2021, App. F); 0 at i = 0."""
        sigmas = self.sigmas
        below = jnp.concatenate([jnp.zeros(1), sigmas[:-1]])
        return self.step_sigmas * below / sigmas
