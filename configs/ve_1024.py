"""VE at 1024 pixels: continuous NCSN++ with skip pyramids, 105,785,896 parameters.

  python main.py --config configs/ve_1024.py --mode train --config.data.folder=PATH

Variants: ffhq (default), celebahq. As published, they differ in the scale of the loss: the mean over pixels for
FFHQ, half the sum for CelebA-HQ. No FID was published; not yet trained with this code. The published run took two
and a half weeks on four V100 (score_sde issue 4).

Data: a folder of images of 1024x1024 pixels, FFHQ (github.com/NVlabs/ffhq-dataset, 70,000 images, 89 GB) or
CelebA-HQ (30,000), of which 5 % are held out; the published runs trained on all. The published files have no evaluation fields, so
nothing could be evaluated with them; here all modes work.
"""

from score_sde.configs import published
from score_sde.configs.variants import variant

VARIANTS = {"ffhq": (published.MEAN_OVER_PIXELS,), "celebahq": ()}


def get_config(name: str = "ffhq"):
    """Faces at 1024 pixels with VE; the variant is the dataset."""
    return published.published_config(
        published.FACES_1024,
        published.VE,
        published.SCALES_2000,
        published.NCSNPP_1024,
        *variant(name, VARIANTS),
    )
