"""training.init_from: a network that begins with the averaged weights of another run, to be trained further on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path
from score_sde.foreign_weights import checkpoint_file
from score_sde.training.checkpoints import restore_ema
from score_sde.training.start import Weights


def weights_of(config: Any) -> Weights | None:
    """Those that config.training.init_from names, if it names any."""
    source = config.training.init_from
    if not source:
        return None
    return Weights(
        f"the averaged weights of {source}",
        lambda shapes: averaged(config, user_path(source), shapes),
    )


def averaged(config: Any, source: Path, shapes: Any) -> Any:
    """The averaged parameters of a working directory's newest checkpoint, or of a published checkpoint file.

    Raises:
      ConfigError: there is none, or its names or shapes are not these.
    """
    field = f"training.init_from={str(source)!r}"
    if not source.exists():
        raise ConfigError(
            f"{field} does not exist; give a working directory with checkpoints or a published checkpoint file, or "
            "leave it empty to begin from scratch"
        )
    try:
        if source.is_dir():
            return restore_ema(source, shapes)[0]
        return checkpoint_file.read(source, config).ema_params
    except UserError as error:
        raise ConfigError(f"{field}: {error}") from None
