"""VP at 256 pixels: the network of DDPM with its discrete loss, 111,569,923 parameters.

  python main.py --config configs/vp_256.py --mode train
  python main.py --config configs/vp_256.py:celebahq --mode train --config.data.folder=PATH

Variants: bedroom (default), church, celebahq. No FID was published with them; not yet trained with this code.

Data: as for configs/ve_256.py. The published celebahq reads images of 1024 pixels without shrinking them, so that its
network of 256 pixels gets the wrong ones; here they are shrunk.
"""

from score_sde.configs import published
from score_sde.configs.variants import apply_variant

VARIANTS = {
    "bedroom": (published.bedroom,),
    "church": (published.church,),
    "celebahq": (published.faces_256,),
}


def get_config(variant: str = "bedroom"):
    config = published.published_config(
        published.pixels_256, published.ddpm_256, published.discrete, published.ancestral
    )
    apply_variant(config, variant, VARIANTS)
    return config
