"""Rows of fields (field_rows.py) for the use of a trained network, and for the seed."""

from tests.configs.built_measurements import (
    classification,
    comparison,
    density,
    dequantizer_run,
    evaluation,
    extractor,
    figures_of_classes,
    first_flow,
    flow_run,
    flow_step,
    interpolation,
    likelihood_batches,
    likelihood_run,
    per_image,
    tradeoff_rows,
)
from tests.configs.built_restoration import (
    condition_image,
    condition_images,
    draws,
    measurement,
    observed,
    restoring,
    smaller_network,
)
from tests.configs.built_sampling import (
    cheapest_grid,
    denoising_errors,
    folders_of_guides,
    generator,
    guidance_by_classifier,
    paths_from_noise,
    sampler_of_few_steps,
    sampling,
    sampling_run,
    start_images,
    texts_of_samples,
    worse_step,
)
from tests.configs.built_training import (
    first_parameters,
    held_out_noise,
    held_out_times,
    training_pictures,
    training_quality,
    training_run,
    training_step,
)
from tests.configs.field_rows import (
    CHAIN,
    CLASSES,
    FLOW,
    PC,
    PICTURES,
    PLAIN,
    SMALL,
    TOLD,
    TOY,
    of,
    path,
    rows,
    sampler,
    seeds,
)

LANGEVIN = of(PC, sampling__pc__corrector="langevin")
ODE = sampler("ode")
ODE_GRID = sampler("ode", sampling__ode__steps="grid")
DDIM = sampler("ddim")
EDM = sampler("edm", sampling__edm__s_churn=5.0)
PATHS = of(SMALL, sampling__path_images=2)
GUIDED = sampler("pc", TOLD, sampling__guidance__weight=0.5)
PLUS_PLUS = sampler("ddim", TOLD, sampling__guidance__plus_plus=0.5)
WORDS = {"model.words": "one two three red green blue square disc squares discs"}
THRESHOLD = of(PC, sampling__threshold="dynamic")
BOUND = of(SMALL, likelihood__ode=False)
DENSITY = of(PLAIN, likelihood__bound_draws=0)
HUTCH = of(DENSITY, likelihood__probe="hutchpp", likelihood__sketch_size=2)

