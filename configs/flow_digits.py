"""Flow matching on 8x8 digits: straight paths from images to noise, with a network that predicts the velocity.

python main.py --config configs/flow_digits.py --mode train

The variant :mean_flow learns the average velocity over any interval, with which --sampler mean_flow draws in one step.
"""

from score_sde.configs.digits import digits_config
from score_sde.configs.variants import Change, changed, variant

MEAN_FLOW = {
    "training.task": "mean_flow",
    "model.condition_interval": True,
    "sampling.sampler": "mean_flow",
    "training.snapshot_steps": 0,
    # About 7 minutes on two cores: an update costs four to five network evaluations, and one of the score three.
    "training.n_iters": 2200,
    "model.ema_rate": 0.997,
    "tradeoff.samplers": "mean_flow: 1 2 4, dopri5 adaptive: 0.001",
}
VARIANTS: dict[str, tuple[Change, ...]] = {"velocity": (), "mean_flow": (MEAN_FLOW,)}


def get_config(name: str = "velocity"):
    """Digits along straight paths, trained with the squared error of the velocity or the loss of MeanFlow."""
    flow = {"training.weighting": "flow"}
    return changed(digits_config("linear"), flow, *variant(name, VARIANTS))
