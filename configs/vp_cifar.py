"""VP on CIFAR-10: DDPM++ and the other published networks.

  python main.py --config configs/vp_cifar.py --mode train
  python main.py --config configs/vp_cifar.py:ddpmpp_deep --mode train

Variants (published FID, bits/dim; Song et al. 2021, Tables 2 and 3; not yet reproduced with this code):
  ddpmpp (default; 2.55, 3.16), ddpmpp_deep (2.41, 3.13), ncsnpp, ncsnpp_deep, ddpm (3.69 by the ODE, 3.21),
  and with the discrete loss of DDPM: ddpmpp_discrete (2.78), ncsnpp_discrete, ddpm_discrete (3.24, 3.28),
  ddpm_unconditional.
"""

from configs import cifar
from configs.variants import apply_variant

VARIANTS = {
    "ddpmpp": (cifar.ddpmpp,),
    "ddpmpp_deep": (cifar.ddpmpp, cifar.deep),
    "ncsnpp": (cifar.ncsnpp,),
    "ncsnpp_deep": (cifar.ncsnpp, cifar.deep),
    "ddpm": (cifar.ddpm,),
    "ddpmpp_discrete": (cifar.ddpmpp, cifar.discrete, cifar.ancestral),
    "ncsnpp_discrete": (cifar.ncsnpp, cifar.discrete, cifar.reverse_diffusion),
    "ddpm_discrete": (cifar.ddpm, cifar.discrete, cifar.ancestral),
    "ddpm_unconditional": (cifar.ddpm, cifar.discrete, cifar.ancestral, cifar.unconditional),
}


def get_config(variant: str = "ddpmpp"):
    config = cifar.cifar_config()
    apply_variant(config, variant, VARIANTS)
    return config
