"""Building blocks of the published configurations: data, processes, networks and objectives.

From Song et al. 2021, App. H, and the configuration files published with it. Each piece lists only the fields that
differ from configs/default.py, where the optimizer, the warmup and the schedule of VP are the published ones already.
ve_*.py, vp_*.py and subvp_*.py define the published combinations.

One difference is deliberate: the held-out loss is computed on all held-out images and not on one batch, so it is
computed less often (`training.eval_freq`).
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import Change, changed


def published_config(*pieces: Change) -> ConfigDict:
    """Colour images with random flips and no dequantization, changed by these pieces in order."""
    return changed(default_config(), COMMON, *pieces)


COMMON = {
    "data.num_channels": 3,
    "data.random_flip": True,
    "data.uniform_dequantization": False,
    # Checkpoints among which the best FID of Table 3 was chosen; --config.checkpoint_step=STEP samples from one of them.
    "training.keep_every": 50_000,
}

# ---- images: sizes, and their datasets, with sigma_max about the largest distance between two images -------

CIFAR10 = {"data.name": "cifar10", "data.image_size": 32}

# CelebA at 64 pixels: the central 140 pixels, downsampled with the published filter.
CELEBA = {
    "data.name": "celeb_a",
    "data.image_size": 64,
    "data.resize": True,
    "data.crop_size": 140,
    "data.resample": "bilinear",
    "model.sigma_max": 90.0,
    "sampling.snr": 0.17,
}

# Common settings at 256 and 1024 pixels: long runs without dropout, saved twice as often.
LARGE = {
    "model.dropout": 0.0,
    "training.n_iters": 2_400_001,
    "training.checkpoint_freq": 5_000,
    # The paper samples eight images of 256 pixels at a time; likelihoods need more memory than sampling.
    "sampling.batch_size": 8,
    "likelihood.batch_size": 8,
}
PIXELS_256 = LARGE | {
    "data.image_size": 256,
    "data.resize": True,
    "training.batch_size": 64,
    "sampling.snr": 0.075,
}
BEDROOM = {"data.name": "lsun/bedroom", "model.sigma_max": 378.0}
CHURCH = {"data.name": "lsun/church_outdoor", "model.sigma_max": 380.0}
# FFHQ or CelebA-HQ from a folder; larger images are averaged over boxes of pixels, as in the published files.
FACES_256 = {"data.name": "folder", "data.resample": "box", "model.sigma_max": 348.0}
# The same at full resolution.
FACES_1024 = LARGE | {
    "data.name": "folder",
    "data.image_size": 1024,
    "model.sigma_max": 1348.0,
    "training.batch_size": 8,
    "training.snapshot_size": 8,
    # The loss on the 3,500 held-out images of FFHQ every thousand steps would add a seventh to the training time.
    "training.eval_freq": 10_000,
    "sampling.num_images": 8,
    "sampling.snr": 0.15,
}

# ---- processes ---------------------------------------------------------------------------------------

SUBVP = {"sde.name": "subvp"}
# Images in [0, 1], a network that predicts the score, and half the sum over pixels as the loss.
VE = {
    "sde.name": "ve",
    "data.centered": False,
    "model.scale_by_sigma": True,
    "model.ema_rate": 0.999,
    "training.reduce_mean": False,
    "sampling.eps": 1e-5,
    "sampling.pc.predictor": "reverse_diffusion",
    "sampling.pc.corrector": "langevin",
}
# Twice as many noise levels, for a sigma_max at least seven times as large.
SCALES_2000 = {"model.num_scales": 2000, "sampling.pc.num_steps": 2000}

# ---- networks, with numbers of parameters, at 32 pixels unless stated otherwise -----------------------

# BigGAN blocks, plain resampling, no pyramids; 61,804,419.
DDPMPP = {"model.name": "ncsnpp"}
# DDPM++ with smooth resampling and a residual input pyramid; 62,693,251.
NCSNPP = {"model.name": "ncsnpp", "model.fir": True, "model.progressive_input": "residual"}
# 35,218,947. The published files set a Fourier embedding, which this network never uses; here it is set to positional.
DDPM = {"model.name": "ddpm", "model.num_res_blocks": 2}
# Twice the residual blocks, and a shorter run.
DEEP = {"model.num_res_blocks": 8, "training.n_iters": 950_001}
# The network is not conditioned on the time.
UNCONDITIONAL = {"model.conditional": False}
# Fourier features of ln sigma, for continuous VE; 65,664 more.
FOURIER = {"model.embedding_type": "fourier"}
# Continuous NCSN++ with input and output skip pyramids: it reads the image and sums its output at every resolution.
NCSNPP_LARGE = FOURIER | {
    "model.name": "ncsnpp",
    "model.fir": True,
    "model.progressive": "output_skip",
    "model.progressive_input": "input_skip",
}
# 65,574,549.
NCSNPP_256 = NCSNPP_LARGE | {"model.ch_mult": (1, 1, 2, 2, 2, 2, 2), "model.num_res_blocks": 2}
# 105,785,896: 16 channels at 1024 pixels to 512 at 8.
NCSNPP_1024 = NCSNPP_LARGE | {
    "model.nf": 16,
    "model.ch_mult": (1, 2, 4, 8, 16, 32, 32, 32),
    "model.num_res_blocks": 1,
    "model.ema_rate": 0.9999,
}
# 111,569,923, and its learning rate.
DDPM_256 = DDPM | {"model.ch_mult": (1, 1, 2, 2, 4, 4), "optim.lr": 2e-5}

# ---- objectives, each with the sampler of its published results ---------------------------------------

# The loss of the discrete chain: DDPM for VP, SMLD for VE.
DISCRETE = {"training.continuous": False}
ANCESTRAL = {"sampling.pc.predictor": "ancestral_sampling"}
REVERSE_DIFFUSION = {"sampling.pc.predictor": "reverse_diffusion"}
MEAN_OVER_PIXELS = {"training.reduce_mean": True}
