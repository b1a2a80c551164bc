"""EDM on CIFAR-10 (Karras et al. 2022): networks, preconditioning, loss, distribution of times and sampler.

  python main.py --config configs/edm_cifar.py --mode train
  python main.py --config configs/edm_cifar.py:ncsnpp_cond --mode train

Variants (published FID with 35 evaluations, trained on augmented images): ddpmpp (default, 1.97), ncsnpp (1.98), ddpmpp_cond (1.79),
ncsnpp_cond (1.79). Not trained with this code: tests check the number of parameters of each, and the outputs of a
small network against the published code.

Data: CIFAR-10, downloaded on first use (170 MB). Published: 8 V100, 2 days.
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import Change, changed, variant

EDM = {
    "sde.name": "edm",
    "model.name": "edm_unet",
    "model.predicts": "edm",
    "training.weighting": "edm",
    "training.times": "log_normal",
    "training.eps": 0.002,
    "likelihood.eps": 0.002,
    "sampling.sampler": "edm",
    "sampling.eps": 0.002,
    "sampling.grid.name": "rho",
    "data.num_channels": 3,
    "data.uniform_dequantization": False,
    "optim.grad_clip": -1.0,
}
# 200 million images; the learning rate rises over the first 10 million, and the average has a half-life of 500,000.
CIFAR = {
    "data.name": "cifar10",
    "data.image_size": 32,
    "model.ch_mult": (2, 2, 2),
    "model.dropout": 0.13,
    "model.ema_rate": 0.99929,
    "training.batch_size": 512,
    "training.augment": 0.12,
    "training.n_iters": 390_625,
    "optim.lr": 1e-3,
    "optim.warmup": 19_531,
}
DDPMPP: Change = {}
NCSNPP = {
    "model.fir": True,
    "model.progressive_input": "residual",
    "model.embedding_type": "fourier",
    "model.noise_mult": 2,
}
CONDITIONAL = {"model.num_classes": 10}
VARIANTS: dict[str, tuple[Change, ...]] = {
    "ddpmpp": (DDPMPP,),
    "ncsnpp": (NCSNPP,),
    "ddpmpp_cond": (DDPMPP, CONDITIONAL),
    "ncsnpp_cond": (NCSNPP, CONDITIONAL),
}


def get_config(name: str = "ddpmpp") -> ConfigDict:
    """EDM on CIFAR-10; the variant sets the network and whether it is class-conditional."""
    return changed(default_config(), EDM, CIFAR, *variant(name, VARIANTS))
