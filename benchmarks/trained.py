"""Training of a network for a benchmark, and its likelihood of the held-out images."""

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
    """A score model with EMA weights and its bits/dim by the ODE and by the bound."""

    model: ScoreModel
    ode: Measured
    bound: Measured

    @property
    def figures(self) -> tuple[float, float, float, float]:
        """Mean and standard error over images of the ODE, then of the bound."""
        ode, bound = self.ode, self.bound
        return ode.mean, ode.standard_error, bound.mean, bound.standard_error


def train_to_its_end(config: Any, folder: str | Path) -> None:
    """Train by the config, to the end.

    Raises:
      SystemExit: with the status of main.py, if a signal stopped the training: partly trained weights must not enter a table.
    """
    stopped_by = train(config, folder)["stopped_by"]
    if stopped_by:
        raise SystemExit(128 + signal.Signals[stopped_by])


def train_and_measure(config: Any) -> Trained:
    """Train and measure by config.training and config.likelihood, in a temporary folder."""
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
    """A copy of the config that trains for `steps` steps and writes no snapshots, evaluations or intermediate checkpoints."""
    config = config.copy_and_resolve_references()
    config.training.update(n_iters=steps, snapshot_freq=0, eval_freq=0, checkpoint_freq=0)
    return config
