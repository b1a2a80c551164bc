"""VE on 8x8 digits: images in [0, 1], and a network that predicts the score from x and sigma.

python main.py --config configs/ve_digits.py --mode train
"""

from score_sde.configs.digits import digits_config


def get_config():
    """Digits in [0, 1] with VE."""
    config = digits_config("ve")
    config.data.centered = False
    model = config.model
    model.sigma_max = 5.0  # the largest distance between two digits is 4.5
    model.embedding_type = "fourier"
    model.scale_by_sigma = True
    config.sampling.eps = 1e-5
    config.sampling.pc.predictor = "reverse_diffusion"
    config.sampling.pc.corrector = "langevin"
    return config
