"""Flow matching on 8x8 digits: the straight path from an image to its noise, and the network gives the velocity along it.

python main.py --config configs/flow_digits.py --mode train
"""

from score_sde.configs.digits import digits_config
from score_sde.configs.variants import changed


def get_config():
    """Digits along the straight path, with the velocity's squared error."""
    return changed(digits_config("linear"), {"training.weighting": "flow"})
