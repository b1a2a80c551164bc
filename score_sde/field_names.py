"""The names allowed for fields that are checked by looking them up in a table; fields.py stores them for completion."""

from __future__ import annotations

from collections.abc import Iterable

from score_sde.data.builders import BUILDERS
from score_sde.data.loader import LOADERS
from score_sde.data.resizing import FILTERS
from score_sde.devices.choice import DEVICES
from score_sde.features.extractors import NAMES
from score_sde.generation.sample_files import SAVES
from score_sde.generation.sampled_score import THRESHOLDS
from score_sde.likelihood.dequantization.trained import DEQUANTIZERS
from score_sde.likelihood.estimators import ESTIMATORS
from score_sde.measurements.configured import MEASUREMENTS
from score_sde.models.networks import NETWORKS
from score_sde.models.parameterization import CONTINUOUS, DISCRETE_NOISE, EDM
from score_sde.restoration.methods import METHODS
from score_sde.samplers.adaptive import SOLVERS
from score_sde.samplers.configured import OPTIMAL, SAMPLERS
from score_sde.samplers.correctors import CORRECTORS
from score_sde.samplers.fixed_steps import FIXED_SOLVERS
from score_sde.samplers.grids import AUTO, GRIDS
from score_sde.samplers.ode import VARIABLES
from score_sde.samplers.predictors import LEARNED, PREDICTORS
from score_sde.samplers.sde import SDE_SOLVERS
from score_sde.sde_lib import SDES
from score_sde.training.draws import DRAWS
from score_sde.training.kinds import KINDS
from score_sde.training.times import TIMES
from score_sde.training.trained_score import EXACT
from score_sde.training.weightings import CONSISTENCY_WEIGHTINGS, FLOW_WEIGHTINGS, WEIGHTINGS

STEPS, STEP_SIZES = ("grid", "adaptive"), ("batch", "image")

TABLES: dict[str, Iterable[str]] = {
    "data_parallel": DEVICES,
    "sde.name": SDES,
    "data.name": (*LOADERS, *BUILDERS),
    "data.resample": FILTERS,
    "data.in_memory": ("auto", "yes", "no"),
    "model.name": (*NETWORKS, EXACT),
    "model.predicts": ("process", *CONTINUOUS, EDM),
    "model.discrete_labels": DISCRETE_NOISE,
    "training.task": KINDS,
    "training.weighting": (*WEIGHTINGS, *FLOW_WEIGHTINGS, *CONSISTENCY_WEIGHTINGS),
    "training.times": TIMES,
    "training.draws": DRAWS,
    "sampling.sampler": SAMPLERS,
    "sampling.save": SAVES,
    "sampling.threshold": THRESHOLDS,
    "sampling.grid.name": (AUTO, *GRIDS),
    "sampling.pc.predictor": (*PREDICTORS, *LEARNED, OPTIMAL),
    "sampling.pc.corrector": CORRECTORS,
    "sampling.ode.solver": FIXED_SOLVERS,
    "sampling.ode.variable": VARIABLES,
    "sampling.sde.solver": SDE_SOLVERS,
    **{f"sampling.{group}.steps": STEPS for group in ("ode", "sde", "exponential")},
    **{f"sampling.{group}.step_size": STEP_SIZES for group in ("ode", "sde", "exponential")},
    "restore.method": METHODS,
    "restore.measurement.name": MEASUREMENTS,
    "likelihood.solver": SOLVERS,
    "likelihood.probe": ESTIMATORS,
    "likelihood.dequantization": DEQUANTIZERS,
    "evaluation.features": NAMES,
}
