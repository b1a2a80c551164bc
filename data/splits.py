"""What a loaded dataset can do: two splits of images, in memory or on disk, with one interface."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError, unreadable
from score_sde.data.order import batch_indices, process_slice

# Reading waits for the disk more than for the CPU, so there are more threads than cores (16 is grain's own
# default), and two batches ready for each.
READ_THREADS = 16
READ_AHEAD = 32

# Share of a dataset without a test split that becomes one. Evaluating on training images would hide overfitting.
HELD_OUT_PERCENT = 5


@dataclasses.dataclass(frozen=True)
class ImagesInMemory:
    """A split as one array, to be placed on the device and gathered by `batch_indices` inside the step.

    images: (n, h, w, c), uint8 levels, or float32 for real-valued data.
    labels: int32 (n,), or None.
    """

    images: np.ndarray
    labels: np.ndarray | None = None

    @property
    def num_images(self) -> int:
        return len(self.images)

    def to_memory(self) -> ImagesInMemory:
        """Itself."""
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.images.shape[1:]

    def with_levels_joined(self, factor: int) -> ImagesInMemory:
        """The split with every `factor` neighbouring levels as one."""
        return dataclasses.replace(self, images=self.images // factor)

    def take(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images at these positions, (len(indices), h, w, c)."""
        return self.images[np.asarray(indices)]

    def batches(
        self,
        seed: int,
        batch_size: int,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[np.ndarray]:
        """This host's part of the global batch of start_step, start_step + 1, ...: endless."""
        step = start_step
        while True:
            indices = batch_indices(seed, step, batch_size, self.num_images)
            yield self.take(process_slice(indices, process_index, process_count))
            step += 1


@dataclasses.dataclass(frozen=True)
class ImagesOnDisk:
    """A split too large for memory: records read when asked for, the same images in the same order.

    source: random access to records; source.__getitems__(list of int) gives their list.
    decode: record -> uint8 (h, w, c).
    shape: (h, w, c) after decoding.
    folder: where the records lie, for error messages.
    """

    source: Any
    decode: Callable[[dict[str, Any]], np.ndarray]
    shape: tuple[int, int, int]
    folder: str

    # So that `split.images is None` asks "in memory?" of either kind.
    images = None
    labels = None

    @property
    def num_images(self) -> int:
        return len(self.source)

    def take(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images at these positions, uint8 (len(indices), h, w, c)."""
        return np.stack([self.decode(record) for record in self.records(indices)])

    def records(self, indices: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Records at these positions, images still encoded."""
        try:
            return list(self.source.__getitems__([int(i) for i in indices]))
        except Exception as error:
            raise DatasetError(unreadable(self.folder, error)) from error

    def with_levels_joined(self, factor: int) -> ImagesOnDisk:
        """The split with every `factor` neighbouring levels as one, joined when an image is read."""
        decode = self.decode
        return dataclasses.replace(self, decode=lambda record: decode(record) // factor)

    def to_memory(self) -> ImagesInMemory:
        """All images as one array, with the labels if the records have any."""
        images = np.empty((self.num_images, *self.shape), np.uint8)
        labels = []
        for start in range(0, self.num_images, 1024):
            end = min(start + 1024, self.num_images)
            for i, record in enumerate(self.records(range(start, end)), start):
                images[i] = self.decode(record)
                if "label" in record:
                    labels.append(record["label"])
        return ImagesInMemory(images, np.asarray(labels, np.int32) if labels else None)

    def batches(
        self,
        seed: int,
        batch_size: int,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[np.ndarray]:
        """This host's part of the global batch of start_step, start_step + 1, ..., read ahead in threads: endless."""
        import grain

        def read(step: int) -> np.ndarray:
            indices = batch_indices(seed, step, batch_size, self.num_images)
            return self.take(process_slice(indices, process_index, process_count))

        # A range, not an endless repeat: grain's position is then the step itself.
        steps = grain.MapDataset.range(start_step, np.iinfo(np.int32).max)
        options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=READ_AHEAD)
        return iter(steps.map(read).to_iter_dataset(options))


@dataclasses.dataclass(frozen=True)
class Datasets:
    """A dataset's two splits.

    num_levels: grey levels 0 .. num_levels - 1 of the integer images, None for real-valued data.
    """

    name: str
    train: ImagesInMemory | ImagesOnDisk
    test: ImagesInMemory | ImagesOnDisk
    num_levels: int | None
