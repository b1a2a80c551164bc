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
    """One quantity of n images in r repeats, float64 (r, n): bits/dim, its Monte Carlo error, network evaluations.

    `error` is the standard error from the randomness within one repeat: NaN if a single random draw leaves it unknown, 0 for a
    deterministic value.
    """

    bits_per_dim: np.ndarray
    error: np.ndarray
    nfe: np.ndarray

    @property
    def per_image(self) -> Float[np.ndarray, "n"]:
        """Bits/dim of each image, averaged over repeats."""
        return self.bits_per_dim.mean(axis=0)

    @property
    def mean(self) -> float:
        return float(self.bits_per_dim.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, from the spread between images, which includes that of noise and probes."""
        return standard_error(self.per_image)

    @property
    def own_error(self) -> float:
        """The part of `standard_error` that more probes, draws or repeats would reduce; the rest is due to the finite number of images.

        With two or more repeats it is estimated from their spread for each image, which covers everything that is redrawn,
        including dequantization and decoder noise. With one repeat it covers only the probes and the draws of the bound.
        """
        repeats, images = self.error.shape
        if repeats > 1:
            squares = self.bits_per_dim.var(axis=0, ddof=1) / repeats
        else:
            squares = np.square(self.error[0])
        return float(np.sqrt(np.sum(squares)) / images)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the mean over all such images (Student's t)."""
        n = len(self.per_image)
        half = self.standard_error * float(stdtrit(max(n - 1, 1), 0.5 + CONFIDENCE / 2))
        return self.mean - half, self.mean + half


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean of independent values (n,): sd / sqrt(n) with n - 1 in the variance; NaN for n < 2."""
    return math.nan if len(values) < 2 else float(values.std(ddof=1) / math.sqrt(len(values)))


@dataclasses.dataclass(frozen=True)
class BitsPerDim:
    """Bits/dim of a set of images: by the probability-flow ODE, by the variational bound, or by both."""

    ode: Measured | None
    bound: Measured | None
    latents: np.ndarray | None
    """x(T) of the last repeat, (n, h, w, c); None unless latents are kept (`keeps_latents`)."""
    seconds: float
    chain: bool = False
    """Whether the bound is for a chain, at time 0, and not for the SDE."""
    integers: bool = False
    """Whether the bound is on the likelihood of the integer images themselves, not of dequantized ones."""

    @property
    def gap(self) -> Float[np.ndarray, "n"] | None:
        """Bound minus ODE for each image, on the same dequantized images; None if either is missing or the bound is on integers."""
        if self.ode is None or self.bound is None or self.integers:
            return None
        return self.bound.per_image - self.ode.per_image

    @property
    def by_name(self) -> dict[str, Measured]:
        """The measured quantities by their displayed names."""
        law = "chain" if self.chain else "SDE"
        both = {"probability-flow ODE": self.ode, f"bound on the {law}": self.bound}
        return {name: measured for name, measured in both.items() if measured is not None}

    @property
    def best(self) -> Measured:
        """The values of the ODE if measured, else those of the bound."""
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
    """Measure the bits/dim of every image of a split by the settings of config.likelihood.

    Each repeat draws new dequantization noise, probes and draws of the bound for each image, seeded by its index, so a
    value does not depend on the other images of its batch except through a step size that the solver shares.

    Args:
      dequantizer: see likelihood/dequantization/; unused if data.num_levels is 0.
      split: a split of a dataset (data/splits.py): its `take(indices).images` are (n, h, w, c), integer
        levels, or real numbers if data.num_levels is 0. Only the first `likelihood.num_images` are measured.
      unfinished: storage of finished batches, from which an interrupted measurement resumes.
      compiled: `build_compiled` of the same config, to share one compilation among several measurements.

    Raises:
      UserError: a value is not finite or the solver failed.
    """
    options = config.likelihood
    check_batch_size(options.batch_size, "likelihood.batch_size")
    num_images = min(options.num_images or split.num_images, split.num_images)
    dimension = math.prod(split.shape)
    store = unfinished or Nowhere()

    # Matrix products in full float32: TF32, the default on recent GPUs, changes the third digit of bits/dim.
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
                        # The last batch is padded with copies of the last image.
                        indices = np.minimum(indices, num_images - 1)
                        batch = devices.split(split.take(indices))
                        mapped = run(score_model, dequantizer, key, batch)
                        result = flat(devices.gather(mapped, count))
                        if repeat < options.repeats - 1:  # only the last repeat keeps its latents
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
    assert offset is not None  # every space of pixels has one
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
    """Return the compiled function that measures a batch of images of `dimension` numbers, on `devices` or those of `config`."""
    measure = build_per_image(config, sde, dimension)
    devices = devices or build_devices(config)
    return devices.data_parallel(measure, (False, False, False, True))


def flat(result: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Flatten nested arrays to names such as "ode/nats", for an .npz file."""
    return {
        f"{part}/{name}": leaf for part, leaves in result.items() for name, leaf in leaves.items()
    }


def measured(
    values: dict[str, np.ndarray], part: str, dimension: int, offset: float, shape: tuple[int, int]
) -> Measured | None:
    """One part of the result converted to bits/dim, or None if it was not measured."""
    if f"{part}/nats" not in values:
        return None
    nats, error, nfe = (
        values[f"{part}/{name}"].astype(np.float64).reshape(shape)
        for name in ("nats", "error", "nfe")
    )
    bits = dimension * math.log(2)
    return Measured(nats / bits + offset, error / bits, nfe)


def check_finite(values: dict[str, np.ndarray], options: Any) -> None:
    """Raise UserError if a value of the batch is not finite or a solve failed, so that it is neither stored nor averaged."""
    bad = np.zeros(len(next(iter(values.values()))), bool)
    for name, value in values.items():
        if name.endswith("/nats"):
            bad |= ~np.isfinite(value)
        if name.endswith("/success"):
            bad |= ~value
    if bad.any():
        raise UserError(
            f"{bad.sum()} of {len(bad)} likelihoods did not come out finite (solver {options.solver}, "
            f"rtol={options.rtol}, atol={options.atol}); try a larger likelihood.eps or other tolerances"
        )
