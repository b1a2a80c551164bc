"""Splitting the CPU into several devices that share a batch, since XLA parallelizes small networks poorly.

On a single device XLA splits each operation across the cores, but much of a small convolution stays on one core. With one
device per core, each core computes a part of the batch instead (speedups in docs/speed.md).
"""

from __future__ import annotations

from score_sde.errors import UserError

MOST = 256


def check_cpu_devices(count: int | None) -> None:
    """Refuse an invalid number of devices by a UserError."""
    if count is not None and not 1 <= count <= MOST:
        raise UserError(
            f"--cpu_devices={count}: expected 1 to {MOST}, at best one for each core; a batch is shared by all of them"
        )


def split_cpu(count: int | None) -> None:
    """Make JAX use `count` CPU devices, whatever XLA_FLAGS says; call this before anything is computed.

    Args:
      count: None changes nothing: one device, or as set by XLA_FLAGS.

    Raises:
      UserError: JAX has computed something already, or uses a GPU or TPU.
    """
    if count is None:
        return
    import jax

    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError as error:  # caused by a user's configuration file that computes with JAX
        raise UserError(
            f"--cpu_devices={count} comes too late: the configuration has computed with JAX already; have it use NumPy instead"
        ) from error
    if jax.default_backend() != "cpu":
        raise UserError(
            f"--cpu_devices={count}, but JAX computes on {jax.device_count()} x {jax.default_backend()} here: leave it out, "
            "or set JAX_PLATFORMS=cpu"
        )
