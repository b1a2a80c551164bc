"""A configuration for a folder of your own pictures at 32 pixels: a small network that trains on a laptop in a quarter of an hour.

python main.py --config examples/own_images.py --config.data.folder=pictures/ --mode data
python main.py --config examples/own_images.py --config.data.folder=pictures/ --mode train
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import changed

OWN_IMAGES = {
    "sde.name": "subvp",
    "data.name": "folder",
    "data.image_size": 32,
    "data.num_channels": 3,
    "data.resize": True,  # crop and downsample larger pictures
    "data.random_flip": True,
    "model.resblock_type": "ddpm",
    "model.nf": 16,
    "model.ch_mult": (1, 2, 4),  # 32, 16 and 8 pixels
    "model.num_res_blocks": 1,
    "model.attn_resolutions": (8,),
    "model.dropout": 0.0,
    "model.ema_rate": 0.995,
    "optim.lr": 2e-3,
    "optim.warmup": 100,
    "optim.decay": "cosine",
    "training.batch_size": 32,
    "training.n_iters": 1500,
    "training.log_freq": 25,
    "training.eval_freq": 500,
    "training.checkpoint_freq": 500,
    "training.snapshot_freq": 500,
    "training.snapshot_steps": 10,
    "sampling.num_images": 64,
    "sampling.ode.rtol": 1e-3,
    "sampling.ode.atol": 1e-3,
    "likelihood.rtol": 1e-3,
    "likelihood.atol": 1e-3,
}


def get_config() -> ConfigDict:
    """Pictures in config.data.folder with sub-VP."""
    return changed(default_config(), OWN_IMAGES)
