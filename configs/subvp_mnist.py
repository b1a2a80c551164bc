"""Sub-VP on 5,000 digits of MNIST at 32 pixels, conditioned on the class, in less than an hour on two cores.

pip install -e '.[images]'
python main.py --config configs/subvp_mnist.py --mode train --cpu_devices=2

The 28 pixels are padded by two black ones on each side, since 32 can be halved five times but 28 only twice. That is enough for this
network, so --config.data.pad=0 --config.data.image_size=28 --config.model.attn_resolutions='(7,)' trains without padding.
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import changed

MNIST = {
    "sde.name": "subvp",
    "data.name": "mnist5k",
    "data.image_size": 32,
    "data.pad": 2,
    "model.resblock_type": "ddpm",
    "model.nf": 16,
    "model.ch_mult": (1, 2, 4),
    "model.num_res_blocks": 1,
    "model.attn_resolutions": (8,),
    "model.dropout": 0.0,
    "model.ema_rate": 0.999,
    "model.num_classes": 10,
    "optim.lr": 2e-3,
    "optim.warmup": 200,
    "optim.decay": "cosine",
    "training.batch_size": 32,
    "training.n_iters": 6500,
    "training.label_dropout": 0.1,
    "training.log_freq": 50,
    "training.eval_freq": 1300,
    "training.checkpoint_freq": 1300,
    "training.snapshot_freq": 3250,
    "training.snapshot_steps": 10,
    "sampling.num_images": 100,
    "sampling.batch_size": 100,
    "sampling.ode.rtol": 1e-3,
    "sampling.ode.atol": 1e-3,
    "likelihood.rtol": 1e-3,
    "likelihood.atol": 1e-3,
    "likelihood.batch_size": 100,
}


def get_config() -> ConfigDict:
    """MNIST at 32 pixels with sub-VP, class-conditional."""
    return changed(default_config(), MNIST)
