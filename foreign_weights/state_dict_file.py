"""The weights of ADM, EDM, EDM2, DiT, U-ViT or ADM's classifier from a file of arrays by name, as a training state that begins there.

Such a file has one set of weights, by the programs' custom the averaged ones, and neither a step nor an optimizer: both the parameters and
their average are these, at step 0.
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
    """The weights in a file, which must be the network's, and in words what was done with them.

    Args:
      start: the file's first bytes.
      form: how the network is published, and ...
      expected: ... its parameters.

    Raises:
      UserError: no such file, damaged, with anything in it but arrays, of another network, or in numbers that float32 does not hold.
    """
    with open_arrays(path, start) as (file_format, stored):
        found = matched(form, expected, stored)
        used = found.parameters | found.constants
        check_dtypes(used)
        check_constants(form, found)
        notes = [*said(form, found), *converted(used)]
        arrays = {name: array_of(of) for name, of in found.parameters.items()}
    if found.lacks_no_class:
        check_never_asked(form, config)
    params = to_tree(form, expected, arrays)
    return Record(file_format, 0, params, params, None, config.model.ema_rate, tuple(notes))


def array_of(stored: Stored) -> np.ndarray:
    """The numbers as float32, which holds all of them."""
    return stored.read().astype(np.float32)


def check_dtypes(arrays: Mapping[str, Stored]) -> None:
    """Refuse numbers that float32 would round, and what is no real number.

    Raises:
      UserError: with the first of them.
    """
    for name, array in arrays.items():
        if array.dtype != FLOAT32 and array.dtype not in HALVES:
            raise UserError(
                f"{name} of the file is {array.dtype}; expected float32, float16 or bfloat16. Write it as float32: in PyTorch "
                "array.float(), in NumPy array.astype('float32')"
            )


def check_constants(form: StateDict, found: Matched) -> None:
    """Refuse a file whose buffers are others than this network computes, which shapes need not tell.

    Raises:
      UserError: with the first of them.
    """
    for name, stored in found.constants.items():
        array, expected = array_of(stored), form.constants[name]
        # Of the largest number, half the distance to the next of its type, and no less than what float32 computes.
        rounding = max(float(jnp.finfo(stored.dtype).eps), 1e-6) * float(np.abs(expected).max())
        error = np.abs(array - expected).max()
        if not error <= rounding:
            place = np.unravel_index(np.argmax(np.abs(array - expected)), array.shape)
            raise UserError(
                f"{name} of the file is {array[place]:g} where this network has {expected[place]:g}: it was made with other patches, "
                "images or another filter (model.patch_size, model.fir); set the config to the file's network"
            )


def check_never_asked(form: StateDict, config: Any) -> None:
    """Refuse a file without a vector of "no class" for a network that is asked for no class.

    Raises:
      ConfigError: training.label_dropout is not 0, by which modes know.
    """
    if config.training.label_dropout:
        raise ConfigError(
            f"{form.classes} of the file has a vector for each of the {config.model.num_classes} classes and none for no class, which "
            f"training.label_dropout={config.training.label_dropout} says that the network learnt; set training.label_dropout=0"
        )


def said(form: StateDict, found: Matched) -> list[str]:
    """What of the file and the network is not in both."""
    notes = [f"{name} was left out: it {form.left_out[name]}" for name in found.left_out]
    if found.lacks_no_class:
        notes.append(
            f"{form.classes} has no vector for no class; it got zeros, and nothing asks for them (training.label_dropout=0)"
        )
    absent = len(form.constants) - len(found.constants)
    if absent:
        notes.append(
            f"{absent} buffers ({next(name for name in form.constants if name not in found.constants)}, ...) are not in the file, by which "
            "its network would have been told from one of other options: they are computed"
        )
    return notes


def converted(arrays: Mapping[str, Stored]) -> list[str]:
    """How many arrays became float32."""
    counts = Counter(str(array.dtype) for array in arrays.values() if array.dtype != FLOAT32)
    return [f"{count} arrays of {dtype} became float32" for dtype, count in counts.items()]
