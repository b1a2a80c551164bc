"""config.evaluation."""

from __future__ import annotations

import dataclasses

from score_sde.options import Section, at_least, count, option


@dataclasses.dataclass(frozen=True)
class EvaluationOptions(Section):
    """--mode evaluate: how good images are, by their features beside those of real ones."""

    images: str = option(
        "",
        "what is evaluated: empty for samples drawn now, as config.sampling says; train | test: the real images of a split; or an "
        ".npz file with `images`, levels as --mode sample writes them",
    )
    reference: str = option(
        "train",
        "the real images beside which they are held: train | test, or an .npz file with `images`",
    )
    num_reference: int = option(
        0, "so many of the reference, from the first on; 0: all", at_least(0)
    )
    features: str = option(
        "pixels",
        "pixels, in [0, 1] where they are levels; or the file with the weights of FID's Inception (pt_inception-2015-12-05-6726825d.pth)",
    )
    neighbours: int = option(
        5, "k of precision, recall, density and coverage, whose balls reach to it", count(1000)
    )
