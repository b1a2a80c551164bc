"""Sub-VP on colour patches of six photographs, at 16 pixels, for restoring colours: half an hour on two cores.

pip install -e '.[images]'
python main.py --config configs/subvp_patches.py --mode train
python main.py --config configs/subvp_patches.py --mode restore --config.restore.measurement.name=grey
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import changed

PATCHES = {
    "sde.name": "subvp",
    "data.name": "photo_patches",
    "data.image_size": 16,
    "data.num_channels": 3,
    "data.resize": True,
    "model.resblock_type": "ddpm",
    "model.nf": 32,
    "model.ch_mult": (1, 2, 2),
    "model.num_res_blocks": 1,
    "model.attn_resolutions": (8,),
    "model.dropout": 0.0,
    "model.ema_rate": 0.999,
    "optim.lr": 2e-3,
    "optim.warmup": 200,
    "optim.decay": "cosine",
    "training.batch_size": 32,
    "training.n_iters": 4000,
    "training.log_freq": 50,
    "training.eval_freq": 1000,
    "training.checkpoint_freq": 1000,
    "training.snapshot_freq": 2000,
    "training.snapshot_steps": 10,
    "sampling.pc.num_steps": 200,
    "sampling.grid.name": "log_snr",
    "sampling.ode.rtol": 1e-3,
    "sampling.ode.atol": 1e-3,
    "likelihood.rtol": 1e-3,
    "likelihood.atol": 1e-3,
    "likelihood.batch_size": 100,
    "restore.num_images": 12,
}


def get_config() -> ConfigDict:
    """Patches of photographs at 16 pixels with sub-VP."""
    return changed(default_config(), PATCHES)
