"""VP on CIFAR-10: DDPM++ and the other published networks.

  python main.py --config configs/vp_cifar.py --mode train
  python main.py --config configs/vp_cifar.py:ddpmpp_deep --mode train

Variants (published FID, bits/dim; Song et al. 2021, Tables 2 and 3; not yet trained with this code):
  ddpmpp (default; 2.55, 3.16), ddpmpp_deep (2.41, 3.13), ncsnpp, ncsnpp_deep, ddpm (3.69 by the ODE, 3.21),
  and with the discrete loss of DDPM: ddpmpp_discrete (2.78), ncsnpp_discrete, ddpm_discrete (3.24, 3.28),
  ddpm_unconditional (the published PyTorch cannot build it).

Data: CIFAR-10, downloaded on first use (170 MB).
"""

from score_sde.configs import published
from score_sde.configs.variants import apply_variant

VARIANTS = {
    "ddpmpp": (published.ddpmpp,),
    "ddpmpp_deep": (published.ddpmpp, published.deep),
    "ncsnpp": (published.ncsnpp,),
    "ncsnpp_deep": (published.ncsnpp, published.deep),
    "ddpm": (published.ddpm,),
    "ddpmpp_discrete": (published.ddpmpp, published.discrete, published.ancestral),
    "ncsnpp_discrete": (published.ncsnpp, published.discrete, published.reverse_diffusion),
    "ddpm_discrete": (published.ddpm, published.discrete, published.ancestral),
    "ddpm_unconditional": (
        published.ddpm,
        published.unconditional,
        published.discrete,
        published.ancestral,
    ),
}


def get_config(variant: str = "ddpmpp"):
    config = published.published_config(published.cifar10)
    apply_variant(config, variant, VARIANTS)
    return config
