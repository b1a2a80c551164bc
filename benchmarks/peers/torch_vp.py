"""VP in PyTorch: the training step, the score, and the probability-flow ODE with its divergence.

The equations are those of `score_sde.sde_lib.vp`, `score_sde.training` and `score_sde.likelihood`, for networks that
predict noise. Images x are (b, c, h, w) in [-1, 1], times t are (b,) with data at 0 and noise at 1. A network is
any callable network(x, 999 t), compiled or not. Nothing here waits for the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]

BETA_MIN, BETA_MAX = 0.1, 20.0
SMALLEST_TIME = 1e-5  # in training
MAX_LABEL = 999.0


def beta(t: Tensor) -> Tensor:
    """The rate dB/dt of the noise schedule."""
    return BETA_MIN + t * (BETA_MAX - BETA_MIN)


def marginal(t: Tensor) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) of x_t = alpha x_0 + sigma z."""
    integral = t * (BETA_MIN + 0.5 * t * (BETA_MAX - BETA_MIN))
    return torch.exp(-0.5 * integral), torch.sqrt(-torch.expm1(-integral))


def expand(values: Tensor) -> Tensor:
    """Reshape numbers (b,) for multiplication with images."""
    return values[:, None, None, None]


def denoising_loss(network: Network, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """The mean over images and pixels of (sigma score + z)^2, a scalar; sigma score is -network."""
    alpha, sigma = marginal(t)
    out = network(expand(alpha) * images + expand(sigma) * noise, MAX_LABEL * t)
    return (noise - out).square().mean()


class Training:
    """Denoising score matching at uniform times: gradient clipping, Adam with warmup, EMA of the weights.

    Args:
        network: the network to train, on its device, in training mode and with float32 parameters. If it is in
            `torch.channels_last`, images should be too.
        amp: dtype of `torch.autocast`; None for no autocast.
        compile: whether to compile the loss with its gradient.
        lr: learning rate after `warmup` updates. The rate of the first update is 0, as in ours and the published code.
        warmup: number of updates.
        grad_clip: maximum norm of the gradient.
        ema_rate: rate of the EMA, after n updates at most (1 + n) / (10 + n).
        random_flip: whether images are mirrored with probability 1/2.
        compile_mode: the mode of `torch.compile`.
    """

    def __init__(
        self,
        network: Any,
        amp: torch.dtype | None = None,
        compile: bool = False,
        *,
        lr: float = 2e-4,
        warmup: int = 5000,
        grad_clip: float = 1.0,
        ema_rate: float = 0.9999,
        random_flip: bool = True,
        compile_mode: str | None = None,
    ) -> None:
        self.network, self.amp = network.train(), amp
        self.lr, self.warmup, self.grad_clip = lr, warmup, grad_clip
        self.ema_rate, self.random_flip = ema_rate, random_flip
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.averaged = [p.detach().clone() for p in self.parameters]
        self.device = self.parameters[0].device
        self.optimizer = torch.optim.Adam(
            self.parameters, lr, (0.9, 0.999), eps=1e-8, fused=self.device.type == "cuda"
        )
        self.loss = torch.compile(denoising_loss, mode=compile_mode) if compile else denoising_loss
        self.updates = 0

    def step(self, images: Tensor) -> Tensor:
        """Make one update on images (b, c, h, w) in [-1, 1] on the network's device, and return the scalar loss there."""
        b = images.shape[0]
        if self.random_flip:
            mirrored = torch.rand(b, device=self.device) < 0.5
            images = torch.where(expand(mirrored), images.flip(3), images)
        t = SMALLEST_TIME + (1 - SMALLEST_TIME) * torch.rand(b, device=self.device)
        return self.update(images, t, torch.randn_like(images))

    def update(self, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Make one update at given times (b,) with given noise (b, c, h, w), without flips."""
        with autocast(self.device, self.amp):
            loss = self.loss(self.network, images, t, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.grad_clip, foreach=True)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * min(self.updates / self.warmup, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1
        rate = min(self.ema_rate, (1 + self.updates) / (10 + self.updates))
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.parameters, 1 - rate)
        return loss.detach()


def autocast(device: torch.device, dtype: torch.dtype | None) -> contextlib.AbstractContextManager:
    """`torch.autocast` to dtype; a null context for None."""
    return torch.autocast(device.type, dtype=dtype) if dtype else contextlib.nullcontext()


def score_with_gradient(network: Network, x: Tensor, t: Tensor) -> Tensor:
    """The score (b, c, h, w), with gradients enabled."""
    _, sigma = marginal(t)
    return -network(x, MAX_LABEL * t) / expand(sigma)


@torch.no_grad()
def score(network: Network, x: Tensor, t: Tensor) -> Tensor:
    """The score (b, c, h, w), without gradients."""
    return score_with_gradient(network, x, t)


def drift(network: Network, x: Tensor, t: Tensor) -> Tensor:
    """dx/dt of the probability-flow ODE, -beta/2 (x + score)."""
    return -0.5 * expand(beta(t)) * (x + score_with_gradient(network, x, t))


def drift_and_divergence(
    network: Network, x: Tensor, t: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """The drift (b, c, h, w) and Hutchinson's estimate (b,) of its divergence, computed as in the published likelihood.

    It takes two calls: one for the drift, and another with a backward pass for noise^T J noise. If only x needs
    a gradient, `network.requires_grad_(False)` avoids preparing gradients of the weights.
    """
    with torch.no_grad():
        velocity = drift(network, x, t)
    _, divergence = drift_and_divergence_shared(network, x, t, noise)
    return velocity, divergence


@torch.enable_grad()
def drift_and_divergence_shared(
    network: Network, x: Tensor, t: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Drift and divergence from a single call with its backward pass."""
    x = x.detach().requires_grad_()
    velocity = drift(network, x, t)
    (product,) = torch.autograd.grad(velocity, x, noise)
    return velocity.detach(), (product * noise).flatten(1).sum(1)


def fast_settings() -> None:
    """Enable fast GPU settings: TensorFloat32 for float32, as is JAX's default, and autotuned convolutions."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
