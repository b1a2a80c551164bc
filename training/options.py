"""config.training, config.optim, and the averaged weights of config.model."""

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
    """Fields of config.training: how long, on what loss, what is logged and kept."""

    task: str = option(
        "score",
        "what is trained: score, the network of config.model | classifier, of noisy images (config.noisy_classifier), by which "
        "samples can be guided | consistency (config.consistency) and mean_flow (config.mean_flow), the network of config.model for "
        "samples in one or few steps",
        one_of("score", "classifier", "consistency", "mean_flow"),
    )
    batch_size: int = option(
        128, "images a step over all devices and hosts; divisible by their number", BATCH
    )
    n_iters: int = option(1_300_001, "steps in all", count(INT32))
    continuous: bool = option(True, "False: the discrete loss of DDPM (VP) or SMLD (VE)")
    weighting: str = option(
        "noise",
        "the objective, a mean over uniform times of a weighted error, see training/weightings.py: noise (sigma^2) | "
        "likelihood (g^2) | x0 | velocity | min_snr | p2 | edm | flow | flow_logit_normal; of task=consistency: uniform | log_normal",
    )
    min_snr: float = option(5.0, "weighting=min_snr: gamma", positive)
    p2_k: float = option(1.0, "weighting=p2: k", positive)
    p2_gamma: float = option(1.0, "weighting=p2: gamma", positive)
    times: str = option(
        "uniform",
        "the density of times, which moves the gradient's variance only: uniform | log_snr, proportional to g^2/sigma^2, for "
        "weighting=likelihood | log_normal, EDM's | logit_normal, for weighting=flow_logit_normal",
    )
    log_normal_mean: float = option(
        -1.2,
        "times=log_normal, weighting=edm: mean of ln(sigma/alpha)",
        finite("a number", lambda x: True),
    )
    log_normal_std: float = option(1.2, "its standard deviation", positive)
    logit_normal_mean: float = option(
        0.0,
        "times=logit_normal, weighting=flow_logit_normal: mean of ln(t / (T - t))",
        finite("a number", lambda x: True),
    )
    logit_normal_std: float = option(1.0, "its standard deviation", positive)
    draws: str = option(
        "independent",
        "the times of a batch: independent | stratified, one in each of so many cells | low_discrepancy, equally spaced",
    )
    time_cells: int = option(
        0,
        "equal cells of the training times, or of a chain's levels, of which each is drawn as often as its recent losses were large "
        "and its losses divided by that (Improved DDPM, with model.num_scales cells for its levels); 0: as `times` says",
        count(10_000, 0),
    )
    reduce_mean: bool = option(True, "mean over pixels; False: half the sum")
    learned_uncertainty: bool = option(
        False,
        "divide each error by what the network expects of it at its noise level, and add the logarithm of that (edm2)",
    )
    label_dropout: float = option(
        0.0,
        "rate at which an image is told no class, as guidance and sampling without class need",
        fraction,
    )
    augment: float = option(
        0.0,
        "edm_unet, edm_adm: rate of each of EDM's geometric changes of training images, of which the network is told; half of the "
        "images are mirrored beside (data.random_flip is False). 0.12 for CIFAR-10 and 0.15 for FFHQ as published; 0: none",
        fraction,
    )
    eps: float = option(1e-5, "smallest time trained on")
    accumulation: int = option(
        1,
        "parts in which each device goes through its share of a batch, one after the other: less memory, the same update",
        positive,
    )
    steps_per_call: int = option(
        1, "updates in one compiled call; more than 1 only helps accelerators", count(10_000)
    )
    init_from: str = option(
        "",
        "begin with the averaged weights of this folder or published checkpoint file, with a fresh optimizer, where there is no "
        "checkpoint to resume from",
    )
    trainable: str = option(
        "", "a regular expression to find in the names of the parameters that train; empty: all do"
    )
    skip_nonfinite: int = option(
        0,
        "updates in a row whose loss or gradient is not finite that leave everything as it was; one more, and for 0 the first, "
        "ends the run",
        not_negative,
    )
    replay_step: int = option(
        0,
        "--mode replay: the update to look into, the first is 1; 0: the one after the newest checkpoint",
        not_negative,
    )
    log_freq: int = option(50, "steps between two lines of the log", count(INT32))
    eval_freq: int = option(1000, "steps between two held-out losses; 0: none", not_negative)
    checkpoint_freq: int = option(
        10_000, "steps between two checkpoints; 0: only the last", not_negative
    )
    keep_checkpoints: int = option(3, "latest ones that stay; 0: all", not_negative)
    keep_every: int = option(
        0, "checkpoints of multiples of so many steps stay for ever; 0: none", not_negative
    )
    keep_best: int = option(
        0,
        "checkpoints of the least held-out loss, or other figure of keep_best_by, that stay; 0: none. Each checkpoint needs its "
        "own: checkpoint_freq is a multiple of eval_freq, or quality_freq",
        not_negative,
    )
    keep_best_by: str = option(
        "eval_loss",
        "by which figure one checkpoint is better than another, less being better, also for checkpoint_step=-1: eval_loss, held "
        "out | frechet | frechet_limit, of infinitely many samples (quality_freq)",
        one_of("eval_loss", "frechet", "frechet_limit"),
    )
    quality_freq: int = option(
        0,
        "steps between two looks at how good samples are: their Frechet distance to evaluation.reference, by "
        "evaluation.features; 0: none",
        not_negative,
    )
    quality_images: int = option(
        1000,
        "samples drawn for that, from the same noise each time; more than twice as many as features have dimensions also give "
        "the distance of infinitely many",
        count(10**6, 20),
    )
    quality_steps: int = option(
        0,
        "draw them by so many steps of UniPC; 0: by config.sampling.sampler, however many it takes",
        not_negative,
    )
    snapshot_freq: int = option(
        50_000, "steps between two pictures of samples; 0: none", not_negative
    )
    snapshot_size: int = option(64, "images in that picture", count(10_000))
    snapshot_steps: int = option(
        0,
        "draw it by so many steps of UniPC; 0: by config.sampling.sampler, however many it takes",
        not_negative,
    )
    wandb: str = option(
        "none",
        "none | online | offline: what is recorded goes to Weights & Biases too (pip install wandb); WANDB_PROJECT names the project",
        one_of("none", "online", "offline"),
    )


