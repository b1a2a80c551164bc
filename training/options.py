"""The options of config.training, config.optim, config.consistency and config.mean_flow, and the EMA options of config.model."""

from __future__ import annotations

import dataclasses

from score_sde.options import (
    BATCH,
    INT32,
    Section,
    count,
    finite,
    fraction,
    not_negative,
    one_of,
    option,
    positive,
    probability,
)
from score_sde.training.power_average import WIDTHS


@dataclasses.dataclass(frozen=True)
class TrainingOptions(Section):
    """Fields of config.training: the loss, the length of training, and what is logged and saved."""

    task: str = option(
        "score",
        "what is trained: score, the network of config.model | classifier, of noisy images (config.noisy_classifier), for guidance | "
        "consistency (config.consistency) and mean_flow (config.mean_flow), the network of config.model for samples in one or few steps",
        one_of("score", "classifier", "consistency", "mean_flow"),
    )
    batch_size: int = option(
        128, "images per step over all devices and hosts; divisible by their number", BATCH
    )
    n_iters: int = option(1_300_001, "training steps in all", count(INT32))
    continuous: bool = option(True, "False: the discrete loss of DDPM (VP) or SMLD (VE)")
    weighting: str = option(
        "noise",
        "the objective, a mean over uniform times of a weighted error, see training/weightings.py: noise (sigma^2) | "
        "likelihood (g^2) | x0 | velocity | min_snr | p2 | edm | flow | flow_logit_normal; of task=consistency and classifier: uniform "
        "| log_normal",
    )
    min_snr: float = option(5.0, "weighting=min_snr: gamma", positive)
    p2_k: float = option(1.0, "weighting=p2: k", positive)
    p2_gamma: float = option(1.0, "weighting=p2: gamma", positive)
    times: str = option(
        "uniform",
        "importance-sampling density of the times; the loss is reweighted for it, so that only the gradient's variance changes: uniform "
        "| log_snr, proportional to g^2/sigma^2, for weighting=likelihood | log_normal, EDM's, for weighting=edm | logit_normal, for "
        "weighting=flow_logit_normal; the last two draw nothing beyond 5.3 standard deviations. With learned_uncertainty this density is "
        "itself the weight of each noise level",
    )
    log_normal_mean: float = option(
        -1.2,
        "times=log_normal, weighting=edm: mean of ln(sigma/alpha)",
        finite("a number", lambda x: True),
    )
    log_normal_std: float = option(1.2, "... and its standard deviation", positive)
    logit_normal_mean: float = option(
        0.0,
        "times=logit_normal, weighting=flow_logit_normal: mean of ln(t / (T - t))",
        finite("a number", lambda x: True),
    )
    logit_normal_std: float = option(1.0, "... and its standard deviation", positive)
    draws: str = option(
        "independent",
        "how a batch's times are drawn: independent | stratified, one in each of batch_size equal cells | low_discrepancy, equally spaced",
    )
    time_cells: int = option(
        0,
        "importance sampling of times by loss history (Improved DDPM): number of cells; each is sampled in proportion to the RMS of its "
        "recent losses, with the loss reweighted accordingly; model.num_scales: one cell per level; 0: use `times`",
        count(10_000, 0),
    )
    reduce_mean: bool = option(True, "mean over pixels; False: half the sum")
    learned_uncertainty: bool = option(
        False,
        "edm2: divide each error by the variance that the network predicts for its noise level, and add that variance's logarithm; noise "
        "levels are then weighted by the density of `times`, not by `weighting`",
    )
    label_dropout: float = option(
        0.0,
        "probability that an image is trained on without its condition, which guidance and unconditional samples need",
        fraction,
    )
    augment: float = option(
        0.0,
        "edm_unet, edm_adm: probability of each of EDM's geometric augmentations of training images, on which the network is conditioned; "
        "half of the images are mirrored too (data.random_flip is False). Published: 0.12 for CIFAR-10, 0.15 for FFHQ; 0: none",
        fraction,
    )
    eps: float = option(1e-5, "smallest training time")
    accumulation: int = option(
        1,
        "gradient accumulation: parts into which each device splits its share of a batch; less memory, the same update",
        positive,
    )
    steps_per_call: int = option(
        1, "updates per compiled call; more than 1 only helps accelerators", count(10_000)
    )
    init_from: str = option(
        "",
        "start from the averaged weights of this folder or published checkpoint file, with a fresh optimizer, unless there is a "
        "checkpoint to resume from",
    )
    trainable: str = option(
        "", "regular expression found anywhere in the names of the parameters to train; empty: all"
    )
    skip_nonfinite: int = option(
        0,
        "consecutive updates with a non-finite loss or gradient to skip; one more ends the run (0: the first one does)",
        not_negative,
    )
    replay_step: int = option(
        0,
        "--mode replay: the update to repeat, the first being 1; 0: the one after the newest checkpoint",
        not_negative,
    )
    log_freq: int = option(50, "steps between lines of the log", count(INT32))
    eval_freq: int = option(1000, "steps between held-out losses; 0: none", not_negative)
    checkpoint_freq: int = option(
        10_000, "steps between checkpoints; 0: only the last", not_negative
    )
    keep_checkpoints: int = option(3, "newest checkpoints to keep; 0: all", not_negative)
    keep_every: int = option(
        0, "keep checkpoints at multiples of this many steps too; 0: none", not_negative
    )
    keep_best: int = option(
        0,
        "keep this many of the best checkpoints too, by keep_best_by; 0: none. Each checkpoint needs its own figure: checkpoint_freq is a "
        "multiple of eval_freq, or quality_freq",
        not_negative,
    )
    keep_best_by: str = option(
        "eval_loss",
        "figure that ranks checkpoints, lower being better, also for checkpoint_step=-1: eval_loss, held out | frechet | frechet_limit, of "
        "infinitely many samples (quality_freq)",
        one_of("eval_loss", "frechet", "frechet_limit"),
    )
    quality_freq: int = option(
        0,
        "steps between measurements of sample quality, the Frechet distance to evaluation.reference by evaluation.features; 0: none",
        not_negative,
    )
    quality_images: int = option(
        1000,
        "samples drawn for it, from the same noise each time; more than four times the features' dimension, and as many real images, "
        "also give the distance extrapolated to infinitely many",
        count(10**6, 20),
    )
    quality_steps: int = option(
        0,
        "UniPC steps used to sample them; 0: config.sampling.sampler, as configured",
        not_negative,
    )
    snapshot_freq: int = option(50_000, "steps between pictures of samples; 0: none", not_negative)
    snapshot_size: int = option(64, "images per picture", count(10_000))
    snapshot_steps: int = option(
        0,
        "UniPC steps used to sample them; 0: config.sampling.sampler, as configured",
        not_negative,
    )
    wandb: str = option(
        "none",
        "log to Weights & Biases too (pip install wandb): none | online | offline; WANDB_PROJECT names the project",
        one_of("none", "online", "offline"),
    )


