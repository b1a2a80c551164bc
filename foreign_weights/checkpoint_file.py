"""Reading a published checkpoint of any format. Which one it is shows in its first bytes, not in its name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from score_sde.errors import UserError
from score_sde.foreign_weights import flax_file, torch_checkpoint, torch_file
from score_sde.foreign_weights.record import Record, check_values
from score_sde.models.networks import build_network


def read(path: Path, config: Any) -> Record:
    """The training state in a file, which must be that of the config's network.

    Raises:
      UserError: no such file, of no known format, damaged, with anything in it but data, of another network, or with
        values that no training gives.
    """
    network = build_network(config)
    try:
        with open(path, "rb") as file:
            start = file.read(64)
        readers = [reader for magics, reader in _READERS if start.startswith(magics)]
        if not readers:
            raise UserError(
                f"{path} is neither a PyTorch nor a Flax checkpoint (it begins with {start[:8]!r}); "
                "expected a file of score_sde_pytorch or score_sde"
            )
        return check_values(readers[0](path, config, network))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # The contents can be any arrangement of dicts, lists and numbers.
        raise UserError(
            f"{path} is not laid out as a checkpoint of the published training ({error})"
        ) from error


def _read_torch(name: str, opened: Any, path: Path, config: Any, network: Any) -> Record:
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
