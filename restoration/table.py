"""The figures of restored images as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from score_sde.restoration.figures import CONFIDENCE, LEVELS
from score_sde.restoration.methods import METHODS

LINES = {
    "psnr_mean": "PSNR of the mean, dB",
    "psnr_draw": "  of a draw",
    "ssim_mean": "SSIM of the mean",
    "ssim_draw": "  of a draw",
    "rms_mean": "rms error of the mean",
    "rms_draw": "  of a draw",
    "residual_draw": "|y - A x| of a draw, {units}",
    "residual_mean": "  of the mean",
    "residual_original": "  of the original",
    "largest_pixel": "largest pixel of a draw, 1 at the range's ends",
}

NOISY = "note: |y - A x| is expected to be 1 sigma_y on average for posterior draws, as for the originals, and less for their mean"
EXACT = (
    "note: without noise |y - A x| should be 0 up to rounding and the noise left at sampling.eps"
)
OF_MIDDLE = (
    "note: y measures images at the middle of each level, as in training, while x has dequantization noise if the data do: |y - A x| is "
    "expected to be the same on average for posterior draws and originals"
)
FAR = 1.5
"""Largest pixel, over half the range, from which draws are certainly wrong; those of a good sampler stay below 1.1 or so."""


def title(figures: Mapping[str, Any]) -> str:
    """One line with the images, the measurement and the method."""
    what = figures["measured"] or figures["images"]
    by = figures["method"]
    if figures["sampler"] != by:
        by += f" with {figures['sampler']}"
    return (
        f"{figures['num_images']} images ({what}), {figures['draws']} draws of each by {by}, given "
        f"{measured(figures)} with sigma_y={figures['sigma_y']:g}"
    )


def measured(figures: Mapping[str, Any]) -> str:
    """The measurement with its options, as text."""
    start = "measurement_"
    fields = {k.removeprefix(start): of for k, of in figures.items() if k.startswith(start)}
    words = ", ".join(f"{name}={of}" for name, of in fields.items() if of not in ("", ()))
    return figures["measurement"] + (f" ({words})" if words else "")


def table(figures: Mapping[str, Any]) -> str:
    """All figures as text, with their expected values."""
    noisy = figures["sigma_y"] > 0
    units = "in sigma_y" if noisy else "rms"
    lines = {name: line.format(units=units) for name, line in LINES.items() if name in figures}
    width = max(map(len, lines.values()))
    rows = [
        f"{line:<{width}}  {figures[name]:>9.5g}{standard_error(figures, name)}"
        for name, line in lines.items()
    ]
    plain = NOISY if noisy else EXACT
    expected = OF_MIDDLE if METHODS[figures["method"]].trained else plain
    cost = f"{figures['nfe']:.6g} evaluations of the network per draw"
    if figures["jacobian_products"]:
        cost += f" and {figures['jacobian_products']:.6g} products with its Jacobian"
    if "effective_particles" in figures:
        cost += (
            f"\n{figures['effective_particles']:.3g} of {figures['particles']} particles are effective where they are fewest, on average over the "
            "draws; TDS is exact for many"
        )
    rest = [*calibrated(figures), *out_of_range(figures)]
    return "\n".join([title(figures), "", *rows, "", cost, expected, *rest])


def out_of_range(figures: Mapping[str, Any]) -> list[str]:
    """A warning if a pixel is far out of the range."""
    if figures.get("largest_pixel", 0.0) <= FAR:
        return []
    remedy = "sampling.threshold=static" if figures["threshold"] == "none" else "more steps"
    return [
        "warning: draws have pixels far out of the range of the data, which PSNR, SSIM and the picture do not show, since they are clipped; try "
        + remedy
    ]


def standard_error(figures: Mapping[str, Any], name: str) -> str:
    """The standard error of a mean over images; empty for one image, and for a maximum."""
    error = figures.get(f"{name}_error")
    return "" if error is None or figures["num_images"] == 1 else f" +- {error:.2g}"


def calibrated(figures: Mapping[str, Any]) -> list[str]:
    """Lines on the ranks and the coverage; none if they were not measured."""
    if "ranks_p_value" not in figures:
        return []
    found = [
        f"ranks of the originals among the draws (SBC), {len(figures['ranks_p_values'])} figures: p = {figures['ranks_p_value']:.2g}, "
        f"smallest for {figures['ranks_worst']}: {verdict(figures['ranks_p_value'])}"
    ]
    if "coverage_p_value" in figures:
        parts = [
            f"{figures[f'coverage_{name}']:.1%} in a ball of {figures[f'coverage_{name}_credibility']:.1%} of the draws "
            f"(band {' to '.join(f'{end:.1%}' for end in figures[f'coverage_{name}_band'])})"
            for name in LEVELS
        ]
        p_value = figures["coverage_p_value"]
        found.append(f"coverage (TARP): {', '.join(parts)}; p = {p_value:.2g}: {verdict(p_value)}")
    return found


def verdict(p_value: float) -> str:
    """What a p-value says about calibration, in words."""
    if p_value > 1 - CONFIDENCE:
        return "consistent with calibration"
    return "not calibrated"
