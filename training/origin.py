"""A record of the weights that a run started from: the folder of training.init_from may be trained further in the meantime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from score_sde.errors import UserError
from score_sde.files import user_path
from score_sde.progress import say
from score_sde.training import manifest
from score_sde.training.checkpoints import checkpoint_folder, saved_steps

BEGAN_WITH = "began_with"
"""Key in config.json of what `origin_of` returned when the run began; missing in folders of older versions."""


def origin_of(config: Any) -> dict[str, Any]:
    """Identify the weights in training.init_from: step and hash of the checksums of its newest checkpoint, or hash of a file; {} for none."""
    if not config.training.init_from:
        return {}
    source = user_path(config.training.init_from)
    if source.is_file():
        return {"sha256": manifest.digest(source)}
    folder = checkpoint_folder(source)
    step = max(saved_steps(folder), default=None)
    if step is None:
        return {}
    sums = folder / str(step) / manifest.FILE
    return {"step": step, **({"sha256": manifest.digest(sums)} if sums.exists() else {})}


def check_origin(config: Any, recorded: dict[str, Any], workdir: Path) -> None:
    """Refuse to replay a run from its beginning with other weights than it started from; print a note if these are not recorded.

    Raises:
      UserError: states what is there now, and what to do.
    """
    steps = saved_steps(checkpoint_folder(workdir))
    # A run with adapters keeps its base weights in its own folder.
    if not config.training.init_from or (config.training.lora.rank and steps):
        return
    source, began, now = config.training.init_from, recorded.get(BEGAN_WITH), origin_of(config)
    if not began:
        say(
            f"{workdir} was made by an older version, which did not record the weights of {source} that it started from; using the newest"
        )
    elif began != now:
        first = f" later than {steps[0]}, the run's first checkpoint," if steps else ""
        raise UserError(
            f"the run started from {named(began)} of training.init_from={source!r}, which now has {named(now)}; choose an update"
            f"{first} or restore the earlier checkpoint"
        )


def named(origin: dict[str, Any]) -> str:
    """Describe an origin, for messages."""
    if not origin:
        return "nothing"
    step = f"step {origin['step']}" if "step" in origin else "the file"
    return f"{step} (sha256 {origin['sha256'][:8]})" if "sha256" in origin else step
