"""Flags and fields given on the command line that --mode evaluate or tradeoff would ignore; a configuration file may have them for other modes."""

from __future__ import annotations

from collections.abc import Sequence

from score_sde.errors import UserError

WEIGHTS = ("checkpoint_step", "ema_sigma_rel", "adapters", "adapter_scales")
FILES = ("sampling.save", "sampling.path_images")
# Read of images that are not drawn now too: the classes to measure, and whose numbers these have.
OF_CLASSES = ("sampling.labels", "sampling.guidance.classifier")


def refuse_unread(mode: str, images: str, given: Sequence[str], sampler: str | None) -> None:
    """Refuse what chooses the weights or the sampler of images that are not drawn, or the form of samples that are not written.

    Raises:
      UserError: names the first, and says what to do.
    """
    if mode not in ("evaluate", "tradeoff"):
        return
    for name in given:
        if name in FILES:
            raise UserError(
                f"--config.{name} goes with --mode sample, which writes samples; --mode {mode} keeps none: leave it out"
            )
    if mode != "evaluate" or not images:
        return
    chosen = [f"--config.{name}" for name in given if name in WEIGHTS]
    for name in [*([] if sampler is None else [f"--sampler={sampler}"]), *chosen]:
        raise UserError(
            f"{name} with evaluation.images={images!r}, which is measured as it is, without a network: leave out one of the two"
        )


def unread_beside_images(images: str, given: Sequence[str]) -> str:
    """A note on the given fields of sampling, of which evaluation.images needs none; "" if there are none."""
    unread = [name for name in given if name.startswith("sampling.") and name not in OF_CLASSES]
    if not unread:
        return ""
    return f"note: evaluation.images={images!r} is measured as it is, without {', '.join(dict.fromkeys(unread))}"
