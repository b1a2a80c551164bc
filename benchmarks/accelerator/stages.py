"""The stages, the most valuable first, with their approximate duration on a fast GPU."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Collection, Generator, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.integrate import solve_ivp

from benchmarks.accelerator import beside
from benchmarks.accelerator.agreement import agreement
from benchmarks.accelerator.ceilings import ceilings
from benchmarks.accelerator.ours import (
    TrainingSteps,
    forward,
    forward_flops,
    random_split,
    repeated,
)
from benchmarks.accelerator.profile import profile
from benchmarks.accelerator.setting import Row, Setting, images, peak_memory, times
from benchmarks.random_network import random_network
from benchmarks.sampler_overhead import Bench
from benchmarks.turns import Timing, Work, in_turns, ratio, seconds
from score_sde.data.batch import Batch
from score_sde.devices import build_devices
from score_sde.likelihood.bits_per_dim import build_compiled
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.models.score import ScoreModel
from score_sde.samplers.entries import ENTRIES
from score_sde.samplers.ode import probability_flow
from score_sde.sde_lib import build_sde
from score_sde.training.loop import train_task
from score_sde.training.score_task import build_score_task
from score_sde.training.task import Plan

CACHE_HIT = "/jax/compilation_cache/cache_hits"
TRAINING_BATCH, LARGE_BATCH, SAMPLING_BATCH, LIKELIHOOD_BATCH = 128, 512, 256, 64
OURS = "ours"
ODE = "dopri5 adaptive"

Peers = Callable[[Any, int], dict[str, Work]]
"""(config, batch) -> the same work by other programs, by name."""


class Stage(NamedTuple):
    run: Callable[[Setting], Iterator[Row]]
    seconds: float
    """Approximate duration; the stage is not started if less time is left."""


def compared(
    setting: Setting, stage: str, measure: str, precision: str, batch: int, works: dict[str, Work]
) -> Generator[Row, None, Timing]:
    """Yield seconds of the first call, images per second, and our speed relative to the others; return the timing of ours.

    The first calls are named as cached if ours, the first of them, read a program that an earlier command or stage compiled.
    """
    first_call = f"{measure}, first call"
    for who, work in works.items():
        with cache_hits() as hits:
            first = seconds(work, 1, setting.clock)
        if hits:
            first_call += ", cached"
        yield Row(stage, first_call, who, precision, batch, first, "s")
    found = in_turns(works, setting.block, setting.rounds, setting.clock)
    for who, timing in found.items():
        yield Row(stage, measure, who, precision, batch, batch / timing.median, "images/s")
    for who in found:
        if who != OURS:
            gain = ratio(found[who], found[OURS])
            yield Row(stage, f"{measure}, ours over {who}", OURS, precision, batch, gain, "times")
    return found[OURS]


@contextlib.contextmanager
def cache_hits() -> Iterator[list[str]]:
    """Collect an entry for each program that JAX reads from its compilation cache instead of compiling it."""
    found: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == CACHE_HIT:
            found.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_listener(listen)


def training(name: str, dtype: str, size: int, peers: Peers) -> Callable[[Setting], Iterator[Row]]:
    """Build the stage that times the training step in this precision and batch size, along with `peers`."""

    def stage(setting: Setting) -> Iterator[Row]:
        batch, config = setting.batch(size), setting.config(dtype=dtype)
        works: dict[str, Work] = {OURS: TrainingSteps(config, batch), **peers(config, batch)}
        ours = yield from compared(setting, name, "training", dtype, batch, works)
        yield operations(name, "training", dtype, batch, 3 * forward_flops(config), ours)
        yield from memory(name, dtype, batch, works)

    return stage


def operations(stage: str, measure: str, dtype: str, batch: int, each: int, timing: Timing) -> Row:
    """The rate of floating-point operations, from their number `each` per image."""
    rate = each * batch / timing.median / 1e12
    return Row(stage, measure, OURS, dtype, batch, rate, "TFLOP/s")


def memory(stage: str, precision: str, batch: int, ran: Collection[str]) -> Iterator[Row]:
    """Yield the peak memory of this process so far."""
    for who, peak in ((OURS, peak_memory()), *beside.peak_memory(ran)):
        if peak is not None:
            yield Row(stage, "peak memory", who, precision, batch, peak, "GiB")


def evaluations(
    name: str, dtypes: tuple[str, ...], peers: Peers
) -> Callable[[Setting], Iterator[Row]]:
    """Build the stage that times evaluations of the network, as in sampling."""

    def stage(setting: Setting) -> Iterator[Row]:
        batch = setting.batch(SAMPLING_BATCH)
        for dtype in dtypes:
            config = setting.config(dtype=dtype)
            works = {OURS: forward(config, batch), **peers(config, batch)}
            ours = yield from compared(setting, name, "evaluation", dtype, batch, works)
            yield operations(name, "evaluation", dtype, batch, forward_flops(config), ours)

    return stage


def samplers(setting: Setting) -> Iterator[Row]:
    """Measure the overhead of samplers, and an ODE solver on the device against one driven by the host."""
    dtype = setting.fast
    batch, config = setting.batch(SAMPLING_BATCH), setting.config(dtype=dtype)
    steps = 4 if setting.tiny else 20
    bench = Bench(config, batch, steps, setting.rounds, setting.clock)
    names = ("reverse_diffusion + langevin", ODE, "ddim", "dpm_solver_pp_2m", "unipc_3")
    measured = {name: bench.measure(ENTRIES[name]) for name in names}
    for name, found in measured.items():
        gain = 1.0 + found.overhead
        row = Row("samplers", f"{name}, over its evaluations", OURS, dtype, batch, gain, "times")
        yield row
        each = 1e3 * found.sampler_seconds / found.nfe
        yield row._replace(measure=f"{name}, an evaluation", value=each, unit="ms")
    host, host_nfe = host_driven(config, bench.model, batch)
    ours = bench.sampler(ENTRIES[ODE])

    def solve(count: int) -> None:
        for _ in range(count):
            jax.block_until_ready(ours.draw())

    timed = in_turns({ODE: solve, "SciPy": host}, setting.block, setting.rounds, setting.clock)
    each = 1e3 * timed["SciPy"].median / host_nfe
    row = Row("samplers", "RK45 on the host, an evaluation", "SciPy", dtype, batch, each, "ms")
    yield row
    gain = ratio(timed["SciPy"], timed[ODE]) * ours.nfe / host_nfe
    yield row._replace(measure=f"the same over {ODE}'s", value=gain, unit="times")
    for name, who, sample, network, nfe in beside.samplers(config, batch, steps):
        works = {name: sample, "network": network}
        timed = in_turns(works, setting.block, setting.rounds, setting.clock)
        gain = ratio(timed[name], timed["network"])
        row = Row("samplers", f"{name}, over its evaluations", who, dtype, batch, gain, "times")
        yield row
        each = 1e3 * timed[name].median / nfe
        yield row._replace(measure=f"{name}, an evaluation", value=each, unit="ms")


def host_driven(config: Any, model: ScoreModel, batch: int) -> tuple[Work, int]:
    """The ODE solved by SciPy's RK45 in float64 on the host, as in the published code, and its number of evaluations."""
    sde = build_sde(config)
    field = jax.jit(partial(probability_flow, sde))
    x = np.asarray(images(config, batch))

    def drift(t: float, flat: np.ndarray) -> np.ndarray:
        state = flat.reshape(x.shape).astype(np.float32)
        return np.asarray(field(np.float32(t), state, model), np.float64).ravel()

    def solve() -> int:
        start = x.ravel().astype(np.float64)
        return int(solve_ivp(drift, (1.0, 1e-3), start, rtol=1e-2, atol=1e-2).nfev)

    def work(count: int) -> None:
        for _ in range(count):
            solve()

    return work, solve()


