"""EDM on FFHQ at 64 pixels (Karras et al. 2022).

  python main.py --config configs/edm_ffhq.py --mode train --config.data.folder=FFHQ

Variants (published FID with 79 evaluations, trained on augmented images): ddpmpp (default, 2.39), ncsnpp (2.53). Not trained with this
code.

Data: a folder of the FFHQ images, PNG or JPEG. Published: 8 V100, 4 days.
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.edm_cifar import DDPMPP, EDM, NCSNPP
from score_sde.configs.variants import Change, changed, variant

FFHQ = {
    "data.name": "folder",
    "data.image_size": 64,
    "data.resize": True,
    "data.resample": "box",
    "model.ch_mult": (1, 2, 2, 2),
    "model.dropout": 0.05,
    "model.ema_rate": 0.99965,
    "training.batch_size": 256,
    "training.augment": 0.15,
    "training.n_iters": 781_250,
    "optim.lr": 2e-4,
    "optim.warmup": 39_062,
    "sampling.edm.num_steps": 39,
}
VARIANTS: dict[str, tuple[Change, ...]] = {"ddpmpp": (DDPMPP,), "ncsnpp": (NCSNPP,)}


def get_config(name: str = "ddpmpp") -> ConfigDict:
    """EDM on FFHQ at 64 pixels; the variant sets the network."""
    return changed(default_config(), EDM, FFHQ, *variant(name, VARIANTS))
