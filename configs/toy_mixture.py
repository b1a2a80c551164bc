"""A law known in closed form: samplers and likelihoods with the exact score, nothing to train.

64 coordinates, each an independent draw of 0.3 N(-1, 0.04) + 0.7 N(0.6, 0.09).

  python main.py --config configs/toy_mixture.py --mode sample --sampler ode
  python main.py --config configs/toy_mixture.py --mode likelihood

Variants: vp (default), subvp, ve; --config.sde.name=linear and the others of docs/processes.md as well.
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
    "sampling.snr": 0.1,  # the bias of the corrector's steps, 1 %, stays below what the samples show
    "likelihood.batch_size": 256,
}
VE = {
    "sde.name": "ve",
    "model.sigma_max": 20.0,  # some ten times the largest value
    "sampling.eps": 1e-5,
}
VARIANTS: dict[str, tuple[Change, ...]] = {"vp": (), "subvp": ({"sde.name": "subvp"},), "ve": (VE,)}


def get_config(name: str = "vp"):
    """A mixture whose score is exact, under the process that the variant names."""
    return changed(default_config(), MIXTURE, *variant(name, VARIANTS))
