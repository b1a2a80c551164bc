"""The options of config.sampling and its sections."""

from __future__ import annotations

import dataclasses
import math

from score_sde.options import (
    BATCH,
    INT32,
    STEPS,
    Section,
    count,
    finite,
    fraction,
    not_negative,
    not_negative_or_inf,
    one_of,
    option,
    positive,
)


@dataclasses.dataclass(frozen=True)
class SamplingOptions(Section):
    """Fields of config.sampling that all samplers share."""

    sampler: str = option("pc", "a name of samplers/names.py; --sampler sets it")
    num_images: int = option(64, "images to draw", count(INT32))
    batch_size: int = option(
        64, "images per batch over all devices; divisible by their number", BATCH
    )
    eps: float = option(1e-3, "time at which sampling stops")
    t_start: float = option(
        0.0,
        "start at this time from sampling.start_images, in place of T and the prior (SDEdit); 0: at T",
    )
    start_images: str = option(
        "",
        "test | train: images of the dataset | an .npz file with `images`, or with `states`, which are x at t_start | a folder of pictures",
    )
    labels: tuple[int, ...] = option(
        (),
        "classes of the samples, used in turn and repeated; (): all classes in turn, or those of the images of start_images=test or train",
    )
    text: str = option(
        "",
        'texts of the samples (model.words), separated by commas, used in turn and repeated, such as "two red squares,one blue disc"; empty: '
        "those of data.name=captions in turn",
    )
    save: str = option(
        "npz", "npz, one file of arrays | png, a folder of pictures, which other programs read"
    )
    path_images: int = option(
        0,
        "samples whose trajectory from noise is kept, as arrays and as a picture",
        count(10_000, 0),
    )
    noise_removal: bool = option(True, "remove the noise that is left at eps ...")
    noise_removal_by: str = option(
        "tweedie",
        "... by tweedie, which returns E[x_0 | x_eps] | predictor_mean, the mean of pc's last step (pc_published: always so)",
    )
    truncate: bool = option(
        False,
        "round levels down, as the published code does, instead of to the nearest; for networks trained without dequantization noise",
    )
    snr: float = option(
        0.16, "Langevin corrector: target ratio of its drift to its noise", positive
    )
    n_steps_each: int = option(1, "corrector steps per predictor step", count(10_000))
    one_by_one: bool = option(
        False,
        "evaluate the network on one image at a time: a score then has the same bits in any batch, at the cost of speed",
    )
    threshold: str = option(
        "none",
        "keep the denoised image E[x_0 | x_t] in the data's range at every step: none | static, clip | dynamic, shrink to a quantile",
        one_of("none", "static", "dynamic"),
    )
    threshold_quantile: float = option(
        0.995,
        "threshold=dynamic: that quantile",
        finite("a number in (0, 1]", lambda x: 0 < x <= 1, 0, 1.1),
    )


@dataclasses.dataclass(frozen=True)
class GridOptions(Section):
    """Fields of config.sampling.grid, the times of samplers with fixed steps."""

    name: str = option(
        "auto",
        "time grid: auto (log_snr for exponential integrators, and where alpha(T) is close to 0, except for ode under linear; rho "
        "for consistency and otherwise for edm; else uniform) | uniform | quadratic | log_snr | rho | times | "
        "dp, the cheapest for the likelihood (dynamic programming)",
    )
    rho: float = option(7.0, "name=rho: equal steps of (sigma/alpha)^(1/rho)", positive)
    times: tuple[float, ...] = option(
        (), "name=times: the times, falling from T (or t_start) to eps"
    )
    candidates: int = option(
        100, "name=dp: times of equal log-SNR to choose among", count(4_000, 2)
    )


@dataclasses.dataclass(frozen=True)
class ErrorOptions(Section):
    """Fields of config.sampling.errors: how the network's denoising errors are estimated, from training images once per checkpoint.

    Read for grid.name=dp and pc.predictor=ancestral_sampling_optimal.
    """

    num_times: int = option(
        50,
        "optimal variances: times at which the network's error is measured, including both ends",
        count(10_000, 2),
    )
    num_images: int = option(
        512, "optimal variances: training images at each time", count(10**6, 2)
    )


