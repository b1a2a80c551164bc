"""All fields of a configuration, assembled from the sections that declare their defaults, meanings and ranges.

Experiments start from these and change a few fields. Names follow score_sde where it has a name. Every field can be set on the
command line, as `--config.training.batch_size=64`; unknown names and values of another type are refused. `python -m
score_sde.configs.default` lists all fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from score_sde.data.options import DataOptions
from score_sde.errors import ConfigError
from score_sde.guidance.options import GuidanceOptions
from score_sde.likelihood.options import ClassifierOptions, DequantizerOptions, LikelihoodOptions
from score_sde.measurements.options import ConditionOptions, MeasurementOptions
from score_sde.models.networks import NETWORKS, NetworkChoice
from score_sde.models.noisy_classifier import NoisyClassifierNetwork
from score_sde.models.parameterization import PredictionOptions
from score_sde.modes.options import InterpolationOptions, MergeOptions, RunOptions, TradeoffOptions
from score_sde.options import Section, absent, value_of
from score_sde.quality.options import EvaluationOptions
from score_sde.restoration.options import RestoreOptions
from score_sde.samplers import options as sampling
from score_sde.sde_lib import SDES, ProcessChoice
from score_sde.training.options import (
    AveragingOptions,
    ConsistencyOptions,
    LowRankOptions,
    MeanFlowOptions,
    OptimizerOptions,
    PowerAverageOptions,
    TrainingOptions,
)


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Yield dotted section names with their options; all registered processes and networks share config.model."""
    yield "", RunOptions
    yield "sde", ProcessChoice
    yield "data", DataOptions
    networks = [network for network in NETWORKS.values() if issubclass(network, Section)]
    of_model: list[type[Section]] = [NetworkChoice, *SDES.values(), *networks]
    for part in (*of_model, PredictionOptions, AveragingOptions):
        yield "model", part
    yield "condition", ConditionOptions
    yield "noisy_classifier", NoisyClassifierNetwork
    yield "optim", OptimizerOptions
    yield "training", TrainingOptions
    yield "training.ema", PowerAverageOptions
    yield "training.lora", LowRankOptions
    yield "consistency", ConsistencyOptions
    yield "mean_flow", MeanFlowOptions
    yield "sampling", sampling.SamplingOptions
    yield "sampling.grid", sampling.GridOptions
    yield "sampling.errors", sampling.ErrorOptions
    yield "sampling.guidance", GuidanceOptions
    yield "sampling.pc", sampling.PCOptions
    yield "sampling.ode", sampling.ODEOptions
    yield "sampling.sde", sampling.SDEOptions
    yield "sampling.exponential", sampling.ExponentialOptions
    yield "sampling.edm", sampling.EDMOptions
    yield "sampling.few_steps", sampling.FewStepOptions
    yield "interpolation", InterpolationOptions
    yield "restore", RestoreOptions
    yield "restore.measurement", MeasurementOptions
    yield "likelihood", LikelihoodOptions
    yield "dequantizer", DequantizerOptions
    yield "classifier", ClassifierOptions
    yield "evaluation", EvaluationOptions
    yield "tradeoff", TradeoffOptions
    yield "merge", MergeOptions


def get_config() -> ConfigDict:
    """The configuration with all fields at their defaults."""
    config = ConfigDict()
    for name, section in sections():
        parent, _, last = name.rpartition(".")
        if last and last not in value_of(config, parent):
            value_of(config, parent)[last] = ConfigDict()
        add_defaults(value_of(config, name), name, section)
    return config


def add_defaults(values: ConfigDict, name: str, section: type[Section]) -> None:
    """Add the defaults of a section to the options that are already in `config.<name>`.

    Raises:
      ConfigError: an option of that name is there with another default, which this one would replace for every process and network.
    """
    for key, default in section.defaults().items():
        if key in values and values[key] != default:
            raise ConfigError(
                f"{section.__name__}.{key}={default!r}: config.{name}.{key} is already an option, with the default {values[key]!r}; give it another name"
            )
        values[key] = default


def check_options(config: Any) -> None:
    """Refuse the first value outside its range, whether or not it is used.

    Raises:
      ConfigError: names the dotted field, its value and what was expected.
    """
    for name, section in sections():
        try:
            values = value_of(config, name)
        except (KeyError, TypeError) as error:
            raise absent(name) from error
        section.check_options(values, name)


if __name__ == "__main__":
    listed = {  # a dict, since networks share some of their fields
        ".".join(filter(None, (section_name, option_name))): field
        for section_name, part in sections()
        for option_name, field in part.options().items()
    }
    for dotted, field in listed.items():
        print(f"--config.{dotted}={field.default}\n    {field.metadata['what']}")
