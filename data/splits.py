"""What a loaded dataset can do: two splits of images, in memory or on disk, with one interface.

`take` and `batches` give a `Batch` each, and nothing gives images alone: whoever needs no more takes its `.images`.
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
# default), and two batches ready for each.
READ_THREADS = 16
READ_AHEAD = 32
# Records held at once while a whole split is gone through, encoded images and all.
CHUNK = 1024


@functools.cache
def decoding_threads() -> concurrent.futures.Executor:
    """Of all splits, from when the first is read."""
    return concurrent.futures.ThreadPoolExecutor(READ_THREADS, "decoding")


def decoded(images: Sequence[Image]) -> list[np.ndarray]:
    """The pixels of all, in a few shares at once: Pillow lets other threads work as it decodes."""
    num = min(READ_THREADS, len(images))
    shares = (images[len(images) * i // num : len(images) * (i + 1) // num] for i in range(num))
    found = decoding_threads().map(lambda share: [image() for image in share], shares)
    return [pixels for share in found for pixels in share]


def training_batch(
    split: Split, seed: int, step: int, batch_size: int, places: np.ndarray
) -> Batch:
    """What stands at these places of the global batch of a step."""
    rows = batch_indices(seed, step, batch_size, split.num_images)[places]
    return split.take(rows)._replace(index=places)


@dataclasses.dataclass(frozen=True)
class ImagesInMemory:
    """A split as arrays, to be placed on the device and gathered by `batch_indices` inside the step (`batch.gather`).

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
        """In memory, conditions and all."""
        return self.images.nbytes + sum(of.nbytes for of in dict(self.condition).values())

    def kept(self) -> ImagesInMemory:
        """Itself."""
        return self

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> ImagesInMemory:
        """The split with a function that acts on each image apart applied to all."""
        return dataclasses.replace(self, images=change(self.images))

    def subset(self, rows: np.ndarray) -> ImagesInMemory:
        """The images at these positions, in this order, as a split."""
        batch = self.take(rows)
        return ImagesInMemory(batch.images, batch.condition)

    def without_images(self) -> ImagesInMemory:
        """Itself."""
        return self

    def with_conditions(self, readers: Mapping[str, Reader]) -> ImagesInMemory:
        """The split with these conditions in place of its own, from which they may be read."""
        own = dict(self.condition)
        records = [{name: of[i] for name, of in own.items()} for i in range(self.num_images)]
        images = [functools.partial(np.asarray, image) for image in self.images]
        return ImagesInMemory(self.images, read(readers, records, images))

    def take(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """What is at these positions, and the positions."""
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
        """This host's part of the global batch of start_step, start_step + 1, ...: endless."""
        places, step = host_places(batch_size, process_index, process_count), start_step
        while True:
            yield training_batch(self, seed, step, batch_size, places)
            step += 1


@dataclasses.dataclass(frozen=True)
class ImagesOnDisk:
    """A split too large for memory: records read when asked for, the same images in the same order.

    source: random access to records; source.__getitems__(list of int) gives their list, and source.without_images(), if it has that, is
        a source that does not read the images.
    decode: record -> uint8 (h, w, c).
    shape: (h, w, c) after decoding.
    folder: where the records lie, for error messages.
    readers: the conditions to read, by name.
    """

    source: Any
    decode: Callable[[Record], np.ndarray]
    shape: tuple[int, int, int]
    folder: str
    readers: Mapping[str, Reader] = dataclasses.field(default_factory=dict)

    @property
    def images(self) -> np.ndarray | None:
        """None, so that `split.images is None` asks "on disk?" of any kind."""
        return None

    @functools.cached_property
    def condition(self) -> Condition:
        """The conditions of all images, which are decoded only for one that is made of pixels."""
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
        """What it would take in memory, the conditions of each image as many as those of the first."""
        first = self.records(range(1)) if self.readers else []
        condition = dict(read(self.readers, first, self.decoders(first)))
        of_one = math.prod(self.shape) + sum(of.nbytes for of in condition.values())
        return self.num_images * of_one

    def take(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """What is at these positions, and the positions."""
        records = self.records(indices)
        images = self.decoders(records)
        pixels = np.stack(decoded(images))
        return Batch(
            pixels, read(self.readers, records, images), np.asarray(indices).astype(np.int32)
        )

    def records(self, indices: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Records at these positions, images still encoded."""
        try:
            return list(self.source.__getitems__([int(i) for i in indices]))
        except DatasetError:
            raise  # which knows more
        except Exception as error:
            raise DatasetError(unreadable(self.folder, error)) from error

    def decoders(self, records: list[dict[str, Any]]) -> list[Image]:
        """For each record its image, decoded when first asked for."""
        return [functools.cache(functools.partial(self.decode, record)) for record in records]

    def chunks(self) -> list[range]:
        """All positions."""
        n = self.num_images
        return [range(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]

    def kept(self) -> ImagesReadOnce:
        """The split in memory, as far as it is asked for."""
        return ImagesReadOnce(self.source, self.decode, self.shape, self.folder, self.readers)

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> ImagesOnDisk:
        """The split with a function applied to each image when it is read."""
        decode = self.decode
        return dataclasses.replace(self, decode=lambda record: change(decode(record)))

    def subset(self, rows: np.ndarray) -> ImagesOnDisk:
        """The images at these positions, in this order, as a split."""
        return dataclasses.replace(self, source=Subset(self.source, rows))

    def without_images(self) -> ImagesOnDisk:
        """The split for conditions that need no pixels; its records have none where that saves reading them."""
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
        """This host's part of the global batch of start_step, start_step + 1, ..., read ahead in threads: endless."""
        import grain

        places = host_places(batch_size, process_index, process_count)
        # A range, not an endless repeat: grain's position is then the step itself.
        steps = grain.MapDataset.range(start_step, np.iinfo(np.int32).max)
        options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=READ_AHEAD)
        read_step = steps.map(lambda step: training_batch(self, seed, step, batch_size, places))
        return iter(read_step.to_iter_dataset(options))


class ImagesReadOnce(ImagesOnDisk):
    """A split that stays in memory as far as it has been asked for: few images cost few, and each is decoded once.

    Training from memory asks for all, by `images` or `batches`.
    """

    @property
    def images(self) -> np.ndarray:
        """All of them, decoded by now."""
        return self.whole.images

    @property
    def condition(self) -> Condition:
        """The conditions of all images."""
        return self.held.condition or () if self.known.all() else super().condition

    @functools.cached_property
    def known(self) -> np.ndarray:
        """Which rows of `held` are read, bool (n,)."""
        return np.zeros(self.num_images, bool)

    @functools.cached_property
    def held(self) -> ImagesInMemory:
        """Room for all; for a condition from when the first is read."""
        return ImagesInMemory(np.empty((self.num_images, *self.shape), np.uint8), {})

    @functools.cached_property
    def whole(self) -> ImagesInMemory:
        """The split with every row read."""
        for rows in self.chunks():
            self.take(rows)
        return self.held

    def take(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """What is at these positions, and the positions."""
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
    """What was found where a dataset lies: kinds of files or names of arrays, with how many there are of each."""

    read: Mapping[str, int] = {}
    ignored: Mapping[str, int] = {}


@dataclasses.dataclass(frozen=True)
class Datasets:
    """A dataset's two splits.

    num_levels: grey levels 0 .. num_levels - 1 of the integer images, None for real-valued data.
    class_names: what label 0, 1, ... is called; None where that is not known.
    files: names and sizes of what holds the images, asked for the fingerprint only; of images that are drawn `as_files` of them.
    contents: asked for by --mode data only.
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
        """By what a run that goes on knows its dataset again; reads no image."""
        return fingerprint(self.train.num_images + self.test.num_images, self.files())

    def each(self, change: Callable[[Any], Split]) -> Datasets:
        """The dataset with both splits changed."""
        return dataclasses.replace(self, train=change(self.train), test=change(self.test))
