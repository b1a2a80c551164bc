"""VE on CelebA at 64 pixels: NCSN++ with the discrete loss of SMLD, 62,693,251 parameters.

  python main.py --config configs/ve_celeba.py --mode train

Published FID: about 2.5 (its author, score_sde issue 10). Not yet trained with this code.

Data: CelebA (1.4 GB), prepared once by TFDS, which needs TensorFlow: `python -m score_sde.data.prepare celeb_a`. Held-out
figures are for its test split, the published ones for its validation split. The field `sigma_begin` of the
published file, which nothing reads, is left out.
"""

from score_sde.configs import published


def get_config():
    """CelebA at 64 pixels with VE."""
    return published.published_config(
        published.CELEBA, published.VE, published.NCSNPP, published.DISCRETE
    )
