"""Images from a score model: runs a sampler for any number of images over the devices, batch by batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jax import Array

from score_sde.configs.default import check_options
from score_sde.data.array_files import check_real
from score_sde.devices import Devices, build_devices, check_batch_size, index_batches
from score_sde.errors import UserError
from score_sde.generation.conditions import Source, build_conditions
from score_sde.generation.drivers import BatchSampler, batch_sampler
from score_sde.keys import seed_key
from score_sde.progress import progress_bar
from score_sde.samplers.configured import configure
from score_sde.samplers.problem import Configured
from score_sde.sde_lib import SDE
from score_sde.shapes import check_shape
from score_sde.unfinished import Nowhere, Unfinished

REMEDIES = (
    "more steps",
    "looser tolerances",
    "a smaller sampling.snr",
    "a larger sampling.eps",
    "sampling.threshold=static",
)


class StartImages(NamedTuple):
    """Start images for sampling.t_start, (n, h, w, c) in the units of the process; image i starts from number i mod n."""

    x: np.ndarray
    are_states: bool
    """Whether they are x at t_start already; otherwise they are images x_0, to which noise is added."""


class Generated(NamedTuple):
    """A batch of samples x (b, h, w, c), float32 in the units of the process, and the network evaluations (b,) of each.

    The evaluations are the number of steps times the cost per step that the sampler declares, which is not checked at run
    time.
    """

    x: np.ndarray
    nfe: np.ndarray
    figures: Mapping[str, np.ndarray] = MappingProxyType({})
    """What else the sampler says of each sample (b,), by name, such as the effective number of particles."""

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name, as it is stored."""
        return {"x": self.x, "nfe": self.nfe, **self.figures}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The inverse of `arrays`."""
        figures = {name: of for name, of in arrays.items() if name not in ("x", "nfe")}
        return cls(arrays["x"], arrays["nfe"], figures)


@dataclasses.dataclass(frozen=True)
class Generator:
    """Draws images by index; compiled once, however often it is called.

    Image i of a seed is the same for any batch size with samplers of fixed steps. An adaptive solver shares its step size
    among the images of a device unless step_size is "image", and the published Langevin step is shared among those of a
    batch.
    """

    run: BatchSampler
    devices: Devices
    batch_size: int
    conditions: Source
    start_images: StartImages | None
    name: str
    """Name of the sampler, for messages."""
    work: tuple[str, str] = ("sampling", "image")
    """What the progress bar shows: the activity, and the unit it counts."""
    remedies: tuple[str, ...] = REMEDIES
    """What to try if samples are not finite, for messages."""

    def batches(
        self, model: Any, num_images: int, seed: int, show: bool = True
    ) -> Iterator[Generated]:
        """All images, one batch at a time, so that memory does not grow with their number.

        Raises:
          UserError: samples that are not finite.
        """
        stored = self.stored_batches(model, num_images, seed, Generated.arrays, Nowhere(), show)
        return map(Generated.of_arrays, stored)

    def stored_batches(
        self,
        model: Any,
        num_images: int,
        seed: int,
        finish: Any,
        store: Unfinished,
        show: bool = True,
    ) -> Iterator[dict[str, np.ndarray]]:
        """The result of `finish` for each batch, saved in `store`; batches that it already held at the start are loaded from it."""
        key = seed_key(seed)
        with progress_bar(num_images, *self.work, show) as bar:
            for number, (indices, count) in enumerate(index_batches(num_images, self.batch_size)):
                batch = store.load(number)
                if batch is None:
                    batch = finish(self.draw(model, key, indices, count, bar))
                    store.save(number, batch)
                else:
                    bar.update(count)
                yield batch

    def draw(self, model: Any, key: Array, indices: np.ndarray, count: int, bar: Any) -> Generated:
        """Draw the images with these indices, this host's share of a batch of `count`."""
        begin = None
        if self.start_images is not None:
            begin = self.start_images.x[indices % len(self.start_images.x)]
        condition = self.conditions(indices)
        result = self.run(
            model, key, indices, condition, begin, lambda share: bar.update(share * count)
        )
        x, nfe, success, figures = self.devices.gather(result, count)
        bad = int((~success | ~np.isfinite(x).all(axis=(1, 2, 3))).sum())
        if bad:
            *others, last = self.remedies
            raise UserError(
                f"{bad} of {count} samples did not come out finite (sampler {self.name}); try {', '.join(others)} or {last}"
            )
        return Generated(x, nfe, figures)

    def __call__(self, model: Any, num_images: int, seed: int, show: bool = True) -> Generated:
        """All images at once, as many as fit in memory."""
        parts = self.batches(model, num_images, seed, show)
        whole: Generated = jax.tree.map(lambda *of: np.concatenate(of), *parts)
        return whole


def build_generator(
    config: Any,
    sde: SDE,
    shape: tuple[int, ...],
    start_images: StartImages | None = None,
    configured: Configured | None = None,
    classes: Sequence[str] = (),
) -> Generator:
    """Build the generator of images of this shape (h, w, c), as set in config.sampling.

    `configured` is its sampler if that has been built already, as for samplers that need denoising errors; `classes` are the
    names of the classes in the model's numbering.

    Raises:
      UserError: an invalid option, or start images of another shape or type.
    """
    check_options(config)
    sde.check_time("sampling.eps", config.sampling.eps)
    check_batch_size(config.sampling.batch_size, "sampling.batch_size")
    if start_images is not None:
        check_shape("the start images", start_images.x.shape, (len(start_images.x), *shape))
        check_real("the start images", start_images.x)
    devices = build_devices(config)
    configured = configured or configure(config.sampling, sde)
    are_states = start_images is not None and start_images.are_states
    return Generator(
        batch_sampler(configured, sde, shape, devices, are_states),
        devices,
        config.sampling.batch_size,
        build_conditions(config, classes),
        start_images,
        config.sampling.sampler,
    )
