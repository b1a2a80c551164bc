"""What the published CIFAR-10 configurations share, and the networks and objectives they differ in.

Song et al. 2021, App. H, and the configuration files published with it. vp_cifar.py, subvp_cifar.py and
ve_cifar.py name the published combinations as variants.
"""

from ml_collections import ConfigDict

from configs.default import get_config as default_config


def cifar_config() -> ConfigDict:
    """CIFAR-10 with the published optimiser and schedule: batches of 128, 1.3 million steps."""
    config = default_config()
    config.data.name = "cifar10"
    config.data.image_size = 32
    config.data.num_channels = 3
    config.data.random_flip = True
    config.data.uniform_dequantization = False
    return config


# ---- networks ----------------------------------------------------------------------------------------


def ddpmpp(config: ConfigDict) -> None:
    """DDPM++: BigGAN blocks, plain resampling, no pyramids; 61,804,419 parameters."""
    config.model.name = "ncsnpp"


def ncsnpp(config: ConfigDict) -> None:
    """NCSN++: DDPM++ with smooth resampling and a residual input pyramid; 62,693,251 parameters."""
    config.model.name = "ncsnpp"
    config.model.fir = True
    config.model.progressive_input = "residual"


def ddpm(config: ConfigDict) -> None:
    """The network of DDPM; 35,218,947 parameters."""
    config.model.name = "ddpm"
    config.model.num_res_blocks = 2


def deep(config: ConfigDict) -> None:
    """Twice the residual blocks, and a shorter run."""
    config.model.num_res_blocks = 8
    config.training.n_iters = 950_001


def unconditional(config: ConfigDict) -> None:
    """The network is not told the time."""
    config.model.conditional = False


# ---- objectives, each with the sampler its published numbers come from --------------------------------


def discrete(config: ConfigDict) -> None:
    """The finite chain's loss: DDPM for VP, SMLD for VE."""
    config.training.continuous = False


def ancestral(config: ConfigDict) -> None:
    config.sampling.pc.predictor = "ancestral_sampling"


def reverse_diffusion(config: ConfigDict) -> None:
    config.sampling.pc.predictor = "reverse_diffusion"


def fourier(config: ConfigDict) -> None:
    """Fourier features of ln sigma, for continuous VE; 65,664 parameters more."""
    config.model.embedding_type = "fourier"
