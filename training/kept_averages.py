"""Power-function averages stored during training, in <workdir>/averages/<step>.npz, and the reconstruction of any width from them.

A file holds arrays "<sigma_rel>/<name of a parameter>", in float32, for each width in training.ema.sigma_rel. A reconstruction at a
checkpoint takes the newest averages from the checkpoint itself, and only files of earlier steps.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_sde.errors import UserError
from score_sde.files import write_whole
from score_sde.progress import say
from score_sde.training.checkpoints import restore_part
from score_sde.training.named_shapes import named
from score_sde.training.power_average import Profile, coefficients, exponent, misfit
from score_sde.training.recorded_config import read_config

Averages = dict[str, Any]
"""A mapping str(sigma_rel) -> parameters."""


def averages_folder(workdir: Path) -> Path:
    """Return the folder of the stored power-function averages."""
    return workdir / "averages"


def kept_steps(workdir: Path) -> list[int]:
    """Return the steps of the stored averages, oldest first."""
    found = averages_folder(workdir).glob("*.npz")
    return sorted(int(path.stem) for path in found if path.stem.isdecimal())


def keep(workdir: Path, step: int, averages: Averages) -> None:
    """Store the averages after `step` updates; only the first host writes.

    Raises:
      UserError: they cannot be written.
    """
    if jax.process_index() == 0:
        arrays = {
            f"{width}/{name}": np.asarray(leaf)
            for width, params in averages.items()
            for name, leaf in named(params).items()
        }
        path = averages_folder(workdir) / f"{step}.npz"
        write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def drop_after(workdir: Path, step: int) -> None:
    """Delete the stored averages of later steps, which will be computed again."""
    if jax.process_index() == 0:
        for late in kept_steps(workdir):
            if late > step:
                (averages_folder(workdir) / f"{late}.npz").unlink()


def set_aside_after(workdir: Path, step: int, target: Path) -> None:
    """Move the stored averages of later steps to <target>/averages."""
    for late in (kept for kept in kept_steps(workdir) if kept > step):
        averages_folder(target).mkdir(parents=True, exist_ok=True)
        name = f"{late}.npz"
        (averages_folder(workdir) / name).rename(averages_folder(target) / name)


def read(workdir: Path, step: int, width: str, template: Any) -> Any:
    """Read the stored average of a width after `step` updates, as NumPy arrays in the structure of the template.

    Raises:
      UserError: the file is damaged or belongs to another network.
    """
    path = averages_folder(workdir) / f"{step}.npz"
    try:
        with np.load(path) as file:
            found = {name: file[f"{width}/{name}"] for name in named(template)}
        for name, like in named(template).items():
            if found[name].shape != like.shape:
                raise ValueError(f"{name} has shape {found[name].shape}, the network {like.shape}")
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is damaged or belongs to another network ({error}); remove it, and the average is computed from the others"
        ) from error
    return jax.tree.unflatten(jax.tree.structure(template), list(found.values()))


def reconstructed(
    workdir: str | Path, template: Any, sigma_rel: float, step: int = 0
) -> tuple[Any, int]:
    """Reconstruct the power-function average of any width at a checkpoint, and return it with the checkpoint's step.

    Args:
      template: the parameters, or their shapes.
      step: the step of the checkpoint; 0: the newest.

    Raises:
      UserError: no power-function averages were stored there, or some cannot be read.

    Cost: reads all earlier stored averages; three copies of the parameters in memory, in float64.
    """
    workdir = Path(workdir)
    widths = read_config(workdir).training.ema.sigma_rel
    if not widths:
        raise UserError(
            f"ema_sigma_rel={sigma_rel}: {workdir} was trained without power-function averages; train with, for "
            "example, training.ema.sigma_rel=0.05,0.1, or set ema_sigma_rel=0 for the exponential average"
        )
    item = {str(width): template for width in widths}
    newest, step = restore_part(workdir, "averages", item, step)
    steps = [kept for kept in kept_steps(workdir) if kept < step]
    kept = [Profile(t, exponent(w)) for t in (*steps, step) for w in widths]
    wanted = Profile(step, exponent(sigma_rel))
    weights = coefficients(kept, [wanted])[:, 0]
    far = misfit(kept, wanted, weights)
    say(
        f"the average of width {sigma_rel:g} at step {step} is computed from {len(kept)} of widths {', '.join(map(str, widths))}; its "
        f"profile is {100 * far:.2g} % off"
    )

    def averages() -> Iterator[Any]:
        for earlier in steps:
            for w in widths:
                yield read(workdir, earlier, str(w), template)
        for w in widths:
            yield newest[str(w)]

    total = jax.tree.map(lambda like: np.zeros(like.shape, np.float64), template)
    for weight, average in zip(weights, averages(), strict=True):
        total = jax.tree.map(
            lambda s, a, c=weight: s + c * np.asarray(a, np.float64), total, average
        )
    return jax.tree.map(lambda s, like: s.astype(like.dtype), total, template), step
