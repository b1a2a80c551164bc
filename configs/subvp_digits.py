"""Sub-VP on 8x8 digits, the best likelihoods of the three; what `make demo` runs.

python main.py --config configs/subvp_digits.py --mode train

The variant :likelihood trains for the likelihood, and longer; :conditional tells the network which digit an image is.
"""

from ml_collections import ConfigDict

from score_sde.configs.digits import digits_config
from score_sde.configs.variants import apply_variant


def fast(config: ConfigDict) -> None:
    del config  # as configs/digits.py has it


def likelihood(config: ConfigDict) -> None:
    config.model.dropout = 0.1
    config.model.ema_rate = 0.999
    config.optim.lr = 2e-3
    training = config.training
    training.weighting = "likelihood"
    training.times = "log_snr"
    training.draws = "low_discrepancy"
    # sigma is 1.1e-4 there, a thousandth of a grey level
    training.eps = config.likelihood.eps = 1e-3
    training.n_iters = 12_000
    # Error bars of the measurement that are far below those over images
    config.likelihood.probe = "orthogonal"
    config.likelihood.num_probes = 4
    config.likelihood.bound_draws = 256
    training.eval_freq = 1000
    training.checkpoint_freq = 2000
    training.snapshot_freq = 6000


def conditional(config: ConfigDict) -> None:
    config.model.num_classes = 10
    config.training.label_dropout = 0.1
    config.sampling.num_images = config.sampling.batch_size = 100


VARIANTS = {"fast": (fast,), "likelihood": (likelihood,), "conditional": (conditional,)}


def get_config(variant: str = "fast") -> ConfigDict:
    config = digits_config("subvp")
    apply_variant(config, variant, VARIANTS)
    return config
