"""Loaded datasets: a training and a test split, in memory or on disk, with one interface.

`take` returns a `Batch` and `batches` yields them; for the images alone, use the batch's `.images`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from score_sde.data.batch import Batch, Condition, gather
from score_sde.data.builders import DatasetError, unreadable
from score_sde.data.conditions import Image, Reader, Record, read
from score_sde.data.fingerprint import Fingerprint, fingerprint
from score_sde.data.order import batch_indices, host_places
from score_sde.data.sources import Subset, without_images

# Reading waits for the disk more than for the CPU, so there are more threads than cores (16 is grain's own
# default), and two batches are prefetched per thread.
READ_THREADS = 16
READ_AHEAD = 32
# Records, with their encoded images, held at once while iterating over a whole split.
CHUNK = 1024


@functools.cache
def decoding_threads() -> concurrent.futures.Executor:
    """The thread pool shared by all splits, created when the first one is read."""
    return concurrent.futures.ThreadPoolExecutor(READ_THREADS, "decoding")


def decoded(images: Sequence[Image]) -> list[np.ndarray]:
    """Decode all images, in parallel threads: Pillow releases the interpreter lock while it decodes."""
    num = min(READ_THREADS, len(images))
    shares = (images[len(images) * i // num : len(images) * (i + 1) // num] for i in range(num))
    found = decoding_threads().map(lambda share: [image() for image in share], shares)
    return [pixels for share in found for pixels in share]


def training_batch(
    split: Split, seed: int, step: int, batch_size: int, places: np.ndarray
) -> Batch:
    """The part of a step's global batch at these places."""
    rows = batch_indices(seed, step, batch_size, split.num_images)[places]
    return split.take(rows)._replace(index=places)


