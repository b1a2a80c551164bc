"""VP on 8x8 digits.

python main.py --config configs/vp_digits.py --mode train
"""

from score_sde.configs.digits import digits_config


def get_config():
    """Digits with VP."""
    return digits_config("vp")
