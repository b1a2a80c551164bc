"""A measured set of images at a glance: the histogram of bits/dim, and the least and the most likely images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from score_sde.likelihood.bits_per_dim import BitsPerDim

EXTREMES = 12  # images of either kind


def save_likelihood_picture(path: Path, measured: BitsPerDim, images: np.ndarray) -> None:
    """Write the picture in one piece.

    Args:
      images: (n, h, w, c) of any range, those that were measured; c = 1 or 3.
    """
    # Not at the top: matplotlib takes a second, which no other mode should wait for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    halves = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.25))[0]
    draw_histogram(halves[0].subplots(), measured)
    count = min(EXTREMES, max(1, len(images) // 2))
    order = np.argsort(measured.best.per_image)
    draw_rows(halves[1], images, measured.best.per_image, order[:count], order[::-1][:count])
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=110)
    partial.replace(path)


def draw_histogram(axes, measured: BitsPerDim) -> None:
    """Histograms of the images' bits/dim, ODE and bound."""
    shown = measured.by_name
    everything = np.concatenate([value.per_image for value in shown.values()])
    # Some 30 bars for 300 images: the cube root rule
    bins = np.linspace(
        everything.min(), everything.max(), 2 + round(4 * len(everything) ** (1 / 3))
    )
    for k, (name, value) in enumerate(shown.items()):
        axes.hist(value.per_image, bins, histtype="step", label=name, color=f"C{k}", linewidth=1.5)
        axes.axvline(value.mean, color=f"C{k}", linestyle=":")
    axes.set_xlabel("bits/dim of an image")
    axes.set_ylabel("images")
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)


def draw_rows(figure, images: np.ndarray, costs: np.ndarray, low: np.ndarray, high: np.ndarray):
    """Two blocks of pictures, each with its bits/dim: the most likely above the least."""
    columns = -(-max(len(low), len(high)) // 2)
    axes = figure.subplots(4, columns, squeeze=False)
    for one in axes.ravel():
        one.set_axis_off()
    first, last = float(images.min()), float(images.max())
    for block, (indices, title) in enumerate(((low, "most likely"), (high, "least likely"))):
        for place, index in enumerate(indices):
            one = axes[2 * block + place // columns, place % columns]
            image = (images[index].astype(np.float64) - first) / max(last - first, 1e-12)
            one.imshow(np.squeeze(image), cmap="gray", vmin=0, vmax=1)
            one.set_title(f"{costs[index]:.2f}", fontsize=8, pad=2)
        axes[2 * block, 0].text(
            0, 1.25, title, transform=axes[2 * block, 0].transAxes, fontsize=10, weight="bold"
        )
