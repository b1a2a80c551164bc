"""VE at 256 pixels: continuous NCSN++ with skip pyramids, 65,574,549 parameters.

  python main.py --config configs/ve_256.py --mode train
  python main.py --config configs/ve_256.py:ffhq --mode train --config.data.folder=PATH

Variants: bedroom (default), church, ffhq, celebahq. No FID was published; not yet trained with this code.

Data:
  bedroom, church   LSUN, prepared once by TFDS (46 and 2.4 GB), which needs TensorFlow and tensorflow-io:
                    `python -m score_sde.data.prepare lsun/bedroom`, `lsun/church_outdoor`. Images extracted to a folder need
                    neither: --config.data.name=folder --config.data.folder=PATH.
  ffhq, celebahq    a folder of images of 1024 or 256 pixels (github.com/NVlabs/ffhq-dataset, 70,000 images, 89 GB;
                    CelebA-HQ, 30,000, also as `--config.data.name=celeb_a_hq/256` of TFDS). 5 % are held out; the
                    published runs trained on all, and evaluated on what they had trained on.

The published files evaluate from checkpoint 50 on, which a run of this length never writes; here evaluation waits for no checkpoint.
"""

from score_sde.configs import published
from score_sde.configs.variants import variant

VARIANTS = {
    "bedroom": (published.BEDROOM,),
    "church": (published.CHURCH,),
    "ffhq": (published.FACES_256,),
    "celebahq": (published.FACES_256,),
}


def get_config(name: str = "bedroom"):
    """Images of 256 pixels with VE; the variant is the dataset."""
    return published.published_config(
        published.PIXELS_256,
        published.VE,
        published.SCALES_2000,
        published.NCSNPP_256,
        *variant(name, VARIANTS),
    )
