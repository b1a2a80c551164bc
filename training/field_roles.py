"""The role of each config field for a folder with checkpoints: whether, and when, its value may change."""

from __future__ import annotations

import enum


class Role(enum.Enum):
    """The role of a config field for a folder with checkpoints."""

    WEIGHTS = "another value makes the weights mean something else: refused by every mode"
    RUN = "another value makes it another run: refused when training goes on"
    MAY_CHANGE = "training goes on with another value, which is said and recorded with the step"
    FREE = "nothing that training remembers"


# Roles of single fields, and of whole sections if all their fields have the same one. Fields that a user's network or process adds to
# `model` thus have Role.WEIGHTS.
ROLES = {
    **dict.fromkeys(
        """
        model sde.name training.continuous training.task model.condition_interval
        condition.name condition.sigma_y condition.box condition.known condition.fraction condition.lowest
        condition.mask condition.factor condition.blur condition.length condition.angle
        noisy_classifier.num_classes noisy_classifier.width noisy_classifier.ch_mult
        noisy_classifier.num_res_blocks noisy_classifier.attn_resolutions
        noisy_classifier.head_channels
        data.image_size data.image_width data.num_channels data.num_levels data.centered data.uniform_dequantization
        model.name model.beta_min model.beta_max model.sigma_min model.sigma_max model.num_scales
        model.nf model.ch_mult model.num_res_blocks model.attn_resolutions model.resamp_with_conv
        model.conditional model.num_classes model.nonlinearity model.scale_by_sigma
        model.condition_image model.condition_channels model.condition_noise
        model.resblock_type model.fir model.fir_kernel model.skip_rescale
        model.progressive model.progressive_input model.progressive_combine
        model.embedding_type model.fourier_scale model.predicts model.sigma_data
        model.patch_size model.width model.depth model.num_heads model.mlp_ratio
        model.qkv_bias model.time_mlp model.final_conv model.learned_variance
        model.num_latents model.latent_width model.latent_depth
        model.head_channels model.attention_order model.scale_shift model.updown_blocks
        model.noise_mult model.emb_mult model.logvar_channels
        model.words
        model.log_snr_max model.log_snr_min model.log_snr_shift
        model.sigmoid_start model.sigmoid_end model.sigmoid_tau
        """.split(),
        Role.WEIGHTS,
    ),
    **dict.fromkeys(
        """
        seed data.name data.label data.stored_levels data.resize data.crop_size data.resample data.pad
        data.mixture_weights data.mixture_means data.mixture_variances
        training.weighting training.min_snr training.p2_k training.p2_gamma
        training.times training.log_normal_mean training.log_normal_std training.draws
        training.logit_normal_mean training.logit_normal_std
        training.reduce_mean training.learned_uncertainty training.label_dropout training.augment training.time_cells training.eps training.trainable
        training.ema.sigma_rel model.control_base model.control_scale
        training.lora.rank training.lora.alpha training.lora.targets
        consistency.teacher consistency.metric consistency.huber consistency.first_intervals consistency.last_intervals
        mean_flow.ratio mean_flow.power
        """.split(),
        Role.RUN,
    ),
    **dict.fromkeys(
        """
        data.folder data.file data.random_flip training.batch_size training.n_iters
        noisy_classifier.dropout
        model.dropout model.dtype model.ema_rate model.ema_warmup
        optim.lr optim.beta1 optim.beta2 optim.eps optim.weight_decay optim.warmup optim.decay optim.decay_after
        optim.grad_clip training.skip_nonfinite dataset
        """.split(),
        Role.MAY_CHANGE,
    ),
    **dict.fromkeys(
        """
        checkpoint_step ema_sigma_rel adapters adapter_scales data_parallel data.data_dir data.in_memory
        model.discrete_labels model.init_scale training.init_from training.steps_per_call
        training.log_freq training.eval_freq training.checkpoint_freq training.keep_checkpoints
        training.keep_every training.keep_best training.keep_best_by training.accumulation
        training.ema.save_freq training.quality_freq training.quality_images training.quality_steps
        model.remat training.replay_step training.snapshot_freq training.snapshot_size
        training.snapshot_steps training.wandb
        condition.images condition.cascade condition.noise
        sampling interpolation restore likelihood dequantizer classifier evaluation tradeoff
        merge
        """.split(),
        Role.FREE,
    ),
}


def role(field: str) -> Role:
    """Return the role of a dotted field, or that of its section."""
    return ROLES.get(field) or ROLES.get(field.partition(".")[0], Role.FREE)
