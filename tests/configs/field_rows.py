"""For every field of a config: another value, a config in which it matters, and the built object that must then differ."""

import functools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image


class Row(NamedTuple):
    field: str
    value: Any
    """Another than the context's or the default."""
    probe: Any
    """config -> what depends on the field."""
    context: dict[str, Any]
    """Other fields: where this one matters."""


def rows(probe, section, context, /, **values):
    """A row for each field of a section."""
    prefix = section and f"{section}."
    return [Row(prefix + name, value, probe, context) for name, value in values.items()]


def seeds(*probes_and_contexts):
    return [Row("seed", 7, probe, context) for probe, context in probes_and_contexts]


@functools.cache
def files():
    """A folder with pictures, ten of each of two classes, bright ones and dark ones, and arrays of such."""
    folder = tempfile.TemporaryDirectory()
    rng = np.random.default_rng(0)
    for name, highest, size in (("bright", 255, (12, 10)), ("dark", 15, (8, 8))):
        for label in ("a", "b"):
            path = Path(folder.name, name, label)
            path.mkdir(parents=True)
            for i in range(10):
                pixels = rng.integers(0, highest, (*size, 3), endpoint=True).astype(np.uint8)
                PIL.Image.fromarray(pixels).save(path / f"{i}.png")
    for name, highest in (("dark", 15), ("darker", 7)):
        pixels = rng.integers(0, highest, (10, 8, 8, 3), endpoint=True).astype(np.uint8)
        np.save(Path(folder.name, f"{name}.npy"), pixels)
    for name, known in (("mask", 2), ("other_mask", 3)):
        mask = 255 * (np.arange(4)[:, None] < known) * np.ones((4, 4))
        PIL.Image.fromarray(mask.astype(np.uint8)).save(Path(folder.name, f"{name}.png"))
    np.savez(Path(folder.name, "y.npz"), y=np.ones((16, 3), np.float32))
    np.savez(Path(folder.name, "odd.npz"), images=np.ones((3, 2, 2, 1), np.float32))
    return folder


def path(name):
    return str(Path(files().name, name))


def of(base, /, **fields):
    """Dotted names from sections with __ in place of the dot."""
    return {**base, **{name.replace("__", "."): value for name, value in fields.items()}}


# Where the fields of each part matter

PLAIN = {"data.image_size": 2}
SMALL = of(PLAIN, model__name="linear")
TOY = of(SMALL, data__name="mixture", data__num_levels=0)
CLASSES = of(SMALL, model__num_classes=3)
CHAIN = {"training.continuous": False}
PICTURES = {
    "data.name": "folder",
    "data.folder": path("bright"),
    "data.num_channels": 3,
    "data.resize": True,
}


def sampler(name, context=PLAIN, /, **fields):
    return of(context, sampling__sampler=name, **fields)


PC = sampler("pc", sampling__pc__num_steps=4)
FLOW = of(SMALL, dequantizer__width=8, dequantizer__depth=2)
TOLD = of(CLASSES, training__label_dropout=0.1)
