"""Checkpoints of the original JAX code: a Flax msgpack file, {step, optimizer, lr, ema_rate, params_ema, ...}.

Its networks have the same names and layouts as ours. msgpack holds only data, so reading a file executes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flax.serialization import msgpack_restore
from flax.traverse_util import flatten_dict, unflatten_dict

from score_sde.errors import UserError
from score_sde.foreign_weights.record import Moments, Record, check_count, check_float32, entry
from score_sde.training.named_shapes import Shapes, check_same

# The first byte of a msgpack map with 1-15 entries, or with more.
MAP_MAGICS = tuple(bytes([byte]) for byte in (*range(0x81, 0x90), 0xDE, 0xDF))
MU, NU = "grad_ema", "grad_sq_ema"  # flax.optim.Adam's names


def read(path: Path, network: Any, expected: Shapes) -> Record:
    """Read the training state from a file, with parameters of these names and shapes.

    Raises:
      UserError: not such a file, damaged, or of another network.
    """
    try:
        contents = msgpack_restore(path.read_bytes())
    except Exception as error:  # msgpack and Flax may raise anything
        raise UserError(
            f"{path} is damaged or cut short, or no Flax checkpoint ({error})"
        ) from error
    del network  # names and layouts are the same as in the file
    step = check_count("step", entry(contents, "step"))

    def parameters(name: str, *path: str) -> dict[str, Any]:
        """The parameters at a path, checked to be those of the network."""
        return _checked(step, name, _without_collection(entry(contents, *path)), expected)

    moments = None
    if "param_states" in entry(contents, "optimizer").get("state", {}):
        updates = check_count("optimizer.state.step", entry(contents, "optimizer", "state", "step"))
        states = flatten_dict(
            _without_collection(entry(contents, "optimizer", "state", "param_states"))
        )
        mu, nu = (
            _checked(
                step,
                f"optimizer.{key}",
                unflatten_dict({leaf[:-1]: a for leaf, a in states.items() if leaf[-1] == key}),
                expected,
            )
            for key in (MU, NU)
        )
        moments = Moments(updates, mu, nu)
    return Record(
        format="Flax",
        step=step,
        params=parameters("optimizer.target", "optimizer", "target"),
        ema_params=parameters("params_ema", "params_ema"),
        moments=moments,
        ema_rate=float(entry(contents, "ema_rate")),
    )


def _without_collection(tree: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a tree, which may hold them directly or in its collection "params"."""
    return tree.get("params", tree)


def _checked(step: int, name: str, tree: Any, expected: dict[str, tuple[int, ...]]) -> Any:
    given = {f"{name}.{leaf}": array for leaf, array in flatten_dict(tree, sep=".").items()}
    check_same(
        step,
        {leaf: array.shape for leaf, array in given.items()},
        {f"{name}.{leaf}": shape for leaf, shape in expected.items()},
    )
    check_float32(given)
    return tree