SAMPLING_ROWS = [
    *rows(sampling, "sampling", PC, sampler="ode", eps=0.01, noise_removal=False),
    *rows(sampling, "sampling", PC, noise_removal_by="predictor_mean"),
    *rows(sampling, "sampling", of(PC, data__uniform_dequantization=False), truncate=True),
    *rows(sampling, "sampling", PC, one_by_one=True, threshold="static"),
    *rows(sampling, "sampling", LANGEVIN, snr=0.1, n_steps_each=2),
    *rows(sampling, "sampling", THRESHOLD, threshold_quantile=0.9),
    *rows(sampling, "sampling", of(PC, sampling__t_start=0.5), t_start=0.7),
    *rows(sampling, "sampling.grid", PC, name="log_snr"),
    *rows(sampling, "sampling.grid", of(PC, sampling__grid__name="rho"), rho=3.0),
    *rows(cheapest_grid, "sampling.grid", of(PC, sampling__grid__name="dp"), candidates=10),
    *rows(
        sampling,
        "sampling.grid",
        of(
            PC,
            sampling__pc__num_steps=2,
            sampling__grid__name="times",
            sampling__grid__times=(1.0, 0.5, 1e-3),
        ),
        times=(1.0, 0.4, 1e-3),
    ),
    *rows(sampling, "sampling.guidance", GUIDED, weight=1.0, rescale=0.7, eta=0.0, norm=1.0),
    *rows(sampling, "sampling.guidance", GUIDED, log_snr_low=-1.0, log_snr_high=1.0),
    *rows(sampling, "sampling.guidance", PLUS_PLUS, plus_plus=0.3),
    *rows(folders_of_guides, "sampling.guidance", SMALL, worse="elsewhere", classifier="elsewhere"),
    *rows(guidance_by_classifier, "sampling.guidance", PLAIN, classifier_scale=3.0),
    *rows(
        worse_step, "sampling.guidance", of(SMALL, sampling__guidance__worse_step=3), worse_step=5
    ),
    *rows(
        sampling,
        "sampling.pc",
        PC,
        predictor="ancestral_sampling",
        corrector="langevin",
        num_steps=5,
    ),
    *rows(sampling, "sampling.ode", ODE, steps="grid", rtol=0.1, atol=0.1),
    *rows(sampling, "sampling.ode", ODE, step_size="image", solver="heun", variable="ratio"),
    *rows(sampling, "sampling.ode", ODE_GRID, num_steps=5),
    *rows(sampling, "sampling.sde", sampler("sde"), steps="adaptive", solver="heun", h=0.5),
    *rows(sampling, "sampling.sde", sampler("sde"), num_steps=5),
    *rows(sampler_of_few_steps, "sampling.few_steps", sampler("consistency"), num_steps=2),
    *rows(
        sampling,
        "sampling.sde",
        sampler("sde", sampling__sde__steps="adaptive"),
        rtol=0.1,
        atol=0.1,
        step_size="image",
    ),
    *rows(sampling, "sampling.exponential", DDIM, eta=0.5, num_steps=5),
    *rows(sampling, "sampling.exponential", sampler("dpm_solver_2"), steps="adaptive"),
    *rows(
        sampling,
        "sampling.exponential",
        sampler("dpm_solver_2", sampling__exponential__steps="adaptive"),
        rtol=0.1,
        atol=0.1,
        step_size="image",
    ),
    *rows(sampling, "sampling.edm", EDM, num_steps=5, s_churn=2.0, s_min=0.1, s_max=10.0),
    *rows(sampling, "sampling.edm", EDM, s_noise=1.01),
    *rows(texts_of_samples, "sampling", WORDS, text="two red squares"),
    *rows(generator, "sampling", CLASSES, batch_size=32, labels=(2, 1)),
    *rows(generator, "", SMALL, data_parallel="shard_map"),
    *rows(
        start_images,
        "sampling",
        of(TOY, sampling__t_start=0.5, sampling__start_images="test"),
        start_images="train",
        num_images=3,
    ),
    *rows(sampling_run, "sampling", SMALL, num_images=12, save="png"),
    *rows(paths_from_noise, "sampling", PATHS, path_images=3),
    *rows(denoising_errors, "sampling.errors", TOY, num_times=3, num_images=9),
    *rows(denoising_errors, "sampling", TOY, eps=0.01, batch_size=32),
]

MEASUREMENT_ROWS = [
    *rows(per_image, "likelihood", SMALL, ode=False, bound_draws=4),
    *rows(per_image, "likelihood", BOUND, eps=1e-3, decoder="gaussian"),
    *rows(
        per_image, "likelihood", of(BOUND, **CHAIN), chain_variances="posterior", chain_levels="50"
    ),
    *rows(per_image, "likelihood", DENSITY, decoder="gaussian"),
    *rows(density, "likelihood", DENSITY, eps=1e-3, solver="heun", rtol=0.1, atol=0.1),
    *rows(density, "likelihood", DENSITY, step_size="image", probe="gaussian"),
    *rows(density, "likelihood", DENSITY, num_probes=2, products_at_once=2),
    *rows(density, "likelihood", HUTCH, sketch_size=1),
    *rows(likelihood_run, "likelihood", TOY, split="train", save_latents=True),
    *rows(likelihood_run, "likelihood", TOY, anomalies=path("odd.npz")),
    *rows(
        likelihood_run,
        "likelihood",
        of(TOY, data__num_levels=0),
        dequantization="variational",
    ),
    *rows(
        likelihood_run,
        "likelihood",
        of(TOLD, **PICTURES, data__image_size=2),
        conditional=False,
    ),
    *rows(likelihood_batches, "likelihood", TOY, num_images=8, batch_size=4, repeats=2),
    *rows(likelihood_batches, "", TOY, data_parallel="shard_map"),
    *rows(flow_step, "dequantizer", FLOW, width=16, depth=3, lr=0.1, n_iters=10),
    *rows(flow_step, "dequantizer", FLOW, batch_size=32),
    *rows(flow_run, "dequantizer", FLOW, n_iters=10, batch_size=32, checkpoint_freq=7),
    *rows(flow_step, "likelihood", FLOW, eps=1e-3),
    *rows(flow_run, "", FLOW, data_parallel="shard_map"),
    *rows(comparison, "dequantizer", SMALL, num_images=8, repeats=2, batch_size=4),
    *rows(dequantizer_run, "likelihood", TOY, split="train"),
    *rows(interpolation, "interpolation", TOY, split="train", images=(1, 0), frames=5),
    *rows(classification, "classifier", SMALL, num_classes=3, workdirs="m{label}"),
    *rows(classification, "likelihood", SMALL, split="train"),
    *rows(
        evaluation,
        "evaluation",
        of(TOY, evaluation__images="test"),
        images=path("odd.npz"),
        reference=path("odd.npz"),
        num_reference=7,
        neighbours=3,
    ),
    *rows(
        tradeoff_rows,
        "tradeoff",
        of(TOY, tradeoff__samplers="ddim, dopri5 adaptive"),
        samplers="heun",
        grid="rho",
        evaluations=(7,),
        tolerances=(0.5,),
        bits_per_dim=False,
    ),
    *rows(extractor, "evaluation", SMALL, features="weights.pth"),
    *rows(figures_of_classes, "evaluation", of(TOY, evaluation__images="test"), per_class=True),
]

