"""The optimizer of score_sde: gradient clipping, Adam, decoupled weight decay, learning rate with warm-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array


def learning_rate(config: Any) -> Callable[[Array | int], Array]:
    """Return the learning rate of an update as a function of the number n of updates before it.

        lr min(n / warmup, 1) * [1 + cos(pi clip((n - warmup) / (n_iters - warmup), 0, 1))] / 2

    With warm-up the first update has rate 0, as published: it only initializes Adam's moments. The cosine factor (Loshchilov &
    Hutter 2017, Eq. 5) applies if optim.decay is "cosine" and reaches 0 at the end of the run. For "inverse_sqrt" it is replaced
    by 1 / sqrt(max(n / decay_after, 1)) (Karras et al. 2024b), which does not depend on the length of the run.
    """
    optim = config.optim
    # A run that ends during warm-up never decays.
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
    """Build the optimizer: clip -> Adam -> weight decay -> multiplication by -rate.

    Clipping replaces the gradient g by g c / max(|g|, c), with |g| the norm over all parameters; a negative `optim.grad_clip`
    disables it. Disabled parts are replaced by the identity, so that the names in the optimizer state, and thus in checkpoints,
    are the same for every setting.
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
    """Return the mask for weight decay: True for all parameters but the frequencies and phases of a Fourier embedding.

    Those receive no gradient, so only weight decay could change them, and it must not.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "fourier" not in jax.tree_util.keystr(path).lower(), params
    )