@dataclasses.dataclass(frozen=True)
class ImagesInMemory:
    """A split held as arrays, which can be placed on the device and indexed within the training step (`batch.gather`).

    images: (n, h, w, c), uint8 levels, or float32 for real-valued data.
    condition: () or a dict by name of arrays (n, ...).
    """

    images: np.ndarray
    condition: Condition = ()

    @property
    def num_images(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.images.shape[1:]

    @property
    def num_bytes(self) -> int:
        """Bytes in memory, including conditions."""
        return self.images.nbytes + sum(of.nbytes for of in dict(self.condition).values())

    def kept(self) -> ImagesInMemory:
        """The split itself, which is in memory already."""
        return self

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> ImagesInMemory:
        """The split with a function applied to its images (n, h, w, c), which must act on each image independently."""
        return dataclasses.replace(self, images=change(self.images))

    def subset(self, rows: np.ndarray) -> ImagesInMemory:
        """The split of the images at these positions, in this order."""
        batch = self.take(rows)
        return ImagesInMemory(batch.images, batch.condition)

    def without_images(self) -> ImagesInMemory:
        """The split itself: leaving images out would save nothing."""
        return self

    def with_conditions(self, readers: Mapping[str, Reader]) -> ImagesInMemory:
        """The split with these conditions, which are read from its images and present conditions, instead of the latter."""
        own = dict(self.condition)
        records = [{name: of[i] for name, of in own.items()} for i in range(self.num_images)]
        images = [functools.partial(np.asarray, image) for image in self.images]
        return ImagesInMemory(self.images, read(readers, records, images))

    def take(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """The batch of the images at these positions, which are also its `index`."""
        rows = np.asarray(indices)
        return gather(self.images, self.condition, rows, rows.astype(np.int32))

    def batches(
        self,
        seed: int,
        batch_size: int,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[Batch]:
        """Yield this host's part of the global batches of start_step, start_step + 1, ..., endlessly."""
        places, step = host_places(batch_size, process_index, process_count), start_step
        while True:
            yield training_batch(self, seed, step, batch_size, places)
            step += 1


@dataclasses.dataclass(frozen=True)
class ImagesOnDisk:
    """A split too large for memory: records are read when requested, in the same order as from memory.

    source: random access to records: source.__getitems__(list of int) returns a list of them, and the optional
        source.without_images() a source that does not read the images.
    decode: record -> uint8 (h, w, c).
    shape: (h, w, c) after decoding.
    folder: location of the records, for error messages.
    readers: readers of the conditions, by name.
    """

    source: Any
    decode: Callable[[Record], np.ndarray]
    shape: tuple[int, int, int]
    folder: str
    readers: Mapping[str, Reader] = dataclasses.field(default_factory=dict)

    @property
    def images(self) -> np.ndarray | None:
        """None, so that `split.images is None` tells whether any kind of split is on disk."""
        return None

    @functools.cached_property
    def condition(self) -> Condition:
        """The conditions of all images; an image is decoded only for a condition computed from its pixels."""
        parts = []
        for rows in self.chunks() if self.readers else ():
            records = self.records(rows)
            parts.append(read(self.readers, records, self.decoders(records)))
        return {name: np.concatenate([part[name] for part in parts]) for name in self.readers} or ()

    @property
    def num_images(self) -> int:
        return len(self.source)

    @property
    def num_bytes(self) -> int:
        """Bytes that the split would take in memory, if the conditions of every image are as large as those of the first."""
        first = self.records(range(1)) if self.readers else []
        condition = dict(read(self.readers, first, self.decoders(first)))
        of_one = math.prod(self.shape) + sum(of.nbytes for of in condition.values())
        return self.num_images * of_one

    def take(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """The batch of the images at these positions, which are also its `index`."""
        records = self.records(indices)
        images = self.decoders(records)
        pixels = np.stack(decoded(images))
        return Batch(
            pixels, read(self.readers, records, images), np.asarray(indices).astype(np.int32)
        )

    def records(self, indices: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """The records at these positions, with their images still encoded."""
        try:
            return list(self.source.__getitems__([int(i) for i in indices]))
        except DatasetError:
            raise  # more specific
        except Exception as error:
            raise DatasetError(unreadable(self.folder, error)) from error

    def decoders(self, records: list[dict[str, Any]]) -> list[Image]:
        """A function for each record that returns its image, decoded at the first call."""
        return [functools.cache(functools.partial(self.decode, record)) for record in records]

    def chunks(self) -> list[range]:
        """All positions, in ranges of up to CHUNK."""
        n = self.num_images
        return [range(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]

    def kept(self) -> ImagesReadOnce:
        """The split held in memory, filled as images are requested."""
        return ImagesReadOnce(self.source, self.decode, self.shape, self.folder, self.readers)

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> ImagesOnDisk:
        """The split with a function applied to each image when it is read."""
        decode = self.decode
        return dataclasses.replace(self, decode=lambda record: change(decode(record)))

    def subset(self, rows: np.ndarray) -> ImagesOnDisk:
        """The split of the images at these positions, in this order."""
        return dataclasses.replace(self, source=Subset(self.source, rows))

    def without_images(self) -> ImagesOnDisk:
        """The split for conditions that need no pixels: images are not read if the source can leave them out."""
        return dataclasses.replace(self, source=without_images(self.source))

    def with_conditions(self, readers: Mapping[str, Reader]) -> ImagesOnDisk:
        """The split with these conditions."""
        return dataclasses.replace(self, readers=readers)

    def batches(
        self,
        seed: int,
        batch_size: int,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[Batch]:
        """Yield this host's part of the global batches of start_step, start_step + 1, ..., endlessly, prefetched in threads."""
        import grain

        places = host_places(batch_size, process_index, process_count)
        # A range, not an endless repeat: grain's position is then the step itself.
        steps = grain.MapDataset.range(start_step, np.iinfo(np.int32).max)
        options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=READ_AHEAD)
        read_step = steps.map(lambda step: training_batch(self, seed, step, batch_size, places))
        return iter(read_step.to_iter_dataset(options))


class ImagesReadOnce(ImagesOnDisk):
    """A split that keeps in memory what has been requested: only those images are read, and each is decoded once.

    Training from memory reads all of them, by `images` or `batches`.
    """

    @property
    def images(self) -> np.ndarray:
        """All images; those not yet decoded are decoded now."""
        return self.whole.images

    @property
    def condition(self) -> Condition:
        """The conditions of all images."""
        return self.held.condition or () if self.known.all() else super().condition

    @functools.cached_property
    def known(self) -> np.ndarray:
        """Which rows of `held` have been read, bool (n,)."""
        return np.zeros(self.num_images, bool)

    @functools.cached_property
    def held(self) -> ImagesInMemory:
        """Storage for all images; that of the conditions is allocated when the first image is read."""
        return ImagesInMemory(np.empty((self.num_images, *self.shape), np.uint8), {})

    @functools.cached_property
    def whole(self) -> ImagesInMemory:
        """The split with every row read."""
        for rows in self.chunks():
            self.take(rows)
        return self.held

    def take(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """The batch of the images at these positions, which are also its `index`."""
        rows = np.asarray(indices)
        new = np.unique(rows[~self.known[rows]])
        if new.size:
            batch = super().take(new)
            self.held.images[new] = batch.images
            for name, of in dict(batch.condition).items():
                room = np.empty((self.num_images, *of.shape[1:]), of.dtype)
                self.held.condition.setdefault(name, room)[new] = of
            self.known[new] = True
        return self.held.take(rows)

    def batches(self, *arguments: Any, **named: Any) -> Iterator[Batch]:
        """As `ImagesInMemory.batches`."""
        return self.whole.batches(*arguments, **named)


Split = ImagesInMemory | ImagesOnDisk


class Contents(NamedTuple):
    """What a dataset's location holds: kinds of files, or names of arrays or splits, with the number of each."""

    read: Mapping[str, int] = {}
    ignored: Mapping[str, int] = {}


@dataclasses.dataclass(frozen=True)
class Datasets:
    """A dataset's two splits.

    num_levels: grey levels 0 .. num_levels - 1 of the integer images, None for real-valued data.
    class_names: names of the labels 0, 1, ...; None if unknown.
    files: returns names and sizes of the files that hold the images, for the fingerprint only; `as_files` of generated images.
    contents: returns what was found, for --mode data only.
    """

    name: str
    train: Split
    test: Split
    num_levels: int | None
    class_names: tuple[str, ...] | None = None
    files: Callable[[], Iterable[tuple[str, int]]] = tuple
    contents: Callable[[], Contents] = Contents

    @functools.cached_property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint by which a resumed run recognizes its dataset; no image is read."""
        return fingerprint(self.train.num_images + self.test.num_images, self.files())

    def each(self, change: Callable[[Any], Split]) -> Datasets:
        """The dataset with a function applied to both splits."""
        return dataclasses.replace(self, train=change(self.train), test=change(self.test))