@dataclasses.dataclass(frozen=True)
class PowerAverageOptions(Section):
    """Averages for ema_sigma_rel (training/power_average.py). Each is a copy of the weights in memory."""

    sigma_rel: tuple[float, ...] = option(
        (),
        "widths, relative to the training so far, of the power-function averages that are kept beside that of model.ema_rate: "
        "0.05,0.1 as in EDM2; empty: none",
        WIDTHS,
    )
    save_freq: int = option(
        5000,
        "steps between two that stay, in averages/; 0: those of checkpoints only",
        not_negative,
    )


@dataclasses.dataclass(frozen=True)
class LowRankOptions(Section):
    """Low-rank updates in the place of the weights, which stay as training.init_from gives them (models/low_rank.py)."""

    rank: int = option(
        0,
        "r: train A and B of W + (alpha/r) A B in the place of each kernel W, frozen ones of training.init_from; 0: train the weights",
        count(4096, 0),
    )
    alpha: float = option(
        8.0,
        "how far they move W, so that another rank needs no other learning rate",
        positive,
    )
    targets: str = option(
        "(kernel|weight|W)$",
        "a regular expression to find in the names of the kernels that have an update: qkv|proj for attention, say",
    )


@dataclasses.dataclass(frozen=True)
class OptimizerOptions(Section):
    """Fields of config.optim: Adam, its schedule and the clip."""

    lr: float = option(2e-4, "learning rate", positive)
    beta1: float = option(0.9, "Adam's decay of the gradient's mean", probability)
    beta2: float = option(0.999, "Adam's decay of its mean square", probability)
    eps: float = option(1e-8, "Adam's addition to the root of that", positive)
    weight_decay: float = option(0.0, "decoupled", not_negative)
    warmup: int = option(
        5000,
        "steps of linear warm-up; the first update has rate 0 when there are any",
        not_negative,
    )
    decay: str = option(
        "none",
        "none | cosine: to 0 at the last step | inverse_sqrt: as 1/sqrt(step) after decay_after",
        one_of("none", "cosine", "inverse_sqrt"),
    )
    decay_after: int = option(
        70_000, "decay=inverse_sqrt: updates at the full rate before it falls", count(INT32)
    )
    grad_clip: float = option(
        1.0,
        "largest global norm of the gradient; negative: no clipping",
        finite("a positive number, or -1 for no clipping: 0 makes every gradient 0", bool, 0),
    )


@dataclasses.dataclass(frozen=True)
class AveragingOptions(Section):
    """Fields of config.model for the averaged weights."""

    ema_rate: float = option(
        0.9999,
        "decay per step of the averaged weights that sampling and evaluation use",
        probability,
    )
    ema_warmup: bool = option(
        True, "decay min(ema_rate, (1 + n)/(10 + n)): short runs forget their first weights"
    )


@dataclasses.dataclass(frozen=True)
class ConsistencyOptions(Section):
    """Fields of config.consistency: training.task=consistency (training/consistency.py)."""

    teacher: str = option(
        "",
        "distil the score network in this folder; empty: from data alone (consistency training)",
    )
    metric: str = option(
        "pseudo_huber",
        "how far the images of neighbouring times are from each other: pseudo_huber, sqrt(R[d^2] + huber^2) - huber | squared, R[d^2]",
        one_of("pseudo_huber", "squared"),
    )
    huber: float = option(
        0.00054, "metric=pseudo_huber: its c over the root of the dimension", positive
    )
    first_intervals: int = option(10, "intervals into which time is cut at first ...", count(10**6))
    last_intervals: int = option(
        1280, "... doubled again and again up to so many; at least first_intervals", count(10**6)
    )


@dataclasses.dataclass(frozen=True)
class MeanFlowOptions(Section):
    """Fields of config.mean_flow: training.task=mean_flow (training/mean_flow.py)."""

    ratio: float = option(
        0.25,
        "share of the images with r < t; for the others r = t, which is flow matching",
        fraction,
    )
    power: float = option(
        1.0,
        "p of the weight (e + 1e-3)^-p of an image's squared error e; 0: none, the plain squared error",
        not_negative,
    )
