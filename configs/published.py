"""What the published configurations are put together from: data, processes, networks and objectives.

Song et al. 2021, App. H, and the configuration files published with it. A piece sets the few fields in which it
differs from configs/default.py, where the optimiser, the warm-up and VP's schedule are the published ones already.
ve_*.py, vp_*.py and subvp_*.py name the published combinations.

One thing differs on purpose: a held-out loss is one over all held-out images and not over one batch, so it is taken
less often (`training.eval_freq`).
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import Change


def published_config(*pieces: Change) -> ConfigDict:
    """Colour images, half of them mirrored, trained on without dequantization; and then the pieces, in order."""
    config = default_config()
    config.data.num_channels = 3
    config.data.random_flip = True
    config.data.uniform_dequantization = False
    # The best FID of Table 3 was chosen among these: --config.checkpoint_step=STEP samples from one of them.
    config.training.keep_every = 50_000
    for piece in pieces:
        piece(config)
    return config


# ---- images: sizes, and the datasets of each with about the largest distance between two of its images -----


def cifar10(config: ConfigDict) -> None:
    config.data.name = "cifar10"
    config.data.image_size = 32


def celeba(config: ConfigDict) -> None:
    """CelebA at 64 pixels: the central 140, shrunk with the published filter."""
    config.data.name = "celeb_a"
    config.data.image_size = 64
    config.data.resize = True
    config.data.crop_size = 140
    config.data.resample = "bilinear"
    config.model.sigma_max = 90.0
    config.sampling.snr = 0.17


def large(config: ConfigDict) -> None:
    """What the runs at 256 and 1024 pixels share: long, without dropout, and saved twice as often."""
    config.model.dropout = 0.0
    config.training.n_iters = 2_400_001
    config.training.checkpoint_freq = 5_000
    # The paper samples 256 pixels eight at a time; a likelihood needs more memory than a sample.
    config.sampling.batch_size = 8
    config.likelihood.batch_size = 8


def pixels_256(config: ConfigDict) -> None:
    large(config)
    config.data.image_size = 256
    config.data.resize = True
    config.training.batch_size = 64
    config.sampling.snr = 0.075


def bedroom(config: ConfigDict) -> None:
    config.data.name = "lsun/bedroom"
    config.model.sigma_max = 378.0


def church(config: ConfigDict) -> None:
    config.data.name = "lsun/church_outdoor"
    config.model.sigma_max = 380.0


def faces_256(config: ConfigDict) -> None:
    """FFHQ or CelebA-HQ from a folder; larger images become means of their pixels, as the published files are."""
    config.data.name = "folder"
    config.data.resample = "box"
    config.model.sigma_max = 348.0


def faces_1024(config: ConfigDict) -> None:
    """FFHQ or CelebA-HQ in full from a folder."""
    large(config)
    config.data.name = "folder"
    config.data.image_size = 1024
    config.model.sigma_max = 1348.0
    config.training.batch_size = 8
    config.training.snapshot_size = 8
    # The loss of FFHQ's 3,500 held-out images, every thousand steps, would add a seventh to the time.
    config.training.eval_freq = 10_000
    config.sampling.num_images = 8
    config.sampling.snr = 0.15


# ---- processes ---------------------------------------------------------------------------------------


def subvp(config: ConfigDict) -> None:
    config.sde.name = "subvp"


def ve(config: ConfigDict) -> None:
    """VE: images on [0, 1], a network that gives the score, and half the sum over pixels as the loss."""
    config.sde.name = "ve"
    config.data.centered = False
    config.model.scale_by_sigma = True
    config.model.ema_rate = 0.999
    config.training.reduce_mean = False
    config.sampling.eps = 1e-5
    config.sampling.pc.predictor = "reverse_diffusion"
    config.sampling.pc.corrector = "langevin"


def scales_2000(config: ConfigDict) -> None:
    """Twice the noise levels, for a sigma_max seven times as large and more."""
    config.model.num_scales = 2000
    config.sampling.pc.num_steps = 2000


# ---- networks ----------------------------------------------------------------------------------------


def ddpmpp(config: ConfigDict) -> None:
    """DDPM++: BigGAN blocks, plain resampling, no pyramids; 61,804,419 parameters at 32 pixels."""
    config.model.name = "ncsnpp"


def ncsnpp(config: ConfigDict) -> None:
    """NCSN++: DDPM++ with smooth resampling and a residual input pyramid; 62,693,251 parameters."""
    config.model.name = "ncsnpp"
    config.model.fir = True
    config.model.progressive_input = "residual"


def ddpm(config: ConfigDict) -> None:
    """The network of DDPM; 35,218,947 parameters at 32 pixels.

    The published files give it a Fourier embedding, which it never reads; here it is said to be positional.
    """
    config.model.name = "ddpm"
    config.model.num_res_blocks = 2


def deep(config: ConfigDict) -> None:
    """Twice the residual blocks, and a shorter run."""
    config.model.num_res_blocks = 8
    config.training.n_iters = 950_001


def unconditional(config: ConfigDict) -> None:
    """The network is not told the time."""
    config.model.conditional = False


def fourier(config: ConfigDict) -> None:
    """Fourier features of ln sigma, for continuous VE; 65,664 parameters more."""
    config.model.embedding_type = "fourier"


def ncsnpp_large(config: ConfigDict) -> None:
    """Continuous NCSN++ that takes in the image at every size, and puts its output together from every size."""
    config.model.name = "ncsnpp"
    config.model.fir = True
    config.model.progressive = "output_skip"
    config.model.progressive_input = "input_skip"
    fourier(config)


def ncsnpp_256(config: ConfigDict) -> None:
    """65,574,549 parameters."""
    ncsnpp_large(config)
    config.model.ch_mult = (1, 1, 2, 2, 2, 2, 2)
    config.model.num_res_blocks = 2


def ncsnpp_1024(config: ConfigDict) -> None:
    """105,785,896 parameters: 16 channels at 1024 pixels to 512 at 8."""
    ncsnpp_large(config)
    config.model.nf = 16
    config.model.ch_mult = (1, 2, 4, 8, 16, 32, 32, 32)
    config.model.num_res_blocks = 1
    config.model.ema_rate = 0.9999


def ddpm_256(config: ConfigDict) -> None:
    """111,569,923 parameters, and the rate at which they train."""
    ddpm(config)
    config.model.ch_mult = (1, 1, 2, 2, 4, 4)
    config.optim.lr = 2e-5


# ---- objectives, each with the sampler its published numbers come from --------------------------------


def discrete(config: ConfigDict) -> None:
    """The finite chain's loss: DDPM for VP, SMLD for VE."""
    config.training.continuous = False


def ancestral(config: ConfigDict) -> None:
    config.sampling.pc.predictor = "ancestral_sampling"


def reverse_diffusion(config: ConfigDict) -> None:
    config.sampling.pc.predictor = "reverse_diffusion"


def mean_over_pixels(config: ConfigDict) -> None:
    config.training.reduce_mean = True
