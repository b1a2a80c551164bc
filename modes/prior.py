"""Note on a process that ends before the images have become noise."""

from __future__ import annotations

import jax.numpy as jnp

from score_sde.progress import say
from score_sde.sde_lib import SDE

LARGEST_LOG_SNR = -3.0
"""Log-SNR at T from which on a note is printed; that of VE with sigma_max = 5, for digits, is -3.2."""


def say_signal_left(sde: SDE) -> None:
    """Print a note if the log-SNR at T is above LARGEST_LOG_SNR, so that the prior is not the distribution of x_T."""
    T = jnp.asarray(sde.T)
    log_snr = float(sde.log_snr(T))
    if not log_snr > LARGEST_LOG_SNR:  # NaN where alpha(T) is 0 up to rounding
        return
    fields = ", ".join(f"model.{name}" for name in sde.options()) or "its alpha and sigma"
    say(
        f"note: at T={sde.T:g} the log-SNR of {type(sde).__name__} is still {log_snr:.2f} (alpha = {float(sde.alpha(T)):.3g}, sigma = "
        f"{float(sde.sigma(T)):.3g}): samples start from the prior N(0, {float(sde.prior_std):.3g}^2), and likelihoods are measured "
        f"with it, but x_T has another distribution; choose {fields} such that the log-SNR falls to -5 or less"
    )
