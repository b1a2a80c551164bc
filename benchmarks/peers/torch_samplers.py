"""Samplers of other packages for a PyTorch network: schedulers of diffusers, and the probability flow by torchdiffeq.

Each counts its network evaluations, so that its overhead beyond the network can be measured.
Networks predict noise and are called as network(x, 999 t), as in torch_vp.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.peers.torch_vp import BETA_MAX, BETA_MIN, drift

NUM_LEVELS = 1000
# The chain whose continuous limit is the process: beta(t) / NUM_LEVELS at each level.
CHAIN = {
    "num_train_timesteps": NUM_LEVELS,
    "beta_start": BETA_MIN / NUM_LEVELS,
    "beta_end": BETA_MAX / NUM_LEVELS,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
}
SMALLEST_TIME = 1e-3


class Counted:
    """A wrapper of a network that counts its calls."""

    def __init__(self, network: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.network, self.calls = network, 0

    def __call__(self, x: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return self.network(x, labels)


class Sampled(NamedTuple):
    """Samples (b, c, h, w), and the number of network evaluations."""

    x: Tensor
    nfe: int


Sampler = Callable[[Any, Tensor, int], Sampled]
"""(network, noise, steps) -> samples."""


def scheduled(name: str, **options: Any) -> Sampler:
    """Build a sampler by the usual loop over the steps of a diffusers scheduler."""

    @torch.no_grad()
    def sample(network: Any, noise: Tensor, steps: int) -> Sampled:
        import diffusers

        counted, x = Counted(network), noise
        scheduler = getattr(diffusers, name)(**CHAIN, **options)
        scheduler.set_timesteps(steps, device=noise.device)
        for level in scheduler.timesteps:
            labels = level.to(noise.device, torch.float32).expand(len(noise))
            x = scheduler.step(counted(x, labels), level, x).prev_sample
        return Sampled(x, counted.calls)

    return sample


def solved(tolerance: float) -> Sampler:
    """Build a sampler of the probability flow by torchdiffeq's adaptive Dormand-Prince 5, with error norms over the whole batch."""

    @torch.no_grad()
    def sample(network: Any, noise: Tensor, steps: int) -> Sampled:
        from torchdiffeq import odeint

        counted = Counted(network)
        times = torch.tensor([1.0, SMALLEST_TIME], device=noise.device)
        path = odeint(
            lambda t, x: drift(counted, x, t.expand(len(x))),
            noise,
            times,
            rtol=tolerance,
            atol=tolerance,
            method="dopri5",
        )
        return Sampled(path[-1], counted.calls)

    return sample


SAMPLERS: dict[str, Sampler] = {
    "ddim": scheduled("DDIMScheduler", clip_sample=False, set_alpha_to_one=False),
    "dpm_solver_pp_2m": scheduled("DPMSolverMultistepScheduler", solver_order=2),
    "unipc_3": scheduled("UniPCMultistepScheduler", solver_order=3),
    "dopri5 adaptive": solved(1e-2),
}
"""Samplers by the name that our sampler of the same method has."""
WHO = {name: "torchdiffeq" if name.startswith("dopri5") else "diffusers" for name in SAMPLERS}
