"""A measured set of images at a glance: the histogram of bits/dim, and the least and the most likely images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from score_sde.likelihood.bits_per_dim import BitsPerDim

EXTREMES = 12  # images of either kind


def save_likelihood_picture(
    path: Path, measured: BitsPerDim, split: Any, num_levels: int | None
) -> None:
    """Write the picture in one piece.

    Args:
      split: the images that were measured, from its first on; only those that are shown are read.
      num_levels: L, black being level 0 and white L - 1; None for real numbers, of which those shown span the shades.
    """
    # Not at the top: matplotlib takes a second, which no other mode should wait for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    halves = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.25))[0]
    draw_histogram(halves[0].subplots(), measured)
    low, high = extremes(measured.best.per_image)
    images = shades(split.take([*low, *high]).images, num_levels)
    costs = measured.best.per_image[[*low, *high]]
    draw_rows(halves[1], images, costs, len(low))
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


def extremes(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the images of the least and of the greatest cost, the most extreme first, as many of either kind."""
    count = min(EXTREMES, max(1, len(costs) // 2))
    order = np.argsort(costs)
    return order[:count], order[::-1][:count]


def shades(images: np.ndarray, num_levels: int | None) -> np.ndarray:
    """Images (n, h, w, c) as matplotlib shows them: (n, h, w) grey or (n, h, w, 3) coloured, from 0 to 1.

    Two channels are red and green, as in the pictures of samples; of more than three the first three are shown.
    """
    first, last = (0, num_levels - 1) if num_levels else (images.min(), images.max())
    x = (images[..., :3].astype(np.float64) - first) / max(last - first, 1e-12)
    if images.shape[-1] == 2:
        x = np.concatenate([x, np.zeros_like(x[..., :1])], axis=-1)
    return x[..., 0] if images.shape[-1] == 1 else x


def draw_rows(figure, images: np.ndarray, costs: np.ndarray, count: int):
    """Two blocks of pictures, each with its bits/dim: the most likely, of which there are `count`, above the least."""
    columns = -(-count // 2)
    axes = figure.subplots(4, columns, squeeze=False)
    for one in axes.ravel():
        one.set_axis_off()
    for block, title in enumerate(("most likely", "least likely")):
        for place in range(count):
            one, index = axes[2 * block + place // columns, place % columns], block * count + place
            one.imshow(images[index], cmap="gray", vmin=0, vmax=1)
            one.set_title(f"{costs[index]:.2f}", fontsize=8, pad=2)
        axes[2 * block, 0].text(
            0, 1.25, title, transform=axes[2 * block, 0].transAxes, fontsize=10, weight="bold"
        )
