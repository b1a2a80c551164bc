"""A picture of the likelihoods of a set of images: a histogram of bits/dim, and the most and least likely images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from score_sde.files import write_whole
from score_sde.likelihood.bits_per_dim import BitsPerDim

EXTREMES = 12  # number of most likely and of least likely images


def save_likelihood_picture(
    path: Path, measured: BitsPerDim, split: Any, num_levels: int | None
) -> None:
    """Write the picture atomically.

    Args:
      split: the split whose first images were measured; only those shown are read.
      num_levels: L, with level 0 black and level L - 1 white; None for real numbers, for which the range of the images shown is used.
    """
    # Imported here because importing matplotlib takes a second, which other modes should not wait for.
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
    write_whole(path, lambda file: figure.savefig(file, dpi=110, format="png"), durable=False)


def draw_histogram(axes, measured: BitsPerDim) -> None:
    """Draw histograms of the bits/dim of the images, for the ODE and the bound."""
    shown = measured.by_name
    everything = np.concatenate([value.per_image for value in shown.values()])
    # About 30 bars for 300 images (cube-root rule)
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
    """Indices of the images with the lowest and with the highest costs, equally many of each, the most extreme first."""
    count = min(EXTREMES, max(1, len(costs) // 2))
    order = np.argsort(costs)
    return order[:count], order[::-1][:count]


def shades(images: np.ndarray, num_levels: int | None) -> np.ndarray:
    """Convert images (n, h, w, c) for matplotlib: (n, h, w) gray or (n, h, w, 3) in color, in [0, 1].

    Two channels become red and green, as in the pictures of samples; of more than three, the first three are shown.
    """
    first, last = (0, num_levels - 1) if num_levels else (images.min(), images.max())
    x = (images[..., :3].astype(np.float64) - first) / max(last - first, 1e-12)
    if images.shape[-1] == 2:
        x = np.concatenate([x, np.zeros_like(x[..., :1])], axis=-1)
    return x[..., 0] if images.shape[-1] == 1 else x


def draw_rows(figure, images: np.ndarray, costs: np.ndarray, count: int):
    """Draw two blocks of images with their bits/dim: the `count` most likely ones above the least likely ones."""
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
