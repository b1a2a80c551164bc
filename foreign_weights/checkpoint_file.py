"""Reading of published files of weights in any format, recognized by the first bytes and not by the name."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import jax

from score_sde.errors import UserError
from score_sde.foreign_weights import flax_file, state_dict_file, torch_checkpoint, torch_file
from score_sde.foreign_weights.array_file import refuse_pickle
from score_sde.foreign_weights.published_networks import has_arrays, network_of
from score_sde.foreign_weights.record import Record, check_values
from score_sde.foreign_weights.state_dicts import entries
from score_sde.quoting import printable
from score_sde.training.named_shapes import Shapes, shapes
from score_sde.training.state import init_params

# Weights, their average and two moments of four bytes each, doubled to allow for other layouts; and room for all but the arrays.
BYTES_A_PARAMETER = 32
BYTES_BESIDE = 1 << 24


def read(path: Path, config: Any) -> Record:
    """Read the training state of the config's network from a file.

    Raises:
      UserError: the file is missing, damaged or of unknown format, holds anything but data, belongs to another network,
        or has values that cannot result from training.
    """
    network = network_of(config)
    try:
        with open(path, "rb") as file:
            start, size = file.read(64), os.fstat(file.fileno()).st_size
        refuse_pickle(path, start)
        read_one = _read_state_dict if has_arrays(config) else _read_checkpoint
        return check_values(read_one(path, start, size, network, config))
    except UserError as error:  # the message may quote the file
        raise UserError(printable(str(error))) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # the contents may be any structure of dicts, lists and numbers
        raise UserError(
            printable(
                f"{path} is not laid out as a checkpoint of the published training ({type(error).__name__}: {error})"
            )
        ) from error


def _read_state_dict(path: Path, start: bytes, size: int, network: Any, config: Any) -> Record:
    """Read a network that is published as named arrays."""
    expected = entries(network, config.data.num_channels)
    check_size(path, size, {entry.name: entry.shape for entry in expected})
    return state_dict_file.read(path, start, network.state_dict, expected, config)


def _read_checkpoint(path: Path, start: bytes, size: int, network: Any, config: Any) -> Record:
    """Read a checkpoint of score_sde or score_sde_pytorch."""
    expected = shapes(jax.eval_shape(lambda: init_params(config, network)))
    check_size(path, size, expected)
    readers = [reader for magics, reader in _READERS if start.startswith(magics)]
    if not readers:
        raise UserError(
            f"{path} is neither a PyTorch nor a Flax checkpoint (it begins with {start[:8]!r}); "
            "expected a file of score_sde_pytorch or score_sde"
        )
    return readers[0](path, network, expected)


def check_size(path: Path, size: int, expected: Shapes) -> None:
    """Refuse, before reading it, a file far larger than a checkpoint of this network."""
    count = sum(math.prod(shape) for shape in expected.values())
    most = BYTES_A_PARAMETER * count + BYTES_BESIDE
    if size > most:
        raise UserError(
            f"{path} has {size:,} bytes, but a checkpoint of the config's network of {count:,} parameters at most {most:,}: it is of "
            "another network, or damaged"
        )


def _read_torch(name: str, opened: Any, path: Path, network: Any, expected: Shapes) -> Record:
    del expected  # has our names
    with opened(path) as file:
        return torch_checkpoint.read(file, network, name)


_READERS = (
    ((torch_file.ZIP_MAGIC,), partial(_read_torch, "PyTorch", torch_file.open_zip)),
    (
        (torch_file.STREAM_MAGIC,),
        partial(_read_torch, "PyTorch before 1.6", torch_file.open_stream),
    ),
    (flax_file.MAP_MAGICS, flax_file.read),
)
