"""VE on CIFAR-10: NCSN++, which has the best published FID.

  python main.py --config configs/ve_cifar.py --mode train

Variants (published FID; Song et al. 2021, Table 3; not yet trained with this code):
  ncsnpp (default; 2.38), ncsnpp_deep (2.20), and with the discrete loss of SMLD ncsnpp_discrete (2.45),
  ddpm_discrete (3.60, Table 1).

The published code took 0.2 to 0.6 s per step for ncsnpp on four V100, with 21 to 75 GB of memory in total.

Data: CIFAR-10, downloaded on first use (170 MB).
"""

from score_sde.configs import published
from score_sde.configs.variants import variant

VARIANTS = {
    "ncsnpp": (published.NCSNPP, published.FOURIER),
    "ncsnpp_deep": (published.NCSNPP, published.FOURIER, published.DEEP),
    "ncsnpp_discrete": (published.NCSNPP, published.DISCRETE),
    "ddpm_discrete": (published.DDPM, published.DISCRETE),
}


def get_config(name: str = "ncsnpp"):
    """The published configuration of a variant for CIFAR-10 with VE."""
    return published.published_config(published.CIFAR10, published.VE, *variant(name, VARIANTS))
