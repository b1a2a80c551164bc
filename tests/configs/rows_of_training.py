"""Rows of fields (field_rows.py) for data, networks and training."""

from tests.configs.built_sampling import sampling
from tests.configs.built_training import (
    adapted_task,
    classifier_network,
    diffusion,
    exported_average,
    exported_step,
    fitted_image,
    frozen_base,
    held_out_batches,
    kept_checkpoints,
    loaded_images,
    loaded_step,
    marginal,
    merged_folders,
    network,
    prepared_dataset,
    prior,
    quality_beside,
    reconstructed_average,
    replayed_step,
    trained_kind,
    trained_teacher,
    training_pictures,
    training_quality,
    training_run,
    training_step,
    training_step_of_kind,
    used_adapters,
    watchers,
)
from tests.configs.field_rows import CHAIN, PC, PICTURES, PLAIN, SMALL, TOLD, TOY, of, path, rows

NETWORK = {
    "data.image_size": 4,
    "model.nf": 8,
    "model.ch_mult": (1,),
    "model.num_res_blocks": 1,
    "model.attn_resolutions": (),
}
CONTROL = of(
    NETWORK,
    model__name="controlnet",
    model__condition_image="measured",
    model__control_base="runs/base",
)
PAIRED = of(NETWORK, model__condition_image="paired", model__condition_channels=1)
TOKENS = {
    "data.image_size": 4,
    "model.name": "uvit",
    "model.width": 8,
    "model.depth": 1,
    "model.num_heads": 2,
}
RIN = of(
    TOKENS,
    model__name="rin",
    model__num_latents=2,
    model__latent_width=8,
    model__latent_depth=1,
)
ADM = of(
    NETWORK,
    model__name="adm",
    model__nf=32,
    model__num_res_blocks=1,
    model__head_channels=16,
    model__attn_resolutions=(4,),
)
BY_HEADS = of(ADM, model__head_channels=0, model__num_heads=2)
EDM_UNET, EDM_ADM, EDM2 = (
    of(NETWORK, model__name=name) for name in ("edm_unet", "edm_adm", "edm2")
)
UNCERTAIN = of(EDM2, training__weighting="edm", training__times="log_normal", model__predicts="edm")
LEVELS = of(NETWORK, model__ch_mult=(1, 2))
BETWEEN = of(LEVELS, model__resblock_type="ddpm")
FIR = of(LEVELS, model__fir=True)
INPUT_SKIP = of(LEVELS, model__progressive_input="input_skip")
FOURIER = of(NETWORK, model__embedding_type="fourier")
BY_SIGMA = of(NETWORK, model__scale_by_sigma=True)
VE = {"sde.name": "ve"}
SHIFTED = {"sde.name": "shifted_cosine"}
SIGMOID = {"sde.name": "sigmoid"}
DARK = of(
    PICTURES,
    data__folder=path("dark"),
    data__num_levels=16,
    data__stored_levels=16,
    data__resample="box",
)
ARRAYS = {"data.name": "arrays", "data.file": path("dark.npy"), "data.num_channels": 3}
ADAPTED = of(NETWORK, training__init_from="weights", training__lora__rank=1)
LOG_NORMAL = of(SMALL, training__times="log_normal")
LOGIT_NORMAL = of(SMALL, training__times="logit_normal")
CLASSIFIER = of(
    PLAIN,
    noisy_classifier__width=32,
    noisy_classifier__ch_mult=(1,),
    noisy_classifier__num_res_blocks=1,
    noisy_classifier__attn_resolutions=(),
    noisy_classifier__head_channels=32,
)
CONSISTENCY = of(SMALL, training__task="consistency", training__weighting="uniform")
MEAN_FLOW = of(
    NETWORK,
    sde__name="linear",
    training__task="mean_flow",
    training__weighting="flow",
    model__condition_interval=True,
)
QUALITY = of(TOY, training__quality_freq=5, training__quality_images=20, training__quality_steps=2)
MIN_SNR, P2 = of(SMALL, training__weighting="min_snr"), of(SMALL, training__weighting="p2")

