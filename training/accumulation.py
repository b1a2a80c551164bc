"""Gradient accumulation: process a batch in parts, with the memory of one part and the gradient of the whole mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from score_sde.errors import UserError

MeanLoss = Callable[[Any, Any], tuple[Array, Array]]
"""(parameters, batch) -> (mean loss (), losses (b,))."""

TINY = 1.7e-38
"""A normal float32 number below any relevant gradient."""


def mean_and_gradient(
    mean_loss: MeanLoss, params: Any, batch: Any, parts: int, unrolled: bool
) -> tuple[tuple[Array, Array], Any]:
    """Return ((mean loss, losses), gradient of the mean) of a batch, processed in parts of b / parts images each.

    Args:
      batch: a tree with leaves (b, ...).
      unrolled: unroll the loop over parts, which takes longer to compile; otherwise use a scan, in which the gradient of a
        convolution is 26 times slower on a CPU (jax#12868).
    """
    of_part = jax.value_and_grad(mean_loss, has_aux=True)
    if parts == 1:
        return of_part(params, batch)
    batches = jax.tree.map(lambda leaf: leaf.reshape(parts, -1, *leaf.shape[1:]), batch)

    def add(total: Any, part: Any) -> tuple[Any, Array]:
        after = params_after(params, total) if unrolled else params
        (mean, losses), gradient = of_part(after, part)
        return jax.tree.map(jnp.add, total, (mean, gradient)), losses

    first = jax.tree.map(lambda leaf: leaf[0], batches)
    (mean, _), gradient = jax.eval_shape(of_part, params, first)
    total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (mean, gradient))
    if unrolled:
        of_parts = []
        for part in range(parts):
            total, found = add(total, jax.tree.map(lambda leaf, part=part: leaf[part], batches))
            of_parts.append(found)
        losses = jnp.concatenate(of_parts)
    else:
        total, of_all = jax.lax.scan(add, total, batches)
        losses = of_all.reshape(-1)
    mean, gradient = jax.tree.map(lambda leaf: leaf / parts, total)
    return (mean, losses), gradient


def params_after(params: Any, total: Any) -> Any:
    """Return the parameters, made dependent on `total`, and unchanged even if that has a NaN from the images of one part.

    The dependency makes each part start only when the previous one has ended; otherwise the activations of several parts would
    be in memory at once. XLA's optimization_barrier expresses the same, but its CPU compiler removes it before scheduling.
    """
    known = sum(leaf.ravel()[0] for leaf in jax.tree.leaves(total))
    # A condition that XLA cannot evaluate before the total is known. If it ever holds, TINY is lost in rounding.
    holds = known == TINY
    return jax.tree.map(lambda p: jnp.where(holds, p + TINY, p).astype(p.dtype), params)


def check_parts(batch_size: int, parts: int, section: str) -> None:
    """Raise UserError unless each device's share of the batch can be divided into this many equal parts."""
    together = jax.device_count() * parts
    if batch_size % together:
        raise UserError(
            f"{section}.batch_size={batch_size} on {jax.device_count()} devices with {section}.accumulation={parts}: expected a "
            f"multiple of {together}; set --config.{section}.batch_size={max(together, batch_size // together * together)}, or "
            "another accumulation"
        )
