"""Images from text: one, two or three coloured squares or discs, 16x16 pixels, drawn given a caption "two red squares".

python main.py --config configs/vp_captions.py --mode train
python main.py --config configs/vp_captions.py --mode sample --config.sampling.text="two red squares"
python main.py --config configs/vp_captions.py --mode evaluate --config.sampling.num_images=360
"""

from ml_collections import ConfigDict

from score_sde.configs.digits import digits_config
from score_sde.configs.variants import changed

CAPTIONS = {
    "data.name": "captions",
    "data.image_size": 16,
    "data.num_channels": 3,
    "data.num_levels": 2,
    "data.uniform_dequantization": False,
    # In the order of the indices in data/captions.py.
    "model.words": "one two three red green blue square disc squares discs",
    "model.predicts": "velocity",
    "model.attn_resolutions": (8,),
    "training.label_dropout": 0.1,
    "training.n_iters": 3000,
    "training.eval_freq": 1000,
    "training.checkpoint_freq": 500,
    "training.snapshot_freq": 1000,
    "optim.lr": 2e-3,
    "sampling.sampler": "ddim",
    "sampling.exponential.num_steps": 20,
    "sampling.grid.name": "log_snr",
    # A multiple of the number of captions, which take turns, so that each has the same number of images.
    "sampling.num_images": 72,
    "sampling.batch_size": 72,
    "evaluation.features": "pixels",
}


def get_config() -> ConfigDict:
    """Captioned shapes with VP, and a network conditioned on the text."""
    return changed(digits_config("vp"), CAPTIONS)