TRAINING_ROWS = [
    *rows(marginal, "sde", {}, name="subvp"),
    *rows(diffusion, "sde", {}, name="subvp"),
    *rows(marginal, "model", {}, beta_min=0.2, beta_max=10.0),
    *rows(diffusion, "model", {}, beta_min=0.2, beta_max=10.0),
    *rows(marginal, "model", VE, sigma_min=0.02, sigma_max=20.0),
    *rows(diffusion, "model", VE, sigma_min=0.02, sigma_max=20.0),
    *rows(prior, "model", VE, sigma_max=20.0),
    *rows(marginal, "model", SHIFTED, log_snr_max=9.0, log_snr_min=-9.0, log_snr_shift=-2.0),
    *rows(diffusion, "model", SHIFTED, log_snr_max=9.0, log_snr_min=-9.0, log_snr_shift=-2.0),
    *rows(marginal, "model", SIGMOID, sigmoid_start=-2.0, sigmoid_end=2.0, sigmoid_tau=1.1),
    *rows(diffusion, "model", SIGMOID, sigmoid_start=-2.0, sigmoid_end=2.0, sigmoid_tau=1.1),
    *rows(network, "model", of(NETWORK, model__nf=32), name="ddpm"),
    *rows(network, "model", NETWORK, nf=16, ch_mult=(2,), num_res_blocks=2),
    *rows(network, "model", NETWORK, attn_resolutions=(4,), conditional=False, num_classes=3),
    *rows(network, "model", NETWORK, nonlinearity="elu", dropout=0.2, dtype="bfloat16"),
    *rows(network, "model", NETWORK, condition_image="measured", words="red blue"),
    *rows(network, "model", CONTROL, control_scale=2.0),
    *rows(frozen_base, "model", CONTROL, control_base="runs/other"),
    *rows(network, "model", PAIRED, condition_channels=2, condition_noise=0.5),
    *rows(network, "model", NETWORK, condition_interval=True),
    *rows(network, "model", NETWORK, skip_rescale=False, scale_by_sigma=True, remat=True),
    *rows(network, "model", NETWORK, embedding_type="fourier", init_scale=0.5),
    *rows(network, "model", FOURIER, fourier_scale=2.0),
    *rows(network, "model", BY_SIGMA, sigma_min=0.02, sigma_max=20.0, num_scales=10),
    *rows(network, "model", LEVELS, resblock_type="ddpm", fir=True),
    *rows(network, "model", LEVELS, progressive="residual", progressive_input="residual"),
    *rows(network, "model", BETWEEN, resamp_with_conv=False),
    *rows(network, "model", FIR, fir_kernel=(1, 1)),
    *rows(network, "model", INPUT_SKIP, progressive_combine="cat"),
    *rows(network, "model", TOKENS, name="dit", patch_size=4, width=16, depth=2, num_heads=4),
    *rows(network, "model", TOKENS, mlp_ratio=2.0, qkv_bias=True, time_mlp=True, final_conv=False),
    *rows(network, "model", RIN, num_latents=3, latent_width=16, latent_depth=2),
    *rows(network, "model", ADM, head_channels=8, attention_order="qkv_first", scale_shift=False),
    *rows(network, "model", of(ADM, model__ch_mult=(1, 1)), updown_blocks=False),
    *rows(network, "model", ADM, noise_mult=2, emb_mult=2),
    *rows(network, "model", BY_HEADS, num_heads=4),
    *rows(network, "model", EDM_UNET, name="edm_adm", noise_mult=2, emb_mult=2),
    *rows(network, "model", EDM_UNET, embedding_type="fourier", attn_resolutions=(4,)),
    *rows(network, "model", of(EDM_UNET, model__ch_mult=(1, 1)), fir=True),
    *rows(network, "model", of(EDM_UNET, model__ch_mult=(1, 1)), progressive_input="residual"),
    *rows(network, "model", of(EDM_ADM, model__attn_resolutions=(4,)), head_channels=8),
    *rows(network, "model", EDM2, name="edm_adm", logvar_channels=32),
    *rows(training_step, "training", UNCERTAIN, learned_uncertainty=True),
    *rows(training_step, "training", EDM_UNET, augment=0.5),
    *rows(training_step, "training", SMALL, time_cells=4),
    *rows(
        training_step,
        "optim",
        of(SMALL, optim__decay="inverse_sqrt", optim__warmup=0),
        decay_after=2,
    ),
    *rows(network, "model", of(TOKENS, model__name="dit"), learned_variance=True),
    *rows(network, "data", NETWORK, image_size=8, image_width=8, num_channels=3, centered=False),
    *rows(training_step, "model", SMALL, predicts="x0", ema_rate=0.9, ema_warmup=False),
    *rows(training_step, "model", of(SMALL, model__predicts="edm"), sigma_data=0.2),
    *rows(training_step, "model", of(SMALL, training__weighting="edm"), sigma_data=0.2),
    *rows(training_step, "model", of(SMALL, **CHAIN), num_scales=500),
    *rows(sampling, "model", of(PC, **SMALL, **CHAIN), discrete_labels="published_ode"),
    *rows(training_step, "optim", SMALL, lr=0.1, beta1=0.5, beta2=0.9, eps=1e-4),
    *rows(training_step, "optim", SMALL, warmup=10, decay="cosine", grad_clip=0.5),
    *rows(training_step, "optim", of(SMALL, optim__weight_decay=0.1), weight_decay=0.2),
    *rows(training_step, "data", SMALL, num_levels=32, centered=False, random_flip=True),
    *rows(training_step, "data", SMALL, uniform_dequantization=False),
    *rows(training_step, "training", SMALL, weighting="likelihood", continuous=False),
    *rows(training_step, "training", SMALL, times="log_snr", draws="stratified", eps=0.01),
    *rows(training_step, "training", SMALL, reduce_mean=False, trainable="bias"),
    *rows(training_step, "training", SMALL, skip_nonfinite=1, accumulation=2),
    *rows(
        training_step, "training.ema", of(SMALL, training__ema__sigma_rel=(0.1,)), sigma_rel=(0.2,)
    ),
    *rows(trained_kind, "training", SMALL, task="classifier"),
    *rows(trained_teacher, "consistency", CONSISTENCY, teacher="elsewhere"),
    *rows(training_step_of_kind, "consistency", CONSISTENCY, metric="squared", huber=0.1),
    *rows(training_step_of_kind, "consistency", CONSISTENCY, first_intervals=20, last_intervals=80),
    *rows(training_step_of_kind, "mean_flow", MEAN_FLOW, ratio=0.5, power=0.5),
    *rows(
        classifier_network, "noisy_classifier", CLASSIFIER, num_classes=3, width=64, ch_mult=(2,)
    ),
    *rows(classifier_network, "noisy_classifier", CLASSIFIER, num_res_blocks=2, dropout=0.3),
    *rows(
        classifier_network, "noisy_classifier", CLASSIFIER, attn_resolutions=(2,), head_channels=16
    ),
    *rows(training_run, "training.ema", TOY, save_freq=7),
    *rows(training_step, "training", of(SMALL, training__draws="stratified"), batch_size=64),
    *rows(training_step, "training", MIN_SNR, min_snr=1.0),
    *rows(training_step, "training", P2, p2_k=2.0, p2_gamma=0.5),
    *rows(training_step, "training", LOG_NORMAL, log_normal_mean=-1.0, log_normal_std=1.0),
    *rows(training_step, "training", LOGIT_NORMAL, logit_normal_mean=-1.0, logit_normal_std=2.0),
    *rows(training_step, "training", TOLD, label_dropout=0.2),
    *rows(training_step, "training", of(SMALL, optim__decay="cosine"), n_iters=10_000),
    *rows(training_run, "training", TOY, batch_size=64, n_iters=100, steps_per_call=2),
    *rows(training_run, "training", TOY, log_freq=7, eval_freq=7, checkpoint_freq=7),
    *rows(training_run, "training", TOY, skip_nonfinite=1, init_from="weights"),
    *rows(training_run, "", TOY, checkpoint_step=3, data_parallel="shard_map"),
    *rows(kept_checkpoints, "training", TOY, keep_checkpoints=2, keep_every=20_000, keep_best=1),
    *rows(kept_checkpoints, "training", TOY, keep_best_by="frechet"),
    *rows(held_out_batches, "training", TOY, batch_size=8),
    *rows(training_pictures, "training", SMALL, snapshot_freq=7, snapshot_size=9),
    *rows(training_pictures, "training", of(SMALL, training__snapshot_steps=2), snapshot_steps=3),
    *rows(training_quality, "training", QUALITY, quality_freq=7, quality_images=21),
    *rows(training_quality, "training", QUALITY, quality_steps=3),
    *rows(quality_beside, "evaluation", QUALITY, reference="test", num_reference=30),
    *rows(watchers, "training", of(TOY, training__wandb="offline"), wandb="online"),
    *rows(replayed_step, "training", TOY, replay_step=5),
    *rows(loaded_step, "", SMALL, checkpoint_step=3),
    *rows(used_adapters, "", of(NETWORK, adapters="a"), adapters="b", adapter_scales=(0.5,)),
    *rows(adapted_task, "training.lora", ADAPTED, rank=2, alpha=1.0, targets="Dense"),
    *rows(merged_folders, "merge", {"merge.folders": "a,b"}, folders="b,a", weights=(0.25, 0.75)),
    *rows(
        reconstructed_average,
        "",
        of(SMALL, ema_sigma_rel=0.1),
        checkpoint_step=3,
        ema_sigma_rel=0.2,
    ),
    *rows(
        exported_average, "", of(NETWORK, ema_sigma_rel=0.1), checkpoint_step=3, ema_sigma_rel=0.2
    ),
    *rows(exported_step, "", NETWORK, checkpoint_step=3),
    *rows(loaded_images, "data", PICTURES, folder=path("dark"), image_size=4),
    *rows(loaded_images, "data", PICTURES, num_channels=1, num_levels=32, label=1),
    *rows(loaded_images, "data", PICTURES, crop_size=6, resample="box", in_memory="no"),
    *rows(fitted_image, "data", PICTURES, resize=False),
    *rows(loaded_images, "data", DARK, stored_levels=32),
    *rows(loaded_images, "data", PICTURES, pad=1),
    *rows(loaded_images, "data", TOY, mixture_weights=(0.5, 0.5), mixture_means=(0.0, 1.0)),
    *rows(loaded_images, "data", TOY, mixture_variances=(0.1, 0.1)),
    *rows(loaded_images, "data", ARRAYS, file=path("darker.npy")),
    *rows(prepared_dataset, "data", {}, name="cifar10", data_dir="elsewhere"),
]
