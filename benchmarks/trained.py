"""A network trained for a benchmark, and its likelihood of the held-out images."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from score_sde import data
from score_sde.likelihood.bits_per_dim import Measured, measure_bits_per_dim
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.models.score import ScoreModel
from score_sde.sde_lib import build_sde
from score_sde.training.score_task import train
from score_sde.training.trained_score import load_score_model


class Trained(NamedTuple):
    """With the averaged weights."""

    model: ScoreModel
    ode: Measured
    bound: Measured

    @property
    def figures(self) -> tuple[float, float, float, float]:
        """Means and their errors over images, of the ODE and of the bound."""
        ode, bound = self.ode, self.bound
        return ode.mean, ode.standard_error, bound.mean, bound.standard_error


def train_to_its_end(config: Any, folder: str | Path) -> None:
    """Train as config says.

    Raises:
      SystemExit: with main.py's status, if a signal ended the training early: weights of half a run are no row of a table.
    """
    stopped_by = train(config, folder)["stopped_by"]
    if stopped_by:
        raise SystemExit(128 + signal.Signals[stopped_by])


def train_and_measure(config: Any) -> Trained:
    """As config.training and config.likelihood say; nothing is kept."""
    sde = build_sde(config)
    with tempfile.TemporaryDirectory() as folder:
        train_to_its_end(config, folder)
        model = load_score_model(config, sde, Path(folder)).model
    split = data.load(config).test
    measured = measure_bits_per_dim(config, sde, model, UniformDequantizer(), split, config.seed)
    assert measured.ode is not None
    assert measured.bound is not None
    return Trained(model, measured.ode, measured.bound)


def without_records(config: Any, steps: int) -> Any:
    """A copy that trains so many updates, and writes nothing on the way."""
    config = config.copy_and_resolve_references()
    config.training.update(n_iters=steps, snapshot_freq=0, eval_freq=0, checkpoint_freq=0)
    return config
