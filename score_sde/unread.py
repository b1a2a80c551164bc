"""Flags and fields given on the command line that the mode would ignore: refused or named in a note; a configuration file may have them for other modes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from score_sde.errors import UserError
from score_sde.samplers.names import SECTIONS

DRAWING = ("sample", "evaluate", "interpolate", "restore")  # modes that draw by config.sampling
WEIGHTS = ("checkpoint_step", "ema_sigma_rel", "adapters", "adapter_scales")
FILES = ("sampling.save", "sampling.path_images")
INSTEAD_OF_SAMPLES = {
    "evaluate": "keeps none",
    "tradeoff": "keeps none",
    "interpolate": "writes its frames as arrays and a picture",
}
# Read of images that are not drawn now too: the classes to measure, and whose numbers these have.
OF_CLASSES = ("sampling.labels", "sampling.guidance.classifier")


def refuse_unread(mode: str, images: str, given: Sequence[str], sampler: str | None) -> None:
    """Refuse what chooses the weights or the sampler of images that are not drawn, or the form of samples that are not written.

    Raises:
      UserError: names the first, and says what to do.
    """
    if mode not in INSTEAD_OF_SAMPLES:
        return
    for name in given:
        if name in FILES:
            raise UserError(
                f"--config.{name} goes with --mode sample, which writes samples; --mode {mode} {INSTEAD_OF_SAMPLES[mode]}: leave it out"
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


def unread_fields(mode: str, given: Iterable[str], config: Any) -> str:
    """A note on the given fields of config.sampling that nothing reads in this mode with this config; "" if there are none.

    None for modes that do not sample and for training, from whose config.json later commands take them.
    """
    sampling, given = config.sampling, list(dict.fromkeys(given))
    own, reader = SECTIONS.get(sampling.sampler), f"sampling.sampler={sampling.sampler!r}"
    if mode == "tradeoff":
        return by_the_list(given)
    if mode not in DRAWING or own is None:
        return ""
    own_sampler = mode == "restore" and has_own_sampler(config.restore.method)
    if own_sampler:
        own, reader = "pc", f"restore.method={config.restore.method!r}"
    others = {f"sampling.{name}" for name in SECTIONS.values()}
    unread = [name for name in given if name.rpartition(".")[0] in others - {f"sampling.{own}"}]
    notes = []
    if unread:
        notes.append(f"{reader} ignores {', '.join(unread)}: it reads sampling.{own} instead")
    # restoration/methods.py names those of `pc` that a method's own sampler does not use.
    for setting, fields in () if own_sampler else idle_fields(sampling, own):
        idle = [name for name in given if name in fields]
        if idle:
            notes.append(f"with {setting} nothing reads {', '.join(idle)}")
    return f"note: {'; '.join(notes)}" if notes else ""


def idle_fields(sampling: Any, own: str) -> Iterator[tuple[str, set[str]]]:
    """Yield settings of a sampler with section `own`, each with the fields that have no effect under it."""
    steps = sampling[own].get("steps")
    if steps == "adaptive":
        yield f"sampling.{own}.steps=adaptive", {"sampling.grid.name", "sampling.grid.rho"}
    if steps == "grid":
        of_adaptive = {f"sampling.{own}.{name}" for name in ("rtol", "atol", "step_size")}
        yield f"sampling.{own}.steps=grid", of_adaptive
    of_corrector = {"sampling.snr", "sampling.n_steps_each"}
    if own != "pc":
        yield f"sampling.sampler={sampling.sampler}", of_corrector
    elif sampling.pc.corrector == "none":
        yield "sampling.pc.corrector=none", of_corrector


def has_own_sampler(method: str) -> bool:
    """Whether a restoration method has a sampler of its own, with options of sampling.pc; not if it is unknown."""
    from score_sde.restoration.methods import METHODS  # which imports JAX

    return method in METHODS and METHODS[method].sampler is not None


def by_the_list(given: Iterable[str]) -> str:
    """A note on the given fields that --mode tradeoff sets itself for each sampler of its list; "" if there are none."""
    from score_sde.samplers.entries import set_by_entries  # which imports JAX

    unread = [name for name in given if name.removeprefix("sampling.") in set_by_entries()]
    if not unread:
        return ""
    return (
        f"note: --mode tradeoff ignores {', '.join(unread)}: its samplers, steps and tolerances are those of tradeoff.samplers, grid, "
        "evaluations and tolerances"
    )
