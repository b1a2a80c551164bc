"""VP on CIFAR-10: DDPM++ and the other published networks.

  python main.py --config configs/vp_cifar.py --mode train
  python main.py --config configs/vp_cifar.py:ddpmpp_deep --mode train

Variants (published FID, bits/dim; Song et al. 2021, Tables 2 and 3; not yet trained with this code):
  ddpmpp (default; 2.55, 3.16), ddpmpp_deep (2.41, 3.13), ncsnpp, ncsnpp_deep, ddpm (3.69 by the ODE, 3.21),
  and with the discrete loss of DDPM ddpmpp_discrete (2.78), ncsnpp_discrete, ddpm_discrete (3.24, 3.28),
  ddpm_unconditional (which the published PyTorch code cannot build).

Data: CIFAR-10, downloaded on first use (170 MB).
"""

from score_sde.configs import published
from score_sde.configs.variants import variant

VARIANTS = {
    "ddpmpp": (published.DDPMPP,),
    "ddpmpp_deep": (published.DDPMPP, published.DEEP),
    "ncsnpp": (published.NCSNPP,),
    "ncsnpp_deep": (published.NCSNPP, published.DEEP),
    "ddpm": (published.DDPM,),
    "ddpmpp_discrete": (published.DDPMPP, published.DISCRETE, published.ANCESTRAL),
    "ncsnpp_discrete": (published.NCSNPP, published.DISCRETE, published.REVERSE_DIFFUSION),
    "ddpm_discrete": (published.DDPM, published.DISCRETE, published.ANCESTRAL),
    "ddpm_unconditional": (
        published.DDPM,
        published.UNCONDITIONAL,
        published.DISCRETE,
        published.ANCESTRAL,
    ),
}


def get_config(name: str = "ddpmpp"):
    """The published configuration of a variant for CIFAR-10 with VP."""
    return published.published_config(published.CIFAR10, *variant(name, VARIANTS))