@dataclasses.dataclass(frozen=True)
class PCOptions(Section):
    """Fields of config.sampling.pc, the predictor-corrector."""

    predictor: str = option(
        "euler_maruyama",
        "euler_maruyama | reverse_diffusion | ancestral_sampling | ancestral_sampling_posterior | ancestral_sampling_learned | "
        "ancestral_sampling_optimal | probability_flow | none; none with corrector ald: annealed Langevin dynamics",
    )
    corrector: str = option("none", "langevin | ald | none")
    num_steps: int = option(1000, "predictor steps from T to eps", STEPS)


@dataclasses.dataclass(frozen=True)
class StepOptions(Section):
    """Options of solvers that take either the steps of a grid or adaptive steps."""

    steps: str = option("grid", "grid, num_steps of sampling.grid | adaptive, by rtol and atol")
    num_steps: int = option(20, "steps=grid: number of steps", STEPS)
    rtol: float = option(0.05, "relative tolerance of adaptive steps", positive)
    atol: float = option(2.0 / 256.0, "absolute tolerance: one of 256 levels of [-1, 1]", positive)
    step_size: str = option(
        "batch",
        "adaptive steps: batch, one step size for all images of a device | image, one for each image",
    )


@dataclasses.dataclass(frozen=True)
class ODEOptions(StepOptions):
    """Fields of config.sampling.ode, the probability-flow ODE."""

    solver: str = option(
        "dopri5",
        "heun | midpoint | ralston | bosh3 | dopri5 | tsit5 | dopri8, and on a grid euler | leapfrog_midpoint | "
        "reversible_heun, all of diffrax",
    )
    steps: str = option("adaptive", "adaptive, by rtol and atol | grid, num_steps of sampling.grid")
    variable: str = option(
        "t",
        "time variable of the solver: t | ratio, sigma/alpha | log_ratio, its logarithm; the last two are not stiff",
    )
    rtol: float = option(1e-5, "relative tolerance of adaptive steps", positive)
    atol: float = option(1e-5, "absolute tolerance of adaptive steps", positive)


@dataclasses.dataclass(frozen=True)
class SDEOptions(StepOptions):
    """Fields of config.sampling.sde, the reverse SDE by diffrax (--sampler sde)."""

    solver: str = option("shark", "euler | sea (grid only) | heun | sra1 | shark")
    h: float = option(1.0, "amount of noise: 1 for the reverse SDE, 0 for the ODE", not_negative)
    num_steps: int = option(100, "steps=grid: number of steps", STEPS)


@dataclasses.dataclass(frozen=True)
class ExponentialOptions(StepOptions):
    """Fields of config.sampling.exponential, for the exponential integrators (--sampler ddim and the names after it)."""

    eta: float = option(
        0.0, "amount of noise, 0 to 1, of ddim and dpm_solver_pp_2m; 0: the ODE", fraction
    )
    steps: str = option("grid", "grid | adaptive (dpm_solver_2, dpm_solver_3)")


@dataclasses.dataclass(frozen=True)
class EDMOptions(Section):
    """Fields of config.sampling.edm, EDM's Heun sampler (--sampler edm); its sigmas are values of sigma/alpha."""

    num_steps: int = option(
        17,
        "steps of two evaluations each, and one for the last denoising: 35 evaluations in all",
        STEPS,
    )
    s_churn: float = option(0.0, "noise added over the whole run; 0: the ODE", not_negative)
    s_min: float = option(0.0, "add noise from this sigma ...", not_negative)
    s_max: float = option(math.inf, "... to this one", not_negative_or_inf)
    s_noise: float = option(1.0, "standard deviation of the added noise", positive)


@dataclasses.dataclass(frozen=True)
class FewStepOptions(Section):
    """Fields of config.sampling.few_steps, for networks trained for few steps (--sampler consistency and mean_flow)."""

    num_steps: int = option(1, "network evaluations in all", STEPS)
