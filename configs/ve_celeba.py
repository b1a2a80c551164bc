"""VE on CelebA at 64 pixels: NCSN++ with the discrete loss of SMLD, 62,693,251 parameters.

  python main.py --config configs/ve_celeba.py --mode train

Published FID: about 2.5 (its author, score_sde issue 10). Not yet trained with this code.

Data: TFDS prepares CelebA (1.4 GB) once, for which it needs TensorFlow: `python -m score_sde.data.prepare celeb_a`. Held-out
figures are on its test split; the published ones on its validation split. The stray `sigma_begin` of the
published file, which nothing reads, is left out.
"""

from score_sde.configs import published


def get_config():
    """CelebA at 64 pixels under VE."""
    return published.published_config(
        published.CELEBA, published.VE, published.NCSNPP, published.DISCRETE
    )
