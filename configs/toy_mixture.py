"""A distribution known in closed form: samplers and likelihoods with the exact score, without training.

64 independent coordinates, each drawn from 0.3 N(-1, 0.04) + 0.7 N(0.6, 0.09).

  python main.py --config configs/toy_mixture.py --mode sample --sampler ode
  python main.py --config configs/toy_mixture.py --mode likelihood

Variants: vp (default), subvp, ve; --config.sde.name=linear and the other processes of docs/processes.md also work.
"""

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import Change, changed, variant

MIXTURE = {
    "data.name": "mixture",
    "data.num_levels": 0,
    "data.centered": False,
    "data.uniform_dequantization": False,
    "model.name": "mixture",
    "sampling.num_images": 512,
    "sampling.batch_size": 512,
    "sampling.pc.predictor": "reverse_diffusion",
    "sampling.pc.corrector": "langevin",
    "sampling.snr": 0.1,  # the bias of the corrector, 1 %, is too small to be seen in these samples
    "likelihood.batch_size": 256,
}
VE = {
    "sde.name": "ve",
    "model.sigma_max": 20.0,  # about ten times the largest value
    "sampling.eps": 1e-5,
}
VARIANTS: dict[str, tuple[Change, ...]] = {"vp": (), "subvp": ({"sde.name": "subvp"},), "ve": (VE,)}


def get_config(name: str = "vp"):
    """A mixture with its exact score; the variant names the process."""
    return changed(default_config(), MIXTURE, *variant(name, VARIANTS))