EXACT = of(TOY, restore__measurement__sigma_y=0.0)
COLOURS = {"data.image_size": 4, "data.num_channels": 3}
TELLING = of(COLOURS, model__condition_image="measured")


def measuring(name, /, **fields):
    """Of images that are restored, and of those that a network is told."""
    told = of(COLOURS, model__condition_image="measured", condition__name=name)
    return [
        *rows(
            measurement,
            "restore.measurement",
            of(COLOURS, restore__measurement__name=name),
            **fields,
        ),
        *rows(condition_image, "condition", told, **fields),
    ]


def by(method, context=EXACT, /, **fields):
    return rows(restoring, "restore", of(context, restore__method=method), **fields)


RESTORING_ROWS = [
    *measuring("box", name="grey", sigma_y=0.2, box=(1, 3)),
    *measuring("half", known="top"),
    *measuring("random", fraction=0.6),
    *measuring("frequencies", fraction=0.6, lowest=0.0),
    *rows(
        measurement,
        "restore.measurement",
        of(COLOURS, restore__measurement__name="mask", restore__measurement__mask=path("mask.png")),
        mask=path("other_mask.png"),
    ),
    *measuring("box_mean", factor=4),
    *measuring("gaussian_blur", blur=0.5),
    *rows(
        measurement,
        "restore.measurement",
        of(
            COLOURS,
            restore__measurement__name="motion_blur",
            restore__measurement__length=1.5,
        ),
        length=2.0,
        angle=90.0,
    ),
    *rows(
        condition_image,
        "condition",
        of(TELLING, condition__name="mask", condition__mask=path("mask.png")),
        mask=path("other_mask.png"),
    ),
    *rows(
        condition_image,
        "condition",
        of(TELLING, condition__name="motion_blur", condition__length=1.5),
        length=2.0,
        angle=90.0,
    ),
    *rows(condition_image, "condition", of(TELLING, model__condition_noise=0.5), noise=0.2),
    *rows(
        condition_images, "condition", of(TOY, model__condition_image="measured"), images="train"
    ),
    *rows(smaller_network, "condition", of(TELLING, condition__cascade="here"), cascade="there"),
    *rows(observed, "restore", TOY, images="train", measured=path("y.npz"), num_images=3),
    *rows(draws, "restore", TOY, draws=3),
    *by("mmps", TOY, method="tmpd", iterations=2),
    *by("dps", TOY, scale=0.5),
    *by("diffpir", TOY, weight=0.5),
    *by("mcg", scale=0.5),
    *by("repaint", repeats=3),
    *by("ddrm", eta=0.5, eta_b=0.5),
    *by("daps", ode_steps=3),
    *by("pnpdm", prior_steps=3, coupling=0.3),
    *by("tds", TOY, particles=3),
]

SEED_ROWS = seeds(
    (first_parameters, SMALL),
    (training_step, SMALL),
    (training_run, TOY),
    (held_out_times, TOY),
    (held_out_noise, TOY),
    (training_pictures, SMALL),
    (training_quality, of(TOY, training__quality_freq=5)),
    (sampling_run, SMALL),
    (paths_from_noise, PATHS),
    (likelihood_run, TOY),
    (observed, TOY),
    (first_flow, FLOW),
    (flow_step, FLOW),
    (flow_run, FLOW),
    (dequantizer_run, TOY),
    (classification, SMALL),
    (evaluation, of(TOY, evaluation__images="test")),
)
