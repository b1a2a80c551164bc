"""Sub-VP on 8x8 digits, with the best likelihoods of the three processes; run by `make demo`.

python main.py --config configs/subvp_digits.py --mode train

The variant :likelihood trains longer, with likelihood weighting. :conditional conditions the network on the digit.
:super_resolution conditions it on the means of 2x2 pixels; --mode restore then draws digits with these means. :control does the same with
a ControlNet around the network of runs/subvp_digits, which stays unchanged. :dit and :uvit use a transformer of 1.3 and 1.1 million
parameters in place of the U-Net of 0.75 million, :simple_uvit a transformer inside a U-Net, and :rin one with few latents that read and
write the image tokens. :adm, :edm and :edm2 use other U-Nets, the last two trained as in EDM and EDM2. :consistency trains a consistency
model, which draws by --sampler consistency in one or a few steps, either from data alone or, with
--config.consistency.teacher=FOLDER, by distilling a network of :edm. :classifier trains, instead of a score, a classifier of noisy digits
that can guide the samples of the others.
"""

from ml_collections import ConfigDict

from score_sde.configs.digits import digits_config
from score_sde.configs.variants import Change, changed, variant

LIKELIHOOD = {
    "model.dropout": 0.1,
    "model.ema_rate": 0.999,
    "optim.lr": 2e-3,
    "training.weighting": "likelihood",
    "training.times": "log_snr",
    "training.draws": "low_discrepancy",
    # sigma is 1.1e-4 at this time, a thousandth of a grey level
    "training.eps": 1e-3,
    "likelihood.eps": 1e-3,
    "training.n_iters": 12_000,
    # Makes the error of each measurement far smaller than the standard error over images.
    "likelihood.probe": "orthogonal",
    "likelihood.num_probes": 4,
    "likelihood.bound_draws": 256,
    "training.eval_freq": 1000,
    "training.checkpoint_freq": 2000,
    "training.snapshot_freq": 6000,
}
CONDITIONAL = {
    "model.num_classes": 10,
    "training.label_dropout": 0.1,
    "sampling.num_images": 100,
    "sampling.batch_size": 100,
}
SUPER_RESOLUTION = {
    "model.condition_image": "measured",
    "condition.name": "box_mean",
    "condition.factor": 2,
    "condition.sigma_y": 0.0,
    "restore.method": "trained",
}
CONTROL = {
    "model.name": "controlnet",
    "model.control_base": "runs/subvp_digits",
    "optim.lr": 1e-3,
}
TRANSFORMER = {
    "model.patch_size": 2,
    "model.width": 128,
    "model.depth": 4,
    "model.num_heads": 4,
    "optim.lr": 1e-3,
}
SIMPLE_UVIT = {
    "model.name": "simple_uvit",
    "model.patch_size": 1,
    "model.nf": 32,
    "model.ch_mult": (1,),
    "model.num_res_blocks": 2,
}
RIN = {
    "model.name": "rin",
    "model.patch_size": 1,
    "model.width": 64,
    "model.depth": 2,
    "model.num_latents": 16,
    "model.latent_width": 128,
    "model.latent_depth": 2,
}
ADM = {"model.name": "adm", "model.head_channels": 16, "optim.lr": 2e-3}
EDM = {
    "sde.name": "edm",
    "model.name": "edm_unet",
    "model.predicts": "edm",
    "training.weighting": "edm",
    "training.times": "log_normal",
    "training.eps": 0.002,
    "likelihood.eps": 0.002,
    "optim.lr": 2e-3,
}
EDM2 = {
    "model.name": "edm2",
    "model.head_channels": 16,
    "model.logvar_channels": 32,
    "training.log_normal_mean": -0.4,
    "training.log_normal_std": 1.0,
    "training.learned_uncertainty": True,
    "optim.lr": 1e-2,
    "optim.decay": "inverse_sqrt",
    "optim.decay_after": 400,
}
CONSISTENCY = {
    "training.task": "consistency",
    "training.weighting": "log_normal",
    "training.log_normal_mean": -1.1,
    "training.log_normal_std": 2.0,
    "consistency.last_intervals": 160,
    # About 7 minutes on two cores: an update costs four network evaluations, and one of the score three.
    "training.n_iters": 2500,
    "model.ema_rate": 0.9975,
    "sampling.sampler": "consistency",
    "sampling.eps": 0.002,
    "training.snapshot_steps": 0,
    "tradeoff.samplers": "consistency: 1 2 4",
    "tradeoff.bits_per_dim": False,
}
CLASSIFIER = {
    "training.task": "classifier",
    "noisy_classifier.width": 32,
    "noisy_classifier.ch_mult": (1, 2),
    "noisy_classifier.num_res_blocks": 1,
    "noisy_classifier.attn_resolutions": (4,),
    "noisy_classifier.head_channels": 16,
    "optim.lr": 2e-3,
    "optim.weight_decay": 0.05,
    "training.n_iters": 1000,
    "training.eval_freq": 250,
    "training.checkpoint_freq": 500,
}
VARIANTS: dict[str, tuple[Change, ...]] = {
    "fast": (),
    "likelihood": (LIKELIHOOD,),
    "conditional": (CONDITIONAL,),
    "super_resolution": (SUPER_RESOLUTION,),
    "control": (SUPER_RESOLUTION, CONTROL),
    "dit": (TRANSFORMER, {"model.name": "dit"}),
    "uvit": (TRANSFORMER, {"model.name": "uvit"}),
    "simple_uvit": (TRANSFORMER, SIMPLE_UVIT),
    "rin": (TRANSFORMER, RIN),
    "adm": (ADM,),
    "edm": (EDM,),
    "edm2": (EDM, EDM2),
    "consistency": (EDM, CONSISTENCY),
    "classifier": (CLASSIFIER,),
}


def get_config(name: str = "fast") -> ConfigDict:
    """Digits with sub-VP; the variant sets the network or the training objective."""
    return changed(digits_config("subvp"), *variant(name, VARIANTS))
