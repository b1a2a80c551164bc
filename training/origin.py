"""Which weights a run began with, of those that training.init_from names: its folder may be trained further meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from score_sde.errors import UserError
from score_sde.files import user_path
from score_sde.progress import say
from score_sde.training import manifest
from score_sde.training.checkpoints import checkpoint_folder, saved_steps

BEGAN_WITH = "began_with"
"""In config.json, beside the sections: what `origin_of` gave when the run began; folders of older versions have none."""


def origin_of(config: Any) -> dict[str, Any]:
    """By what the weights are known again: the step of the newest checkpoint and the hash of its checksums, or that of a file; {} for none."""
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
    """Refuse to repeat a run from its beginning with other weights than it began with; say where these are not known.

    Raises:
      UserError: with what is there now, and what to do.
    """
    steps = saved_steps(checkpoint_folder(workdir))
    # Adapters keep the weights that they update.
    if not config.training.init_from or (config.training.lora.rank and steps):
        return
    source, began, now = config.training.init_from, recorded.get(BEGAN_WITH), origin_of(config)
    if not began:
        say(
            f"{workdir} is of an older version and does not know which weights of {source} it began with; the newest are taken"
        )
    elif began != now:
        first = f" later than {steps[0]}, the run's first checkpoint," if steps else ""
        raise UserError(
            f"the run began with {named(began)} of training.init_from={source!r}, where there is now {named(now)}; choose an update"
            f"{first} or put back what was there"
        )


def named(origin: dict[str, Any]) -> str:
    """It in words."""
    if not origin:
        return "nothing"
    step = f"step {origin['step']}" if "step" in origin else "the file"
    return f"{step} (sha256 {origin['sha256'][:8]})" if "sha256" in origin else step
