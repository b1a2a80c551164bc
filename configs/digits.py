"""Common settings for digits, captions and shapes: a DDPM++ that trains in minutes on a laptop, on the 8x8 UCI digits."""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import changed

DIGITS = {
    "data.name": "digits",
    "data.num_levels": 17,
    "model.nf": 32,
    "model.ch_mult": (1, 2),
    "model.num_res_blocks": 1,
    "model.attn_resolutions": (4,),
    "model.dropout": 0.0,
    "model.ema_rate": 0.995,
    "optim.lr": 4e-3,
    "optim.warmup": 100,
    "optim.decay": "cosine",
    "training.batch_size": 64,
    "training.n_iters": 1300,
    "training.log_freq": 25,
    "training.eval_freq": 325,
    "training.checkpoint_freq": 650,
    "training.snapshot_freq": 650,
    # Steps of the fast sampler: with the 200 steps of sampling.pc, two pictures would take a tenth of the run.
    "training.snapshot_steps": 10,
    # Looser tolerances than the defaults, and four to seven times faster: for the trained sub-VP network they change the mean
    # bits/dim of the test images by 0.002, a seventh of its standard error.
    "sampling.ode.rtol": 1e-3,
    "sampling.ode.atol": 1e-3,
    "likelihood.rtol": 1e-3,
    "likelihood.atol": 1e-3,
    "sampling.pc.num_steps": 200,
    "likelihood.batch_size": 100,
}


def digits_config(sde: str) -> ConfigDict:
    """The configuration for the digits with the process of this name."""
    return changed(default_config(), DIGITS, {"sde.name": sde})
