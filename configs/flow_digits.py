"""Flow matching on 8x8 digits: the straight path from an image to its noise, and the network gives the velocity along it.

python main.py --config configs/flow_digits.py --mode train

The variant :mean_flow trains the velocity's average over any interval, by which --sampler mean_flow draws in one step.
"""

from score_sde.configs.digits import digits_config
from score_sde.configs.variants import Change, changed, variant

MEAN_FLOW = {
    "training.task": "mean_flow",
    "model.condition_interval": True,
    "sampling.sampler": "mean_flow",
    "training.snapshot_steps": 0,
    # Some 7 minutes on two cores: an update is four to five evaluations of the network, one of the score's three.
    "training.n_iters": 2200,
    "model.ema_rate": 0.997,
    "tradeoff.samplers": "mean_flow: 1 2 4, dopri5 adaptive: 0.001",
}
VARIANTS: dict[str, tuple[Change, ...]] = {"velocity": (), "mean_flow": (MEAN_FLOW,)}


def get_config(name: str = "velocity"):
    """Digits along the straight path, with the velocity's squared error or MeanFlow's."""
    flow = {"training.weighting": "flow"}
    return changed(digits_config("linear"), flow, *variant(name, VARIANTS))
