"""Sub-VP on CIFAR-10, which has the best published likelihoods.

  python main.py --config configs/subvp_cifar.py:ddpmpp_deep --mode train

Variants (published FID, bits/dim; Song et al. 2021, Tables 2 and 3; not yet trained with this code):
  ddpmpp (default; 2.61, 3.02), ddpmpp_deep (2.41, 2.99), ncsnpp, ncsnpp_deep, ddpm (3.56 by the ODE, 3.05).

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
}


def get_config(name: str = "ddpmpp"):
    """The published configuration of a variant for CIFAR-10 with sub-VP."""
    return published.published_config(published.CIFAR10, published.SUBVP, *variant(name, VARIANTS))