def likelihoods(setting: Setting) -> Iterator[Row]:
    """Compare one evaluation of drift and divergence in the likelihood with a forward pass, and with forward and backward."""
    batch, config = setting.batch(LIKELIHOOD_BATCH), setting.config()
    config.likelihood.update(rtol=1e-2, atol=1e-2, bound_draws=0)  # the bound is forward passes
    sde, devices = build_sde(config), build_devices(config)
    model = random_network(config, sde)
    split = random_split(config, batch)
    with jax.default_matmul_precision("highest"):
        run = build_compiled(config, sde, split.images[0].size)
        given: Batch = devices.split(split.take(np.arange(batch)))
        key = jax.random.key(0)

        def measure() -> Any:
            return jax.block_until_ready(run(model, UniformDequantizer(), key, given))

        nfe = int(devices.gather(measure(), 1)["ode"]["nfe"][0])
        x, t = images(config, batch), times(batch)
        score = jax.jit(lambda model, x: model(x, t))

        def pull(model: Any, x: jax.Array) -> Any:
            out, pullback = jax.vjp(lambda x: model(x, t), x)
            return out, pullback(x)

        def whole(count: int) -> None:
            for _ in range(count):
                measure()

        works: dict[str, Work] = {
            OURS: whole,
            "forward": repeated(score, model, x),
            "forward and backward": repeated(jax.jit(pull), model, x),
        }
        works |= beside.divergence(config, batch)
        for work in works.values():
            work(1)
        found = in_turns(works, setting.block, setting.rounds, setting.clock)
    ours = Timing(found.pop(OURS).seconds / nfe)
    each = 1e3 * ours.median
    row = Row("likelihoods", "drift and divergence", OURS, "highest", batch, each, "ms")
    yield row
    for who, timing in found.items():
        yield row._replace(who=who, value=1e3 * timing.median)
    published = Timing(found["forward"].seconds + found["forward and backward"].seconds)
    gain = ratio(published, ours)
    yield row._replace(measure="over two separate passes", value=gain, unit="times")


