"""Sub-VP on 8x8 digits, the best likelihoods of the three; what `make demo` runs.

python main.py --config configs/subvp_digits.py --mode train
"""

from configs.digits import digits_config


def get_config():
    return digits_config("subvp")
