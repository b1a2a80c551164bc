"""Adam as score_sde uses it: clip, Adam, decoupled weight decay, learning rate with warm-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array


def learning_rate(config: Any) -> Callable[[Array | int], Array]:
    """The rate of an update, as a function of the number of updates before it.

        lr min(n / warmup, 1) * [1 + cos(pi clip((n - warmup) / (n_iters - warmup), 0, 1))] / 2

    The first update has rate 0 when there is a warm-up, as published: it only fills Adam's averages. The
    cosine (Loshchilov & Hutter 2017, Eq. 5) is there when optim.decay is "cosine"; it ends with the run. "inverse_sqrt" has
    1 / sqrt(max(n / decay_after, 1)) in its place (Karras et al. 2024b), which needs no end.
    """
    optim = config.optim
    # A run that ends within its warm-up never decays.
    decaying = max(config.training.n_iters - optim.warmup, 1)

    def rate(count: Array | int) -> Array:
        lr = jnp.asarray(optim.lr, jnp.float32)
        if optim.warmup > 0:
            lr = lr * jnp.minimum(count / optim.warmup, 1.0)
        if optim.decay == "cosine":
            progress = (count - optim.warmup) / decaying
            lr = lr * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(progress, 0.0, 1.0)))
        if optim.decay == "inverse_sqrt":
            lr = lr / jnp.sqrt(jnp.maximum(count / optim.decay_after, 1.0))
        return lr

    return rate


def build_optimizer(config: Any) -> optax.GradientTransformation:
    """clip -> Adam -> weight decay -> -rate.

    The clip is g c / max(|g|, c) with |g| the norm over all parameters; a negative `optim.grad_clip` leaves
    it out. A part left out becomes the identity instead, so that the names in the state, hence in
    checkpoints, are the same for every setting.
    """
    optim = config.optim
    clip, decay = optim.grad_clip, optim.weight_decay
    return optax.chain(
        optax.clip_by_global_norm(clip) if clip >= 0 else optax.identity(),
        optax.scale_by_adam(b1=optim.beta1, b2=optim.beta2, eps=optim.eps),
        optax.add_decayed_weights(decay, mask=trained) if decay else optax.identity(),
        optax.scale_by_learning_rate(learning_rate(config)),
    )


def trained(params: Any) -> Any:
    """True for the parameters that training moves: all but frequencies and phases of a Fourier embedding.

    No gradient reaches those, so only weight decay could change them, and it must not.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "fourier" not in jax.tree_util.keystr(path).lower(), params
    )
