"""Several devices out of one CPU: the batch shared by hand, where XLA shares the work of one small network badly.

XLA splits each operation of one device over the cores, and of small convolutions much of it stays on one core. With a
device for each core, every core computes a part of the batch instead (docs/speed.md has what that gives).
"""

from __future__ import annotations

from score_sde.errors import UserError

MOST = 256


def check_cpu_devices(count: int | None) -> None:
    """Raises UserError where there can be no such number of devices."""
    if count is not None and not 1 <= count <= MOST:
        raise UserError(
            f"--cpu_devices={count}: expected 1 to {MOST}, at best one for each core; a batch is shared by all of them"
        )


def split_cpu(count: int | None) -> None:
    """Have JAX see so many devices in the CPU, whatever XLA_FLAGS says. Before anything is computed.

    Args:
      count: None leaves things as they are: one, or as XLA_FLAGS says.

    Raises:
      UserError: something was computed, or JAX computes on a GPU or TPU.
    """
    if count is None:
        return
    import jax

    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError as error:  # a configuration file of the user's may have
        raise UserError(
            f"--cpu_devices={count} comes too late: the configuration has computed with JAX already; have it use NumPy instead"
        ) from error
    if jax.default_backend() != "cpu":
        raise UserError(
            f"--cpu_devices={count}, but JAX computes on {jax.device_count()} x {jax.default_backend()} here: leave it out, "
            "or set JAX_PLATFORMS=cpu"
        )
