"""VP at 256 pixels: the network of DDPM with its discrete loss, 111,569,923 parameters.

  python main.py --config configs/vp_256.py --mode train
  python main.py --config configs/vp_256.py:celebahq --mode train --config.data.folder=PATH

Variants: bedroom (default), church, celebahq. No FID was published with them; not yet trained with this code.

Data: as for configs/ve_256.py. The published celebahq reads images of 1024 pixels without downsampling them, so its
network for 256 pixels gets images of the wrong size; here they are downsampled.
"""

from score_sde.configs import published
from score_sde.configs.variants import variant

VARIANTS = {
    "bedroom": (published.BEDROOM,),
    "church": (published.CHURCH,),
    "celebahq": (published.FACES_256,),
}


def get_config(name: str = "bedroom"):
    """Images of 256 pixels with VP; the variant is the dataset."""
    return published.published_config(
        published.PIXELS_256,
        published.DDPM_256,
        published.DISCRETE,
        published.ANCESTRAL,
        *variant(name, VARIANTS),
    )
