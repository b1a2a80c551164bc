"""The same network in PyTorch (benchmarks/peers), as works to be timed along with ours on the device of JAX, if possible.

Images are in channels_last. In bfloat16 both programs keep float32 weights and cast them when they are used. PyTorch is
imported only by the functions that run it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import jax

from benchmarks.turns import Work

EAGER, COMPILED = "PyTorch", "PyTorch, compiled"
BOTH = "PyTorch, eager and compiled"


def installed(*packages: str) -> bool:
    """Whether PyTorch and these packages are installed."""
    return all(importlib.util.find_spec(name) for name in ("torch", *packages))


def comparable(*packages: str) -> bool:
    """Whether PyTorch and these packages are installed, and PyTorch supports the device that JAX uses."""
    if not installed(*packages):
        return False
    import torch

    backend = jax.default_backend()
    return backend == "cpu" or (backend == "gpu" and torch.cuda.is_available())


def training_eager(config: Any, batch: int) -> dict[str, Work]:
    return {EAGER: training(config, batch, False)} if comparable() else {}


def training_both(config: Any, batch: int) -> dict[str, Work]:
    compiled = {COMPILED: training(config, batch, True)} if comparable() else {}
    return training_eager(config, batch) | compiled


def forward_eager(config: Any, batch: int) -> dict[str, Work]:
    return {EAGER: forward(config, batch, False)} if comparable() else {}


def forward_both(config: Any, batch: int) -> dict[str, Work]:
    compiled = {COMPILED: forward(config, batch, True)} if comparable() else {}
    return forward_eager(config, batch) | compiled


def training(config: Any, batch: int, compiled: bool) -> Work:
    """The training step, with dropout and flips as configured and the loss averaged over pixels."""
    from benchmarks.peers.torch_vp import Training

    steps = Training(
        network(config),
        amp(config),
        compiled,
        lr=config.optim.lr,
        warmup=config.optim.warmup,
        grad_clip=config.optim.grad_clip,
        ema_rate=config.model.ema_rate,
        random_flip=config.data.random_flip,
    )
    x, _ = inputs(config, batch)
    return waited(lambda: steps.step(x))


def forward(config: Any, batch: int, compiled: bool) -> Work:
    """Evaluations of the score."""
    import torch

    from benchmarks.peers.torch_vp import autocast, score

    evaluated = network(config).eval()
    called = torch.compile(evaluated) if compiled else evaluated
    x, t = inputs(config, batch)

    def evaluate() -> Any:
        with autocast(x.device, amp(config)):
            return score(called, x, t)

    return waited(evaluate)


def divergence(config: Any, batch: int) -> dict[str, Work]:
    """Drift and divergence of the likelihood in full float32, as in the published code: two calls, one with a backward pass."""
    if not comparable():
        return {}
    import torch

    from benchmarks.peers.torch_vp import drift_and_divergence

    evaluated = network(config).eval().requires_grad_(False)
    x, t = inputs(config, batch)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    noise = torch.sign(torch.randn_like(x))
    return {EAGER: waited(lambda: drift_and_divergence(evaluated, x, t, noise))}


def samplers(config: Any, batch: int, steps: int) -> Iterator[tuple[str, str, Work, Work, int]]:
    """Yield samplers of other packages: name, package, the sampler, its network evaluations alone, and their number."""
    if not comparable("diffusers", "torchdiffeq"):
        return
    import torch

    from benchmarks.peers.torch_samplers import SAMPLERS, WHO
    from benchmarks.peers.torch_vp import MAX_LABEL, autocast

    evaluated = network(config).eval().requires_grad_(False)
    x, t = inputs(config, batch)
    labels = torch.full_like(t, 0.5 * MAX_LABEL)

    @torch.no_grad()
    def evaluate() -> Any:
        with autocast(x.device, amp(config)):
            return evaluated(x, labels)

    def called(x: Any, labels: Any) -> Any:
        with autocast(x.device, amp(config)):
            return evaluated(x, labels)

    def evaluations(nfe: int) -> None:
        for _ in range(nfe):
            evaluate()

    for name, sample in SAMPLERS.items():
        sampled = partial(sample, called, x, steps)
        nfe = sampled().nfe
        yield name, WHO[name], waited(sampled), waited(partial(evaluations, nfe)), nfe


def peak_memory(ran: Collection[str]) -> Iterator[tuple[str, float]]:
    """Peak memory of PyTorch's tensors so far in GiB, named after the works that ran; nothing without a GPU."""
    if comparable() and device().type == "cuda":
        import torch

        who = BOTH if COMPILED in ran else EAGER
        yield who, torch.cuda.max_memory_allocated() / 2**30


def device() -> Any:
    """The device that corresponds to JAX's."""
    import torch

    return torch.device("cuda" if jax.default_backend() == "gpu" else "cpu")


def network(config: Any) -> Any:
    import torch

    from benchmarks.peers.torch_ncsnpp import NCSNpp
    from benchmarks.peers.torch_vp import fast_settings

    fast_settings()
    torch.manual_seed(0)
    return NCSNpp.from_config(config).to(device(), memory_format=torch.channels_last)


def inputs(config: Any, batch: int) -> tuple[Any, Any]:
    """Images (b, c, h, w) of standard normal noise, and times (b,)."""
    import torch

    side, channels = config.data.image_size, config.data.num_channels
    x = torch.randn(batch, channels, side, side, device=device())
    t = torch.linspace(0.01, 1.0, batch, device=device())
    return x.contiguous(memory_format=torch.channels_last), t


def amp(config: Any) -> Any:
    """The dtype for autocast; None for float32."""
    import torch

    return torch.bfloat16 if config.model.dtype == "bfloat16" else None


def waited(call: Callable[[], Any]) -> Work:
    """Return a work that repeats the call and waits for the device at the end."""
    import torch

    def work(count: int) -> None:
        for _ in range(count):
            call()
        if device().type == "cuda":
            torch.cuda.synchronize()

    return work
