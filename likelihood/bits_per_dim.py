"""Bits per dimension of a set of images, over batches, devices and repeats."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from score_sde.devices import Devices, build_devices, check_batch_size, index_batches
from score_sde.errors import UserError
from score_sde.keys import seed_key
from score_sde.likelihood.per_image import build_per_image, integer_costs
from score_sde.progress import progress_bar
from score_sde.sde_lib import SDE
from score_sde.spaces import build_space
from score_sde.unfinished import Batch, Nowhere, Unfinished

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Measured:
    """One quantity of n images with r repeats, float64 (r, n): bits/dim, its error by the image's own randomness, evaluations.

    The error is NaN where there is only one random number to tell it from, and 0 where there is none.
    """

    bits_per_dim: np.ndarray
    error: np.ndarray
    nfe: np.ndarray

    @property
    def per_image(self) -> Float[np.ndarray, "n"]:
        """The mean over repeats."""
        return self.bits_per_dim.mean(axis=0)

    @property
    def mean(self) -> float:
        return float(self.bits_per_dim.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean, from the spread between images, which holds that of noise and probes too."""
        return standard_error(self.per_image)

    @property
    def own_error(self) -> float:
        """The part of it that more probes, draws or repeats would make smaller; the rest is that of so many images.

        With two or more repeats from their spread, image by image: of all that is drawn anew in each, dequantization noise and a
        decoder's too. One repeat knows the errors of its probes and of the bound's draws alone.
        """
        repeats, images = self.error.shape
        if repeats > 1:
            squares = self.bits_per_dim.var(axis=0, ddof=1) / repeats
        else:
            squares = np.square(self.error[0])
        return float(np.sqrt(np.sum(squares)) / images)

    @property
    def interval(self) -> tuple[float, float]:
        """In which the mean over all such images lies with 95 % confidence (Student's t)."""
        n = len(self.per_image)
        half = self.standard_error * float(stdtrit(max(n - 1, 1), 0.5 + CONFIDENCE / 2))
        return self.mean - half, self.mean + half


def standard_error(values: np.ndarray) -> float:
    """Of the mean of independent values (n,), in their unit: sd / sqrt(n) with n - 1 in the variance; NaN for n < 2."""
    return math.nan if len(values) < 2 else float(values.std(ddof=1) / math.sqrt(len(values)))


@dataclasses.dataclass(frozen=True)
class BitsPerDim:
    """Of a set of images: by the ODE and by the bound, or one of them."""

    ode: Measured | None
    bound: Measured | None
    latents: np.ndarray | None
    """x(T) of the last repeat, (n, h, w, c), where it is kept (`keeps_latents`)."""
    seconds: float
    chain: bool = False
    """The bound is one on a chain's law, at time 0, and not on the SDE's."""
    integers: bool = False
    """... and on the cost of the integer images, not of dequantized ones."""

    @property
    def gap(self) -> Float[np.ndarray, "n"] | None:
        """Bound less ODE, image by image, on the same dequantized images; None where only the ODE's are dequantized."""
        if self.ode is None or self.bound is None or self.integers:
            return None
        return self.bound.per_image - self.ode.per_image

    @property
    def by_name(self) -> dict[str, Measured]:
        """What was measured, under the names that are shown."""
        law = "chain" if self.chain else "SDE"
        both = {"probability-flow ODE": self.ode, f"bound on the {law}": self.bound}
        return {name: measured for name, measured in both.items() if measured is not None}

    @property
    def best(self) -> Measured:
        """The ODE's, where there is one."""
        return next(iter(self.by_name.values()))


