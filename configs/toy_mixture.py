"""A law known in closed form: samplers and likelihoods with the exact score, nothing to train.

64 coordinates, each an independent draw of 0.3 N(-1, 0.04) + 0.7 N(0.6, 0.09).

  python main.py --config configs/toy_mixture.py --mode sample --sampler ode
  python main.py --config configs/toy_mixture.py --mode likelihood

Variants: vp (default), subvp, ve.
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import apply_variant


def vp(config: ConfigDict) -> None:
    config.sde.name = "vp"


def subvp(config: ConfigDict) -> None:
    config.sde.name = "subvp"


def ve(config: ConfigDict) -> None:
    config.sde.name = "ve"
    config.model.sigma_max = 20.0  # some ten times the largest value
    config.sampling.eps = 1e-5


VARIANTS = {"vp": (vp,), "subvp": (subvp,), "ve": (ve,)}


def get_config(variant: str = "vp"):
    config = default_config()
    config.data.name = "mixture"
    config.data.num_levels = 0
    config.data.centered = False
    config.data.uniform_dequantization = False
    config.model.name = "mixture"
    config.sampling.num_images = 512
    config.sampling.batch_size = 512
    config.sampling.pc.predictor = "reverse_diffusion"
    config.sampling.pc.corrector = "langevin"
    config.sampling.snr = (
        0.1  # the bias of the corrector's steps, 1 %, stays below what the samples show
    )
    config.likelihood.batch_size = 256
    apply_variant(config, variant, VARIANTS)
    return config
