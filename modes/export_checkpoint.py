"""--mode export: write a checkpoint as a file that the published PyTorch code can load.

For ncsnpp and ddpm the file is a full training state in the format of score_sde_pytorch. For the other networks it has only the averaged
weights, named as in the published state dicts, as safetensors. For low-rank updates (LoRA) it is one small file with only these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from score_sde.configs.default import check_options
from score_sde.errors import UserError
from score_sde.files import cannot_write
from score_sde.foreign_weights import safetensors, torch_checkpoint, torch_write
from score_sde.foreign_weights.published_networks import (
    CLASSIFIER,
    check_published,
    has_arrays,
    network_of,
)
from score_sde.foreign_weights.record import from_state
from score_sde.foreign_weights.state_dicts import entries, from_tree
from score_sde.models.networks import build_network
from score_sde.modes.options import refuse_adapters
from score_sde.results import report
from score_sde.sde_lib import SDE
from score_sde.training.adapters import write_adapter
from score_sde.training.checkpoints import Checkpoints, checkpoint_folder, no_checkpoint
from score_sde.training.classifier_task import check_classifier_training, init_classifier
from score_sde.training.folder_weights import adapters_of, low_rank_of
from score_sde.training.optimizer import build_optimizer
from score_sde.training.recorded_config import (
    check_recorded,
    check_same_run,
    label_dropout_of,
    recorded,
)
from score_sde.training.state import TrainState, init_params, init_state
from score_sde.training.trained_score import averaged_params, check_score_model


def check(config: Any, sde: SDE) -> None:
    """Refuse a network that has no published counterpart.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    check_options(config)
    if config.training.task == CLASSIFIER:
        check_classifier_training(config)
    else:
        check_score_model(config, sde, to_sample=True)
    refuse_adapters(config, "export")
    if not config.training.lora.rank:
        check_published(config)


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Write <workdir>/export/checkpoint_<step>.pth, weights_<step>.safetensors or, for adapters, <name of the folder>_<step>.npz.

    Reports and returns the figures.

    Raises:
      UserError: no checkpoint, a checkpoint of another config, or the file exists already.
    """
    if config.training.lora.rank:
        exported = adapters_alone
    else:
        exported = weights_of if has_arrays(config) else checkpoint_of
    found = exported(config, workdir)
    width = f"-ema{config.ema_sigma_rel:g}" if config.ema_sigma_rel else ""
    path = workdir / "export" / found.name.format(f"{found.step}{width}")
    if jax.process_index() == 0:
        write(path, found.save)
    figures = {
        "mode": "export",
        "step": found.step,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(found.params)),
        "file": str(path),
    }
    if config.ema_sigma_rel:
        figures["ema_sigma_rel"] = config.ema_sigma_rel
    if config.ema_sigma_rel and path.suffix == ".pth":
        # The format stores the rate of an exponential average, but no width.
        figures["note"] = (
            f"the exported average has the width {config.ema_sigma_rel:g}, but the file states the rate {config.model.ema_rate:g} of an "
            "exponential average: training that continues from the file would use another average"
        )
    report(workdir, figures)
    return figures


class Exported(NamedTuple):
    """A checkpoint in its exported form."""

    name: str
    """Name of the file, with a placeholder for the step."""
    step: int
    params: Any
    save: Callable[[Path], None]


def checkpoint_of(config: Any, workdir: Path) -> Exported:
    """The full training state in the format of score_sde_pytorch."""
    network = build_network(config)
    record = from_state(trained_state(config, network, workdir), config.model.ema_rate)
    contents = torch_checkpoint.contents_of(record, network, config)
    return Exported(
        "checkpoint_{}.pth",
        record.step,
        record.params,
        lambda path: torch_write.save(path, contents),
    )


def weights_of(config: Any, workdir: Path) -> Exported:
    """The averaged weights, as a state dict with the published names."""
    check_recorded(
        config, workdir
    )  # before shapes are compared: it names the fields, not the arrays
    network = network_of(config)
    template = shapes_of(config, network)
    averaged, step = averaged_params(config, workdir, template)
    params = jax.device_get(averaged)
    # As published: a network that was trained without label dropout has no vector for "no class".
    earlier = recorded(workdir)
    rate = config.training.label_dropout if earlier is None else label_dropout_of(earlier)
    expected = entries(network, config.data.num_channels)
    arrays = from_tree(network.state_dict, expected, params, no_class=rate > 0)
    # The format metadata that PyTorch programs look for.
    return Exported(
        "weights_{}.safetensors",
        step,
        params,
        lambda path: safetensors.write(path, arrays, {"format": "pt"}),
    )


def shapes_of(config: Any, network: Any) -> Any:
    """Shapes and dtypes of the parameters of the config's network or noisy classifier."""
    init = init_classifier if config.training.task == CLASSIFIER else init_params
    return jax.eval_shape(lambda: init(config, network))


def adapters_alone(config: Any, workdir: Path) -> Exported:
    """The averaged adapters of a folder, which must have been trained with this config."""
    low_rank = low_rank_of(config.training)
    assert low_rank is not None
    check_same_run(config, workdir)
    template = shapes_of(config, network_of(config))
    adapters, step = adapters_of(
        workdir, low_rank, template, config.checkpoint_step, config.ema_sigma_rel
    )
    # Named after the run, so that the names of files made with the adapter tell where it comes from.
    name = workdir.absolute().name.replace("{", "{{").replace("}", "}}")
    return Exported(
        f"{name}_{{}}.npz",
        step,
        adapters,
        lambda path: write_adapter(path, adapters, low_rank.alpha),
    )


def trained_state(config: Any, network: Any, workdir: Path) -> TrainState:
    """The training state in a folder, which must have a checkpoint."""
    # Checked first, because looking for a checkpoint in the wrong place would create a folder there.
    if not checkpoint_folder(workdir).is_dir():
        raise no_checkpoint(checkpoint_folder(workdir))
    check_recorded(config, workdir)
    template = jax.eval_shape(lambda: init_state(config, network, build_optimizer(config)))
    with Checkpoints(workdir) as checkpoints:
        state = checkpoints.restore(template, config.checkpoint_step)
    if config.ema_sigma_rel:
        averaged, _ = averaged_params(config, workdir, template.params)
        state = dataclasses.replace(state, ema_params=averaged)
    return state


def write(path: Path, save: Callable[[Path], None]) -> None:
    """Save under a temporary name and rename, so that `path` is always complete; refuse to overwrite an existing file."""
    if path.exists():
        raise UserError(f"{path} exists already; move or delete it to export this step again")
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".partial")
    try:
        save(unfinished)
        unfinished.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)
