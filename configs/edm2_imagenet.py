"""EDM2 on ImageNet at 64 pixels (Karras et al. 2024b): network, loss, learning rate and averages, from XXS to XXL.

  python main.py --config configs/edm2_imagenet.py:s --mode train --config.data.folder=IMAGENET

Variants: xxs, xs, s (default), m, l, xl, xxl. For images of 64 pixels the paper has S to XL (FID of XL 1.33 with Heun's method in 63
evaluations; it states none for smaller networks). For latents it has XXS to XXL, whose learning rates and dropout are used for the sizes
without a setting at 64 pixels, with as many updates as S. Labels are never dropped: the published guidance uses a second, smaller network
(sampling.guidance.worse). Not trained with this code: tests check the number of parameters of each, and the outputs and six updates of a
small network against the published code.

Data: IMAGENET/train/CLASS/*.JPEG and IMAGENET/test/CLASS/*.JPEG.
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.edm_cifar import EDM
from score_sde.configs.variants import Change, changed, variant

EDM2 = EDM | {
    "data.name": "folder",
    "data.image_size": 64,
    "data.resize": True,
    "data.resample": "box",
    "model.name": "edm2",
    "model.ch_mult": (1, 2, 3, 4),
    "model.num_res_blocks": 3,
    "model.attn_resolutions": (16, 8),
    "model.dropout": 0.0,
    "model.num_classes": 1000,
    "training.learned_uncertainty": True,
    "training.log_normal_mean": -0.8,
    "training.log_normal_std": 1.6,
    "training.batch_size": 2048,
    # 2^30 images.
    "training.n_iters": 524_288,
    "training.ema.sigma_rel": (0.05, 0.1),
    # The learning rate rises over the first 10 million images.
    "optim.beta2": 0.99,
    "optim.warmup": 4_883,
    "optim.decay": "inverse_sqrt",
    "optim.decay_after": 35_000,
    "sampling.edm.num_steps": 31,
}
DROPOUT: Change = {"model.dropout": 0.1}
VARIANTS: dict[str, tuple[Change, ...]] = {
    "xxs": ({"model.nf": 64, "optim.lr": 0.017},),
    "xs": ({"model.nf": 128, "optim.lr": 0.012},),
    "s": ({"model.nf": 192, "optim.lr": 0.01},),
    "m": ({"model.nf": 256, "optim.lr": 0.009, "training.n_iters": 1_048_576}, DROPOUT),
    "l": ({"model.nf": 320, "optim.lr": 0.008}, DROPOUT),
    "xl": ({"model.nf": 384, "optim.lr": 0.007, "training.n_iters": 327_680}, DROPOUT),
    "xxl": ({"model.nf": 448, "optim.lr": 0.0065}, DROPOUT),
}


def get_config(name: str = "s") -> ConfigDict:
    """EDM2 on ImageNet; the variant is the size of the network."""
    return changed(default_config(), EDM2, *variant(name, VARIANTS))