@dataclasses.dataclass(frozen=True)
class PowerAverageOptions(Section):
    """Power-function averages of the weights, for ema_sigma_rel (training/power_average.py). Each is a copy of the weights in memory."""

    sigma_rel: tuple[float, ...] = option(
        (),
        "relative widths of power-function averages to keep in addition to that of model.ema_rate, 0.05,0.1 in EDM2; empty: none",
        WIDTHS,
    )
    save_freq: int = option(
        5000,
        "steps between averages that are stored for good, in averages/; 0: those of checkpoints only",
        not_negative,
    )


@dataclasses.dataclass(frozen=True)
class LowRankOptions(Section):
    """Low-rank updates (LoRA), trained in place of the weights, which stay those of training.init_from (models/low_rank.py)."""

    rank: int = option(
        0,
        "LoRA's r: train A and B of W + (alpha/r) A B in place of each kernel W, which is frozen at training.init_from's; 0: train the "
        "weights",
        count(4096, 0),
    )
    alpha: float = option(
        8.0,
        "scale of the update, divided by the rank, so that another rank does not need another learning rate",
        positive,
    )
    targets: str = option(
        "(kernel|weight|W)$",
        "regular expression found anywhere in the names of the kernels to update, such as qkv|proj for attention",
    )


@dataclasses.dataclass(frozen=True)
class OptimizerOptions(Section):
    """Fields of config.optim: Adam, the learning-rate schedule and gradient clipping."""

    lr: float = option(2e-4, "learning rate", positive)
    beta1: float = option(0.9, "Adam's decay of the first moment", probability)
    beta2: float = option(0.999, "Adam's decay of the second moment", probability)
    eps: float = option(1e-8, "Adam's epsilon, added to the root of the second moment", positive)
    weight_decay: float = option(0.0, "decoupled weight decay (AdamW)", not_negative)
    warmup: int = option(
        5000,
        "steps of linear warm-up; with any, the first update has rate 0",
        not_negative,
    )
    decay: str = option(
        "none",
        "schedule of the rate after warm-up: none | cosine, to 0 at the last step | inverse_sqrt, as 1/sqrt(step) after decay_after",
        one_of("none", "cosine", "inverse_sqrt"),
    )
    decay_after: int = option(
        70_000, "decay=inverse_sqrt: steps at the full rate before it falls", count(INT32)
    )
    grad_clip: float = option(
        1.0,
        "largest global norm of the gradient; negative: no clipping",
        finite("a positive number, or -1 for no clipping: 0 makes every gradient 0", bool, 0),
    )


@dataclasses.dataclass(frozen=True)
class AveragingOptions(Section):
    """Fields of config.model for the averaged weights (EMA)."""

    ema_rate: float = option(
        0.9999,
        "decay per step of the averaged weights (EMA), which sampling and evaluation use",
        probability,
    )
    ema_warmup: bool = option(
        True,
        "decay min(ema_rate, (1 + n)/(10 + n)) at step n: short runs forget their initial weights",
    )


@dataclasses.dataclass(frozen=True)
class ConsistencyOptions(Section):
    """Fields of config.consistency, for training.task=consistency (training/consistency.py)."""

    teacher: str = option(
        "",
        "folder of the score network to distil; empty: from data alone (consistency training)",
    )
    metric: str = option(
        "pseudo_huber",
        "distance of the outputs at neighbouring times: pseudo_huber, sqrt(R[d^2] + huber^2) - huber | squared, R[d^2]",
        one_of("pseudo_huber", "squared"),
    )
    huber: float = option(
        0.00054, "metric=pseudo_huber: its c, divided by the root of the dimension", positive
    )
    first_intervals: int = option(10, "time intervals at the start of training ...", count(10**6))
    last_intervals: int = option(
        1280, "... and at its end, reached by doubling; at least first_intervals", count(10**6)
    )


@dataclasses.dataclass(frozen=True)
class MeanFlowOptions(Section):
    """Fields of config.mean_flow, for training.task=mean_flow (training/mean_flow.py)."""

    ratio: float = option(
        0.25,
        "share of images with r < t; the others have r = t, which is flow matching",
        fraction,
    )
    power: float = option(
        1.0,
        "p of the weight (e + 1e-3)^-p of an image's squared error e; 0: the plain squared error",
        not_negative,
    )
