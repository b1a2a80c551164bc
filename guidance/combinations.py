"""How one score is led away from another: (x, t, toward, away) -> score, image by image.

`toward` is the score of a condition and `away` that of none (classifier_free.py), or they are those of a good and of a bad model
(autoguidance.py). With d = toward - away:

    Extrapolated   toward + w d (Ho & Salimans 2022, Eq. 6)
    Projected      the same with the part of d along the expected image scaled, and its length capped: APG
    PlusPlus       away + w(t) d, by which DDIM takes the steps of CFG++
    Within         another of these at some noise levels, `toward` at the others
    Rescaled       another of these with the contrast of `toward`

None of them gives the marginals' scores of one process: samples are not of the density p_toward^(1+w) p_away^(-w), and the ODE's law is
not the SDE's. Each is a pure function of one time, of frozen fields: a static part of the model around it.
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
    """How two scores, toward a class and away from it, become one."""

    def __call__(self, x: Images, t: PerImage, toward: Images, away: Images) -> Images: ...


@dataclasses.dataclass(frozen=True)
class Extrapolated:
    """toward + w (toward - away). w = 0 is `toward`, -1 is `away`; others call 1 + w the guidance scale."""

    weight: float

    def __call__(self, x: Images, t: PerImage, toward: Images, away: Images) -> Images:
        return toward + self.weight * (toward - away)


@dataclasses.dataclass(frozen=True)
class Within:
    """Another combination where the log-SNR is from `low` to `high`, ends included, and `toward` elsewhere.

    A limited interval of noise levels (Kynkaanniemi et al. 2024), which they give in sigma/alpha = exp(-log_snr / 2). Both scores are
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
    """The expected image D of another combination, with a share phi of the way to the contrast that `toward` has:

        D' = phi D std(D_toward) / std(D) + (1 - phi) D    (Lin et al. 2024, Sec. 3.4),

    where std is over the pixels and channels of an image. They rescale what their network gives, a velocity; D is the same for
    networks of any kind.
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

    of expected images D, where d_parallel is along D_toward. With eta = 1 and no cap it is `Extrapolated`. The published method also
    adds earlier differences of the same sampler to d: that is no function of x and t, and is not here.
    """

    sde: SDE
    weight: float
    eta: float = 1.0
    norm: float = math.inf

    def __call__(self, x: Images, t: PerImage, toward: Images, away: Images) -> Images:
        image = denoise(self.sde, toward, x, t)
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        d = jnp.square(sigma) / alpha * (toward - away)  # of expected images, by Tweedie
        if math.isfinite(self.norm):
            # Of squares, whose derivative at d = 0 exists.
            d = self.norm * jax.lax.rsqrt(jnp.maximum(dot(d, d), self.norm**2)) * d
        length = dot(image, image)
        parallel = dot(d, image) / jnp.where(length > 0, length, 1.0) * image
        return score_moved_by(self.sde, toward, t, self.weight * (d - (1.0 - self.eta) * parallel))


@dataclasses.dataclass(frozen=True)
class PlusPlus:
    """The score with which a step of DDIM, along these times, is one of CFG++ (Chung et al. 2025).

    CFG++ takes D_away + scale (D_toward - D_away) for the image, with scale in [0, 1], and adds the noise of `away` again. From rho_t to
    rho_s, rho = sigma/alpha, this is a step of DDIM with

        away + w(t) (toward - away),    w(t) = scale rho_t / (rho_t - rho_s),

    so the finer the steps, the stronger the guidance: it is a method of a sampler, to which there is no limit of many steps. After the
    last time w = scale, as for a step to rho = 0, which is what denoising there is.

    Args:
      times: those of the sampler, falling. A time is taken for the nearest of them in log-SNR.
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
    """The standard deviation over the pixels and channels of each."""
    return jnp.std(images.reshape(len(images), -1), axis=1)


def dot(u: Images, v: Images) -> Array:
    """The product of each image of u with that of v, (b, 1, ...)."""
    return expand(jnp.sum((u * v).reshape(len(u), -1), axis=1), u)
