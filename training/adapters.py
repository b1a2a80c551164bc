"""Applying adapters: any number of low-rank updates of a network's weights at once, each with its own scale c_i.

    W' = W + sum_i c_i (alpha_i / r_i) A_i B_i

The adapters and their scales are given by config.adapters and config.adapter_scales, in every mode that uses a network. An adapter is
a folder in which one was trained (training.lora), or a file exported from such a folder by --mode export, with arrays
"<name of a kernel>.A" and ".B", and alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from score_sde.devices import replicated
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path
from score_sde.models.low_rank import matrix_shape, merged
from score_sde.npz import read_npz
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.training.folder_weights import adapters_of, recorded_low_rank
from score_sde.training.known_classes import check_same_classes
from score_sde.training.recorded_config import check_recorded
from score_sde.training.weights_file import write_tree
from score_sde.unfinished import newest_file

ALPHA = "alpha"


def chosen_adapters(config: Any) -> list[tuple[str, float]]:
    """Return the folders or files of config.adapters with their scales.

    Raises:
      ConfigError: the numbers of adapters and of scales differ.
    """
    names = [name.strip() for name in config.adapters.split(",") if name.strip()]
    scales = [float(scale) for scale in config.adapter_scales]
    if scales and len(scales) != len(names):
        raise ConfigError(
            f"adapter_scales={tuple(scales)} has {len(scales)} numbers, but adapters={config.adapters!r} names {len(names)}; give one "
            "for each, or none to use 1"
        )
    return list(zip(names, scales or [1.0] * len(names), strict=True))


def ages_of_adapters(config: Any) -> list[float]:
    """Return the modification time of each adapter, to find results that are out of date."""
    sources = [user_path(name) for name, _ in chosen_adapters(config)]
    return [
        newest_file(checkpoint_folder(source)) if source.is_dir() else source.stat().st_mtime
        for source in sources
    ]


def with_adapters(config: Any, params: Any, classes: Sequence[str] = ()) -> Any:
    """Return the parameters with the adapters that config selects merged into them; unchanged if there are none.

    Args:
      classes: the class names of the network of these parameters, in the order of their labels.

    Raises:
      ConfigError: an adapter cannot be read, or belongs to another network or other classes.
    """
    chosen = chosen_adapters(config)
    if not chosen:
        return params
    updated = jax.device_get(params)
    for name, weight in chosen:
        check_same_classes(
            f"adapters={name!r}", user_path(name), classes, "the network that it updates"
        )
        adapters, scale = read_adapter(config, name, params)
        updated = merged(updated, adapters, weight * scale)
    return jax.device_put(updated, replicated())


def read_adapter(config: Any, name: str, template: Any) -> tuple[Any, float]:
    """Read an adapter and return its A and B, as NumPy arrays, and its alpha / r.

    Args:
      template: the shapes of the parameters that the adapter updates.

    Raises:
      ConfigError: as for `with_adapters`.
    """
    source = user_path(name)
    try:
        if not source.exists():
            raise UserError(
                "there is no such folder or file; expected a folder trained with training.lora.rank, or a file exported "
                "from one with --mode export"
            )
        return of_folder(config, source, template) if source.is_dir() else of_file(source, template)
    except UserError as error:
        raise ConfigError(f"adapters={name!r}: {error}") from None


def of_folder(config: Any, workdir: Path, template: Any) -> tuple[Any, float]:
    """Read the averaged adapters, and their alpha / r, from the newest checkpoint in a folder."""
    low_rank = recorded_low_rank(workdir)
    if low_rank is None:
        raise UserError(
            f"no adapters were trained in {workdir}: expected a folder trained with training.lora.rank"
        )
    check_recorded(config, workdir)
    return adapters_of(workdir, low_rank, template)[0], low_rank.scale


def of_file(path: Path, template: Any) -> tuple[Any, float]:
    """Read the adapters, and their alpha / r, from an exported file."""
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise UserError(f"damaged, or not an adapter file ({error})") from error
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or not np.all(np.isfinite(array)):
            raise UserError(
                f"damaged, or not an adapter file: {name} has non-finite or non-numeric values"
            )
    if ALPHA not in arrays or arrays[ALPHA].shape != ():
        raise UserError(f"not an adapter file: it has no scalar {ALPHA!r}")
    alpha = float(arrays.pop(ALPHA))
    found: dict[tuple[str, ...], np.ndarray] = {}
    ranks = set[int]()
    for place, kernel in flatten_dict(template).items():
        name = ".".join(place)
        if {f"{name}.A", f"{name}.B"} <= arrays.keys():
            A, B = arrays.pop(f"{name}.A"), arrays.pop(f"{name}.B")
            ranks.add(rank_of(name, A, B, kernel.shape))
            found |= {(*place, "A"): A.astype(np.float32), (*place, "B"): B.astype(np.float32)}
    if arrays:
        raise UserError(f"not an adapter of this network: there is no kernel for {min(arrays)}")
    if len(ranks) != 1:
        raise UserError(f"its updates have the ranks {sorted(ranks)}: expected a single rank")
    return unflatten_dict(found), alpha / ranks.pop()


def rank_of(name: str, A: np.ndarray, B: np.ndarray, kernel: tuple[int, ...]) -> int:
    """Return the rank r of an update A B, after checking that it fits a kernel of this shape."""
    (m, n), r = matrix_shape(kernel), A.shape[-1] if A.ndim else 0
    if not r or A.shape != (m, r) or B.shape != (r, n):
        raise UserError(
            f"not an adapter of this network: {name}.A has shape {A.shape} and .B {B.shape}; a kernel of shape {kernel} needs ({m}, r) and (r, {n})"
        )
    return r


def write_adapter(path: Path, adapters: Any, alpha: float) -> None:
    """Write adapters to a file that `of_file` reads."""
    write_tree(path, adapters, **{ALPHA: np.float64(alpha)})
