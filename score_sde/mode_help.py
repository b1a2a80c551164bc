"""A line about each mode, with the most important fields of the configuration for it: `main.py --mode MODE --help`."""

from __future__ import annotations

from typing import NamedTuple


class ModeHelp(NamedTuple):
    """The contents of `--mode MODE --help`."""

    does: str
    flags: tuple[str, ...] = ()
    """Flags in addition to those of every mode."""
    fields: tuple[str, ...] = ()
    """Dotted names of fields; help shows them with their defaults."""
    example: str = ""
    """Arguments of an example command after `python main.py`."""


def fields(names: str) -> tuple[str, ...]:
    """Split a text into names."""
    return tuple(names.split())


CHECKPOINT = "checkpoint_step ema_sigma_rel "
WHICH = CHECKPOINT + "adapters adapter_scales "
SOLVER = "sampling.grid.name sampling.ode.steps sampling.ode.num_steps sampling.ode.solver sampling.ode.rtol sampling.ode.atol "
STEPS = "sampling.pc.predictor sampling.pc.corrector sampling.pc.num_steps sampling.exponential.num_steps "
TRAINED = "--workdir runs/subvp_digits --mode "

HELP: dict[str, ModeHelp] = {
    "data": ModeHelp(
        "show what the network will see of the images, in numbers and as a picture",
        fields=fields(
            "data.name data.data_dir data.folder data.file data.image_size data.image_width data.num_channels "
            "data.num_levels data.stored_levels data.centered data.label data.random_flip "
            "data.uniform_dequantization data.resize data.crop_size data.resample data.pad data.in_memory"
        ),
        example="--config configs/subvp_digits.py --mode data",
    ),
    "train": ModeHelp(
        "train, or go on where an earlier command in the folder stopped",
        flags=("sampler",),
        fields=fields(
            "seed data.name sde.name model.name model.num_classes model.dropout model.ema_rate optim.lr "
            "training.batch_size training.n_iters training.weighting training.times training.label_dropout "
            "training.accumulation training.init_from training.lora.rank training.log_freq training.eval_freq "
            "training.checkpoint_freq training.snapshot_freq training.quality_freq training.wandb data_parallel"
        ),
        example="--config configs/subvp_digits.py --mode train",
    ),
    "replay": ModeHelp(
        "make one update of a run again, with the loss of each image",
        fields=fields("training.replay_step training.skip_nonfinite training.log_freq"),
        example=TRAINED + "replay --config.training.replay_step=100",
    ),
    "sample": ModeHelp(
        "draw images from a trained network or an exact score",
        flags=("sampler",),
        fields=fields(
            f"seed {WHICH} sampling.num_images sampling.batch_size sampling.save sampling.labels "
            f"sampling.guidance.weight {STEPS} {SOLVER} sampling.eps sampling.t_start sampling.start_images "
            "sampling.path_images"
        ),
        example=TRAINED + "sample --sampler ode",
    ),
    "interpolate": ModeHelp(
        "encode images by the ODE, and decode what lies between two of them",
        flags=("sampler",),
        fields=fields(
            f"interpolation.split interpolation.images interpolation.frames {WHICH} {SOLVER} sampling.eps"
        ),
        example=TRAINED + "interpolate",
    ),
    "restore": ModeHelp(
        "draw images given measurements of them, and judge the draws",
        flags=("sampler",),
        fields=fields(
            f"seed {WHICH} restore.images restore.measured restore.num_images restore.draws restore.method "
            "restore.measurement.name restore.measurement.sigma_y restore.measurement.box "
            "restore.measurement.known restore.measurement.fraction restore.measurement.mask "
            "restore.measurement.factor restore.measurement.blur sampling.grid.name sampling.pc.num_steps "
            "sampling.exponential.num_steps"
        ),
        example=TRAINED + "restore --config.restore.measurement.name=box",
    ),
    "dequantize": ModeHelp(
        "train the noise within a grey level, for tighter likelihoods",
        fields=fields(
            f"{WHICH} dequantizer.width dequantizer.depth dequantizer.n_iters dequantizer.batch_size "
            "dequantizer.lr dequantizer.checkpoint_freq dequantizer.num_images dequantizer.repeats"
        ),
        example=TRAINED + "dequantize",
    ),
    "likelihood": ModeHelp(
        "measure bits/dim, of the ODE and as the bound of the SDE",
        fields=fields(
            f"seed {WHICH} likelihood.split likelihood.num_images likelihood.batch_size likelihood.eps "
            "likelihood.repeats likelihood.conditional likelihood.ode likelihood.solver likelihood.rtol "
            "likelihood.atol likelihood.step_size likelihood.probe likelihood.num_probes "
            "likelihood.bound_draws likelihood.dequantization likelihood.decoder likelihood.anomalies "
            "likelihood.save_latents"
        ),
        example=TRAINED + "likelihood",
    ),
    "classify": ModeHelp(
        "label images by their likelihoods given each class",
        fields=fields(
            f"{WHICH} classifier.workdirs classifier.num_classes likelihood.split likelihood.num_images "
            "likelihood.batch_size likelihood.eps likelihood.rtol likelihood.atol likelihood.probe "
            "likelihood.num_probes likelihood.bound_draws"
        ),
        example="--workdir runs/subvp_digits-conditional --mode classify",
    ),
    "evaluate": ModeHelp(
        "hold samples beside real images: Frechet distance (FID), KID, precision, recall",
        flags=("sampler",),
        fields=fields(
            f"seed {WHICH} evaluation.images evaluation.reference evaluation.num_reference "
            "evaluation.features evaluation.per_class evaluation.neighbours sampling.num_images "
            "sampling.batch_size sampling.labels sampling.guidance.weight sampling.pc.num_steps "
            "sampling.exponential.num_steps sampling.grid.name sampling.ode.steps sampling.ode.num_steps "
            "sampling.ode.rtol sampling.ode.atol"
        ),
        example=TRAINED + "evaluate --sampler ode",
    ),
    "tradeoff": ModeHelp(
        "quality against evaluations of the network, for several samplers",
        fields=fields(
            f"seed {WHICH} tradeoff.samplers tradeoff.grid tradeoff.evaluations tradeoff.tolerances "
            "tradeoff.bits_per_dim sampling.num_images sampling.batch_size sampling.labels "
            "sampling.guidance.weight evaluation.reference evaluation.num_reference evaluation.features"
        ),
        example=TRAINED + "tradeoff --config.sampling.num_images=1000",
    ),
    "import": ModeHelp(
        "make a checkpoint of published weights: PyTorch, JAX, safetensors, .npz",
        flags=("source",),
        example="--config configs/ve_cifar.py --mode import --source checkpoint_24.pth",
    ),
    "export": ModeHelp(
        "write a checkpoint as the published PyTorch code does, its weights as safetensors, or low-rank updates as one small file",
        fields=fields(WHICH),
        example="--config configs/ve_cifar.py --mode export",
    ),
    "merge": ModeHelp(
        "make a folder with the mean of others' weights, and low-rank updates in it",
        fields=fields(f"{WHICH} merge.folders merge.weights"),
        example="--config configs/ve_cifar.py --mode merge --config.merge.folders=runs/a,runs/b",
    ),
    "list": ModeHelp(
        "list the folders in runs/, newest first, with loss, bits/dim and quality",
        example="--mode list",
    ),
    "report": ModeHelp(
        "make one page of HTML about a folder",
        example=TRAINED + "report",
    ),
}
