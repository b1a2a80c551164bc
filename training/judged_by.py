"""The config fields that affect the figures of sample quality by which checkpoints are ranked (training.keep_best_by)."""

from __future__ import annotations

from typing import Any

QUALITY = ("frechet", "frechet_limit")
"""The values of training.keep_best_by that are measured on samples."""

# Fields or sections that always matter.
ALWAYS = (
    "evaluation.features", "evaluation.reference", "evaluation.num_reference",
    "training.quality_images", "training.quality_steps",
    "sampling.eps", "sampling.labels", "sampling.text", "sampling.guidance", "sampling.threshold", "sampling.threshold_quantile",
    "sampling.truncate", "sampling.one_by_one", "sampling.noise_removal",
)  # fmt: skip
# Where the condition images of samples come from, which matters for a network conditioned on them.
IMAGES = ("condition.images", "condition.cascade", "condition.noise")
# Fields of the configured sampler, which matter unless training.quality_steps replaces it by UniPC.
CONFIGURED = ("sampling.sampler", "sampling.grid", "sampling.noise_removal_by")
STEPS_OF_PC = ("sampling.pc", "sampling.snr", "sampling.n_steps_each")
FIELDS_OF = {
    "pc": STEPS_OF_PC,
    "pc_published": STEPS_OF_PC,
    "ode": ("sampling.ode",),
    "sde": ("sampling.sde",),
    "edm": ("sampling.edm",),
    "consistency": ("sampling.few_steps",),
    "mean_flow": ("sampling.few_steps",),
}
EXPONENTIAL = ("sampling.exponential",)
"""The fields of all other samplers."""


def is_judged_by(field: str, config: dict[str, Any]) -> bool:
    """Whether the value of this dotted field affects the figures under this config, given as a dict of JSON values."""
    decisive: tuple[str, ...] = ALWAYS
    if config["model"]["condition_image"] != "none":
        decisive += IMAGES
    if not config["training"]["quality_steps"]:
        decisive += CONFIGURED + FIELDS_OF.get(config["sampling"]["sampler"], EXPONENTIAL)
    return any(field == name or field.startswith(f"{name}.") for name in decisive)