def measure_bits_per_dim(
    config: Any,
    sde: SDE,
    score_model: Any,
    dequantizer: Any,
    split: Any,
    seed: int,
    unfinished: Unfinished | None = None,
    show: bool = True,
    compiled: Callable[..., Any] | None = None,
) -> BitsPerDim:
    """Bits/dim of every image, as config.likelihood says.

    Each repeat draws new dequantization noise, probes and bounds for each image, from the image's index, so a
    value does not depend on the batch but for the solver's shared step size.

    Args:
      dequantizer: see likelihood/dequantization/; not asked where data.num_levels is 0.
      split: a split of a dataset (data/splits.py): its `take(indices).images` are (n, h, w, c), integer
        levels, or real numbers when data.num_levels is 0. `likelihood.num_images` limits it to its first.
      unfinished: where finished batches are kept, and found again after an interruption.
      compiled: `build_compiled` of the same config, for several measurements.
    """
    options = config.likelihood
    check_batch_size(options.batch_size, "likelihood.batch_size")
    num_images = min(options.num_images or split.num_images, split.num_images)
    dimension = math.prod(split.shape)
    store = unfinished or Nowhere()

    # Products in full float32: TF32, the default of recent GPUs, moves the third digit of bits/dim.
    with jax.default_matmul_precision("highest"):
        began = time.perf_counter()
        devices = build_devices(config)
        run = compiled or build_compiled(config, sde, dimension)
        batches: list[Batch] = []
        with progress_bar(num_images * options.repeats, "likelihood", "image", show) as bar:
            for repeat in range(options.repeats):
                key = jax.random.fold_in(seed_key(seed), repeat)
                for indices, count in index_batches(num_images, options.batch_size):
                    result = store.load(len(batches))
                    if result is None:
                        # The last batch is filled up with repeats of the last image.
                        indices = np.minimum(indices, num_images - 1)
                        batch = devices.split(split.take(indices))
                        mapped = run(score_model, dequantizer, key, batch)
                        result = flat(devices.gather(mapped, count))
                        if repeat < options.repeats - 1:  # one set of latents is kept
                            result.pop("ode/latent", None)
                        check_finite(result, options)
                        store.save(len(batches), result)
                    batches.append(result)
                    bar.update(count)
        seconds = time.perf_counter() - began

    values = {
        name: np.concatenate([batch[name] for batch in batches if name in batch])
        for name in batches[-1]
    }
    shape, offset = (options.repeats, num_images), build_space(config).bits_per_dim_offset
    assert offset is not None  # pixels have one
    return BitsPerDim(
        ode=measured(values, "ode", dimension, offset, shape),
        bound=measured(values, "bound", dimension, 0.0 if integer_costs(config) else offset, shape),
        latents=values.get("ode/latent"),
        seconds=seconds,
        chain=not config.training.continuous,
        integers=integer_costs(config),
    )


def build_compiled(
    config: Any, sde: SDE, dimension: int, devices: Devices | None = None
) -> Callable[..., Any]:
    """What measures a batch of images of so many numbers, over these devices, or those that config names."""
    measure = build_per_image(config, sde, dimension)
    devices = devices or build_devices(config)
    return devices.data_parallel(measure, (False, False, False, True))


def flat(result: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays under names such as "ode/nats", for an .npz file."""
    return {
        f"{part}/{name}": leaf for part, leaves in result.items() for name, leaf in leaves.items()
    }


def measured(
    values: dict[str, np.ndarray], part: str, dimension: int, offset: float, shape: tuple[int, int]
) -> Measured | None:
    """One part of the result in bits/dim, or None where it was not measured."""
    if f"{part}/nats" not in values:
        return None
    nats, error, nfe = (
        values[f"{part}/{name}"].astype(np.float64).reshape(shape)
        for name in ("nats", "error", "nfe")
    )
    bits = dimension * math.log(2)
    return Measured(nats / bits + offset, error / bits, nfe)


def check_finite(values: dict[str, np.ndarray], options: Any) -> None:
    """Refuse values of a batch that are none: no mean is taken over them, and they are not kept."""
    bad = np.zeros(len(next(iter(values.values()))), bool)
    for name, value in values.items():
        if name.endswith("/nats"):
            bad |= ~np.isfinite(value)
        if name.endswith("/success"):
            bad |= ~value
    if bad.any():
        raise UserError(
            f"{bad.sum()} of {len(bad)} likelihoods are not finite (solver {options.solver}, rtol={options.rtol}, atol={options.atol}); try "
            "a larger likelihood.eps or other tolerances"
        )
