"""Sub-VP on CIFAR-10, the best published likelihoods.

  python main.py --config configs/subvp_cifar.py:ddpmpp_deep --mode train

Variants (published FID, bits/dim; Song et al. 2021, Tables 2 and 3; not yet reproduced with this code):
  ddpmpp (default; 2.61, 3.02), ddpmpp_deep (2.41, 2.99), ncsnpp, ncsnpp_deep, ddpm (3.56 by the ODE, 3.05).
"""

from configs import cifar
from configs.variants import apply_variant

VARIANTS = {
    "ddpmpp": (cifar.ddpmpp,),
    "ddpmpp_deep": (cifar.ddpmpp, cifar.deep),
    "ncsnpp": (cifar.ncsnpp,),
    "ncsnpp_deep": (cifar.ncsnpp, cifar.deep),
    "ddpm": (cifar.ddpm,),
}


def get_config(variant: str = "ddpmpp"):
    config = cifar.cifar_config()
    config.sde.name = "subvp"
    apply_variant(config, variant, VARIANTS)
    return config
