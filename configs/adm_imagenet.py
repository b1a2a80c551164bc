"""ADM on ImageNet (Dhariwal & Nichol 2021): the networks of the paper, trained to predict the mean only.

  python main.py --config configs/adm_imagenet.py:64 --mode train --config.data.folder=IMAGENET

Variants (published FID): 64 (2.07), 128 (2.97 with classifier guidance), 256 (4.59 with guidance), 256_uncond, which is unconditional.
Numbers of updates and learning rates are those of appendix I of the paper. Not trained with this code: tests check the number of
parameters of each variant. The published networks have twice the output channels, for a variance; these predict the noise only, and
their label may also be "no class", which replaces separate unconditional networks. A variant with _published after its name is the
network of OpenAI's file, on its chain of 1000 levels and without an unconditional mode:

  python main.py --config configs/adm_imagenet.py:64_published --mode import --source 64x64_diffusion.pt

Data: IMAGENET/train/CLASS/*.JPEG and IMAGENET/test/CLASS/*.JPEG.
"""

from ml_collections import ConfigDict

from score_sde.configs.default import get_config as default_config
from score_sde.configs.variants import Change, changed, variant

COMMON = {
    "data.name": "folder",
    "data.num_channels": 3,
    "data.resize": True,
    "data.resample": "box",
    "data.random_flip": True,
    "data.uniform_dequantization": False,
    "sde.name": "vp",
    "model.name": "adm",
    "model.nf": 256,
    "model.num_res_blocks": 2,
    "model.attn_resolutions": (32, 16, 8),
    "model.dropout": 0.0,
    "training.batch_size": 256,
    "optim.lr": 1e-4,
    "optim.warmup": 0,
    "optim.grad_clip": -1.0,
}
CLASSES = {"model.num_classes": 1000, "training.label_dropout": 0.1}
PIXELS_64 = {
    "data.image_size": 64,
    "sde.name": "cosine",
    "model.nf": 192,
    "model.ch_mult": (1, 2, 3, 4),
    "model.num_res_blocks": 3,
    "model.dropout": 0.1,
    "training.batch_size": 2048,
    "training.n_iters": 540_000,
    "optim.lr": 3e-4,
}
PIXELS_128 = {
    "data.image_size": 128,
    "model.ch_mult": (1, 1, 2, 3, 4),
    "model.head_channels": 0,
    "model.num_heads": 4,
    "training.n_iters": 4_360_000,
}
PIXELS_256 = {
    "data.image_size": 256,
    "model.ch_mult": (1, 1, 2, 2, 4, 4),
    "training.n_iters": 1_980_000,
}
# Settings of the published files: https://github.com/openai/guided-diffusion, README.
PUBLISHED = {
    "model.learned_variance": True,
    "training.continuous": False,
    "training.label_dropout": 0.0,
}
QKV_FIRST = {"model.attention_order": "qkv_first"}
VARIANTS: dict[str, tuple[Change, ...]] = {
    "64": (PIXELS_64, CLASSES),
    "128": (PIXELS_128, CLASSES),
    "256": (PIXELS_256, CLASSES),
    "256_uncond": (PIXELS_256,),
    "64_published": (PIXELS_64, CLASSES, PUBLISHED, QKV_FIRST),
    "128_published": (PIXELS_128, CLASSES, PUBLISHED),
    "256_published": (PIXELS_256, CLASSES, PUBLISHED),
    "256_uncond_published": (PIXELS_256, PUBLISHED),
}


def get_config(name: str = "64") -> ConfigDict:
    """ADM on ImageNet; the variant sets the resolution and whether the network is class-conditional."""
    return changed(default_config(), COMMON, *variant(name, VARIANTS))
