"""A record of the picture condition.mask, by its contents: another picture under the same name makes the network's weights mean something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from score_sde.errors import UserError
from score_sde.files import user_path
from score_sde.measurements.condition_image import measures_by_mask
from score_sde.training import manifest

MASK = "condition_mask"
"""Key in config.json of the picture's SHA-256; missing in folders of older versions."""


def mask_of(config: Any) -> dict[str, str]:
    """The entry of config.json for the picture through which the condition images are measured; {} if there is none that can be read."""
    if not measures_by_mask(config):
        return {}
    try:
        return {MASK: manifest.digest(user_path(config.condition.mask))}
    except OSError:
        # Commands that measure with it say so; others, such as --mode export, do without.
        return {}


def check_mask(config: Any, recorded: dict[str, Any], workdir: Path) -> None:
    """Check that the picture is that with which the network in `workdir`, whose config.json is `recorded`, was trained.

    Raises:
      UserError: it is another one.
    """
    began, now = recorded.get(MASK), mask_of(config).get(MASK)
    if began and now and began != now:
        raise UserError(
            f"the network in {workdir} was trained with another picture condition.mask={config.condition.mask!r} (sha256 {began[:8]}; that of the "
            f"file is now {now[:8]}): put the picture back that it was trained with, or use another --workdir"
        )
