"""The weights of ADM, EDM, EDM2, DiT, U-ViT or ADM's classifier from a file of named arrays, as an initial training state.

Such a file has a single set of weights, usually the averaged ones, and neither a step nor an optimizer state. They become both the
parameters and their average, at step 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from score_sde.errors import ConfigError, UserError
from score_sde.foreign_weights.array_file import open_arrays
from score_sde.foreign_weights.record import Record
from score_sde.foreign_weights.state_dicts import Entry, Matched, matched, to_tree
from score_sde.foreign_weights.stored import FLOAT32, HALVES, Stored
from score_sde.models.published import StateDict


def read(path: Path, start: bytes, form: StateDict, expected: list[Entry], config: Any) -> Record:
    """Read the network's weights from a file, with notes on what was done with them.

    Args:
      path: the file.
      start: its first bytes.
      form: the published form of the network.
      expected: the parameters of the network.
      config: the config.

    Raises:
      UserError: the file is missing or damaged, holds anything but arrays, belongs to another network, or has numbers that
        float32 cannot represent.
    """
    with open_arrays(path, start) as (file_format, stored):
        found = matched(form, expected, stored)
        used = found.parameters | found.constants
        check_dtypes(used)
        check_constants(form, found)
        notes = [*said(form, found, config), *converted(used)]
        arrays = {name: array_of(of) for name, of in found.parameters.items()}
    params = to_tree(form, expected, arrays)
    lacking = form.classes if found.lacks_no_class else ""
    return Record(
        file_format, 0, params, params, None, config.model.ema_rate, tuple(notes), lacking
    )


def array_of(stored: Stored) -> np.ndarray:
    """Read an array as float32, which represents all of its numbers exactly."""
    return stored.read().astype(np.float32)


def check_dtypes(arrays: Mapping[str, Stored]) -> None:
    """Refuse arrays of a type that float32 would round, or that are not real numbers.

    Raises:
      UserError: with the name of the first such array.
    """
    for name, array in arrays.items():
        if array.dtype != FLOAT32 and array.dtype not in HALVES:
            raise UserError(
                f"{name} of the file is {array.dtype}; expected float32, float16 or bfloat16. Write it as float32: in PyTorch "
                "array.float(), in NumPy array.astype('float32')"
            )


def check_constants(form: StateDict, found: Matched) -> None:
    """Refuse a file whose buffers differ from those that this network computes, even if their shapes agree.

    Raises:
      UserError: with the name of the first such buffer.
    """
    for name, stored in found.constants.items():
        array, expected = array_of(stored), form.constants[name]
        # The rounding of the largest number in the file's type, or at least the error of computing it in float32.
        rounding = max(float(jnp.finfo(stored.dtype).eps), 1e-6) * float(np.abs(expected).max())
        error = np.abs(array - expected).max()
        if not error <= rounding:
            place = np.unravel_index(np.argmax(np.abs(array - expected)), array.shape)
            raise UserError(
                f"{name} of the file is {array[place]:g} where this network has {expected[place]:g}: the file's network has other patches, "
                "images or another filter (model.patch_size, model.fir); set the config to match the file"
            )


def check_never_asked(record: Record, config: Any) -> None:
    """Refuse a file without an embedding of "no class" if the network is to be used without a class before it is trained further.

    Raises:
      ConfigError: training.label_dropout is not 0, by which modes know that it is.
    """
    if record.lacks_no_class and config.training.label_dropout:
        raise ConfigError(
            f"{record.lacks_no_class} of the file has a vector for each of the {config.model.num_classes} classes but none for no class, which "
            f"training.label_dropout={config.training.label_dropout} requires; set training.label_dropout=0, or "
            "start a training run from the file, which learns that vector: training.init_from"
        )


def said(form: StateDict, found: Matched, config: Any) -> list[str]:
    """Notes on what is in the file but not in the network, and the reverse."""
    notes = [f"{name} was left out: it {form.left_out[name]}" for name in found.left_out]
    if found.lacks_no_class:
        rate = config.training.label_dropout
        use = "from which its training starts" if rate else "which are never used"
        notes.append(
            f"{form.classes} has no vector for no class; it was set to zeros, {use} (training.label_dropout={rate:g})"
        )
    elif form.classes in found.parameters and not config.training.label_dropout:
        notes.append(
            f"{form.classes} has a vector for no class, which is not used and not exported with training.label_dropout=0; if it was trained, "
            "set training.label_dropout to the rate of that training, such as 0.1"
        )
    absent = len(form.constants) - len(found.constants)
    if absent:
        notes.append(
            f"{absent} buffers ({next(name for name in form.constants if name not in found.constants)}, ...) are missing from the file and "
            "were computed; they could therefore not be used to check the options"
        )
    return notes


def converted(arrays: Mapping[str, Stored]) -> list[str]:
    """Notes on the number of arrays converted to float32."""
    counts = Counter(str(array.dtype) for array in arrays.values() if array.dtype != FLOAT32)
    return [
        f"{count} arrays of {dtype} were converted to float32" for dtype, count in counts.items()
    ]
