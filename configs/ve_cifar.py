"""VE on CIFAR-10: NCSN++, the best published samples.

  python main.py --config configs/ve_cifar.py --mode train

Variants (published FID; Song et al. 2021, Table 3; not yet reproduced with this code):
  ncsnpp (default; 2.38), ncsnpp_deep (2.20), and with the discrete loss of SMLD: ncsnpp_discrete (2.45),
  ddpm_discrete.
"""

from configs import cifar
from configs.variants import apply_variant

VARIANTS = {
    "ncsnpp": (cifar.ncsnpp, cifar.fourier),
    "ncsnpp_deep": (cifar.ncsnpp, cifar.fourier, cifar.deep),
    "ncsnpp_discrete": (cifar.ncsnpp, cifar.discrete),
    "ddpm_discrete": (cifar.ddpm, cifar.discrete),
}


def get_config(variant: str = "ncsnpp"):
    config = cifar.cifar_config()
    config.sde.name = "ve"
    config.data.centered = False
    config.model.scale_by_sigma = True
    config.model.ema_rate = 0.999
    config.training.reduce_mean = False
    config.sampling.eps = 1e-5
    config.sampling.pc.predictor = "reverse_diffusion"
    config.sampling.pc.corrector = "langevin"
    apply_variant(config, variant, VARIANTS)
    return config