def run(setting: Setting) -> Iterator[Row]:
    """Run the training loop for a minute, with its log and checkpoint, on randomly colored squares."""
    batch, config = setting.batch(TRAINING_BATCH), setting.config(dtype="bfloat16")
    steps = TrainingSteps(config, batch)
    steps(1)
    bare = in_turns({OURS: steps}, setting.block, 2)[OURS].median  # by wall clock, as the loop's
    del steps
    count = max(10, round((2.0 if setting.tiny else 60.0) / bare))
    config.training.update(n_iters=count, eval_freq=0, snapshot_freq=0, checkpoint_freq=count)
    with tempfile.TemporaryDirectory() as folder:
        figures = train_task(
            build_score_task(config),
            Plan.from_config(config, config.training),
            random_split(config, 1000 if setting.tiny else 50_000),
            folder,
            build_devices(config),
        ).figures
    row = Row("run", "training loop", OURS, "bfloat16", batch, figures["loss"], "loss")
    yield row
    yield row._replace(value=figures["images_per_second"], unit="images/s")
    yield row._replace(value=figures["images_per_second"] * bare / batch, unit="of the bare step")


def alone(config: Any, batch: int) -> dict[str, Work]:
    return {}


def trained(name: str, dtype: str, size: int, peers: Peers, needs: float) -> dict[str, Stage]:
    return {name: Stage(training(name, dtype, size, peers), needs)}


BF16, F32 = "bfloat16", "float32"
STAGES: dict[str, Stage] = {
    "ceilings": Stage(ceilings, 25),
    "agreement": Stage(agreement, 140),
    **trained("training_bfloat16", BF16, TRAINING_BATCH, beside.training_eager, 130),
    "profile": Stage(profile, 30),
    "evaluations": Stage(evaluations("evaluations", (BF16,), beside.forward_eager), 60),
    **trained("compiled_bfloat16", BF16, TRAINING_BATCH, beside.training_both, 130),
    "likelihoods": Stage(likelihoods, 90),
    "samplers": Stage(samplers, 90),
    **trained("training_float32", F32, TRAINING_BATCH, beside.training_both, 180),
    "compiled_evaluations": Stage(
        evaluations("compiled_evaluations", (BF16, F32), beside.forward_both), 120
    ),
    **trained("large_batch", BF16, LARGE_BATCH, alone, 80),
    "run": Stage(run, 130),
}
"""If a stage repeats programs of an earlier one, its first calls use a warm compilation cache, and are named so."""
