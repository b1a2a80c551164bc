"""Figures of sample quality by which checkpoints are compared (training.keep_best_by): which fields they depend on."""

from __future__ import annotations

from typing import Any

QUALITY = ("frechet", "frechet_limit")
"""Of training.keep_best_by, those that samples decide."""

# Fields, or sections.
ALWAYS = (
    "evaluation.features", "evaluation.reference", "evaluation.num_reference",
    "training.quality_images", "training.quality_steps",
    "sampling.eps", "sampling.labels", "sampling.text", "sampling.guidance", "sampling.threshold", "sampling.threshold_quantile",
    "sampling.truncate", "sampling.one_by_one", "sampling.noise_removal",
)  # fmt: skip
# Of the sampler that the config names, which training.quality_steps replaces by UniPC.
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
"""Of all others."""


def is_judged_by(field: str, config: dict[str, Any]) -> bool:
    """Whether another value of this dotted field would give other figures under this config, as values of JSON."""
    decisive: tuple[str, ...] = ALWAYS
    if not config["training"]["quality_steps"]:
        decisive += CONFIGURED + FIELDS_OF.get(config["sampling"]["sampler"], EXPONENTIAL)
    return any(field == name or field.startswith(f"{name}.") for name in decisive)
