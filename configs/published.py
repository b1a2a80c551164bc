"""What the published configurations are put together from: data, processes, networks and objectives.

Song et al. 2021, App. H, and the configuration files published with it. A piece has the few fields in which it
differs from configs/default.py, where the optimiser, the warm-up and VP's schedule are the published ones already.
ve_*.py, vp_*.py and subvp_*.py name the published combinations.

One thing differs on purpose: a held-out loss is one over all held-out images and not over one batch, so it is taken
less often (`training.eval_freq`).
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import Change, changed


def published_config(*pieces: Change) -> ConfigDict:
    """Colour images, half of them mirrored, trained on without dequantization; and then the pieces, in order."""
    return changed(default_config(), COMMON, *pieces)


COMMON = {
    "data.num_channels": 3,
    "data.random_flip": True,
    "data.uniform_dequantization": False,
    # The best FID of Table 3 was chosen among these: --config.checkpoint_step=STEP samples from one of them.
    "training.keep_every": 50_000,
}

# ---- images: sizes, and the datasets of each with about the largest distance between two of its images -----

CIFAR10 = {"data.name": "cifar10", "data.image_size": 32}

# CelebA at 64 pixels: the central 140, shrunk with the published filter.
CELEBA = {
    "data.name": "celeb_a",
    "data.image_size": 64,
    "data.resize": True,
    "data.crop_size": 140,
    "data.resample": "bilinear",
    "model.sigma_max": 90.0,
    "sampling.snr": 0.17,
}

# What the runs at 256 and 1024 pixels share: long, without dropout, and saved twice as often.
LARGE = {
    "model.dropout": 0.0,
    "training.n_iters": 2_400_001,
    "training.checkpoint_freq": 5_000,
    # The paper samples 256 pixels eight at a time; a likelihood needs more memory than a sample.
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
# FFHQ or CelebA-HQ from a folder; larger images become means of their pixels, as the published files are.
FACES_256 = {"data.name": "folder", "data.resample": "box", "model.sigma_max": 348.0}
# The same in full.
FACES_1024 = LARGE | {
    "data.name": "folder",
    "data.image_size": 1024,
    "model.sigma_max": 1348.0,
    "training.batch_size": 8,
    "training.snapshot_size": 8,
    # The loss of FFHQ's 3,500 held-out images, every thousand steps, would add a seventh to the time.
    "training.eval_freq": 10_000,
    "sampling.num_images": 8,
    "sampling.snr": 0.15,
}

# ---- processes ---------------------------------------------------------------------------------------

SUBVP = {"sde.name": "subvp"}
# Images on [0, 1], a network that gives the score, and half the sum over pixels as the loss.
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
# Twice the noise levels, for a sigma_max seven times as large and more.
SCALES_2000 = {"model.num_scales": 2000, "sampling.pc.num_steps": 2000}

# ---- networks, with their parameters, at 32 pixels where nothing else is said -------------------------

# BigGAN blocks, plain resampling, no pyramids; 61,804,419.
DDPMPP = {"model.name": "ncsnpp"}
# DDPM++ with smooth resampling and a residual input pyramid; 62,693,251.
NCSNPP = {"model.name": "ncsnpp", "model.fir": True, "model.progressive_input": "residual"}
# 35,218,947. The published files give it a Fourier embedding, which it never reads; here it is said to be positional.
DDPM = {"model.name": "ddpm", "model.num_res_blocks": 2}
# Twice the residual blocks, and a shorter run.
DEEP = {"model.num_res_blocks": 8, "training.n_iters": 950_001}
# The network is not conditioned on the time.
UNCONDITIONAL = {"model.conditional": False}
# Fourier features of ln sigma, for continuous VE; 65,664 more.
FOURIER = {"model.embedding_type": "fourier"}
# Continuous NCSN++ that takes in the image at every size, and puts its output together from every size.
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
# 111,569,923, and the rate at which they train.
DDPM_256 = DDPM | {"model.ch_mult": (1, 1, 2, 2, 4, 4), "optim.lr": 2e-5}

# ---- objectives, each with the sampler its published numbers come from --------------------------------

# The finite chain's loss: DDPM for VP, SMLD for VE.
DISCRETE = {"training.continuous": False}
ANCESTRAL = {"sampling.pc.predictor": "ancestral_sampling"}
REVERSE_DIFFUSION = {"sampling.pc.predictor": "reverse_diffusion"}
MEAN_OVER_PIXELS = {"training.reduce_mean": True}
