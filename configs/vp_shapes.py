"""Segmentation by diffusion of masks: discs and squares of 16x16 pixels, as analog bits, given the picture.

python main.py --config configs/vp_shapes.py --mode train
python -m benchmarks.segmentation --workdir runs/vp_shapes
"""

from ml_collections import ConfigDict

from score_sde.configs.digits import digits_config
from score_sde.configs.variants import changed

SHAPES = {
    "data.name": "shapes",
    "data.image_size": 16,
    "data.num_channels": 2,
    "data.num_levels": 2,
    "data.uniform_dequantization": False,
    "model.condition_image": "paired",
    "model.condition_channels": 1,
    "model.predicts": "velocity",
    "model.nf": 16,
    "model.ch_mult": (1, 2),
    "model.attn_resolutions": (),
    "model.ema_rate": 0.99,
    "optim.lr": 8e-3,
    "optim.warmup": 200,
    # Many small batches: at equal cost the held-out loss falls faster than with fewer batches of 32.
    "training.batch_size": 16,
    "training.n_iters": 9000,
    "training.eval_freq": 1500,
    "training.checkpoint_freq": 1500,
    "training.snapshot_freq": 0,
    "sampling.sampler": "ddim",
    "sampling.exponential.num_steps": 10,
    "sampling.grid.name": "log_snr",
}


def get_config() -> ConfigDict:
    """Masks of discs and squares with VP, and a network conditioned on the picture."""
    return changed(digits_config("vp"), SHAPES)
