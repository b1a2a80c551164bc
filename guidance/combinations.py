"""Combinations of two scores for guidance: (x, t, toward, away) -> score, independently for each image.

`toward` and `away` are the conditional and the unconditional score (classifier_free.py), or those of a good and of a bad model
(autoguidance.py). With d = toward - away:

    Extrapolated   toward + w d (Ho & Salimans 2022, Eq. 6)
    Projected      APG: the component of d along the denoised image is scaled, and the norm of d is capped
    PlusPlus       away + w(t) d, with which DDIM takes the steps of CFG++
    Within         another combination within an interval of noise levels, `toward` outside
    Rescaled       another combination with the contrast of `toward`

None of these scores belongs to the marginals of one process: samples do not follow the density p_toward^(1+w) p_away^(-w), and those of
the ODE and the SDE differ. Each combination is a pure function with frozen fields, so it can be a static part of a model.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import jax
import jax.numpy as jnp

from score_sde.models.score import denoise, score_moved_by
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Array, Images, PerImage


class Combination(Protocol):
    """A rule that combines two scores into one."""

    def __call__(self, x: Images, t: PerImage, toward: Images, away: Images) -> Images: ...


@dataclasses.dataclass(frozen=True)
class Extrapolated:
    """toward + w (toward - away). w = 0 is `toward`, w = -1 is `away`; other papers call 1 + w the guidance scale."""

    weight: float

    def __call__(self, x: Images, t: PerImage, toward: Images, away: Images) -> Images:
        return toward + self.weight * (toward - away)


@dataclasses.dataclass(frozen=True)
class Within:
    """Another combination where the log-SNR lies in [low, high], and `toward` elsewhere.

    Guidance in a limited interval (Kynkaanniemi et al. 2024, who state it in sigma/alpha = exp(-log_snr / 2)). Both scores are
    evaluated at all times.
    """

    inner: Combination
    sde: SDE
    low: float
    high: float

    def __call__(self, x: Images, t: PerImage, toward: Images, away: Images) -> Images:
        log_snr = expand(self.sde.log_snr(t), x)
        inside = (self.low <= log_snr) & (log_snr <= self.high)
        return jnp.where(inside, self.inner(x, t, toward, away), toward)


@dataclasses.dataclass(frozen=True)
class Rescaled:
    """Another combination, its denoised image D rescaled by a fraction phi towards the contrast of `toward`:

        D' = phi D std(D_toward) / std(D) + (1 - phi) D    (Lin et al. 2024, Sec. 3.4),

    where std is taken over the pixels and channels of an image. The paper rescales the output of its network, a velocity; rescaling D
    does not depend on what a network predicts.
    """

    inner: Combination
    sde: SDE
    share: float

    def __call__(self, x: Images, t: PerImage, toward: Images, away: Images) -> Images:
        guided = self.inner(x, t, toward, away)
        image, kept = (denoise(self.sde, score, x, t) for score in (guided, toward))
        own = contrast(image)
        ratio = expand(jnp.where(own > 0, contrast(kept) / jnp.where(own > 0, own, 1.0), 1.0), x)
        return score_moved_by(self.sde, guided, t, self.share * (ratio - 1.0) * image)


@dataclasses.dataclass(frozen=True)
class Projected:
    """Adaptive projected guidance without its momentum (Sadat et al. 2025, Algorithm 1).

        D_toward + w (d_orthogonal + eta d_parallel),    d = (D_toward - D_away) min(1, norm / |D_toward - D_away|),

    with denoised images D, where d_parallel is the component along D_toward. With eta = 1 and no cap it is `Extrapolated`. The momentum of the
    published method adds the differences of earlier steps to d; it is left out because it is not a function of x and t.
    """

    sde: SDE
    weight: float
    eta: float = 1.0
    norm: float = math.inf

    def __call__(self, x: Images, t: PerImage, toward: Images, away: Images) -> Images:
        image = denoise(self.sde, toward, x, t)
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        # The difference of the denoised images, by Tweedie's formula
        d = jnp.square(sigma) / alpha * (toward - away)
        if math.isfinite(self.norm):
            # In terms of squares, so that the derivative exists at d = 0.
            d = self.norm * jax.lax.rsqrt(jnp.maximum(dot(d, d), self.norm**2)) * d
        length = dot(image, image)
        parallel = dot(d, image) / jnp.where(length > 0, length, 1.0) * image
        return score_moved_by(self.sde, toward, t, self.weight * (d - (1.0 - self.eta) * parallel))


@dataclasses.dataclass(frozen=True)
class PlusPlus:
    """The score with which the steps of DDIM along `times` are those of CFG++ (Chung et al. 2025).

    CFG++ denoises to D_away + scale (D_toward - D_away), with scale in [0, 1], and adds the noise predicted by `away`. From rho_t to
    rho_s, where rho = sigma/alpha, this is a step of DDIM with the score

        away + w(t) (toward - away),    w(t) = scale rho_t / (rho_t - rho_s),

    so finer steps mean stronger guidance: the method is defined by the steps of a sampler and has no limit of infinitely many. At the
    last time w = scale, as for a step to rho = 0, which is the final denoising.

    Args:
      times: those of the sampler, decreasing. A time is mapped to the nearest of them in log-SNR.
    """

    sde: SDE
    scale: float
    times: tuple[float, ...]

    def __call__(self, x: Images, t: PerImage, toward: Images, away: Images) -> Images:
        grid = self.sde.log_snr(jnp.asarray(self.times, x.dtype))
        nearest = jnp.argmin(jnp.abs(self.sde.log_snr(t)[:, None] - grid[None]), axis=1)
        growth = jnp.diff(grid, append=jnp.inf)[nearest]
        weight = self.scale / -jnp.expm1(-0.5 * growth)
        return away + expand(weight, x) * (toward - away)


def contrast(images: Images) -> PerImage:
    """Standard deviation (b,) over the pixels and channels of each image."""
    return jnp.std(images.reshape(len(images), -1), axis=1)


def dot(u: Images, v: Images) -> Array:
    """Inner product of each image of u with that of v, (b, 1, ...)."""
    return expand(jnp.sum((u * v).reshape(len(u), -1), axis=1), u)
