"""Measure how cost grows with batch, resolution, devices, steps, tolerance and classes, and where it departs from linear.

    python -m benchmarks.growth --nf 32 --out docs
    python -m benchmarks.growth --axes batch resolution --batches 1 4 16 --out runs/growth

Along each axis but `devices`, setups that differ in one quantity are timed in turns in one process (benchmarks/turns.py), so that
fluctuations of the machine affect all alike; seconds are medians. The exponent next to a figure is the log-log slope from the figure above
it: 1 is linear growth, 0 a constant cost. Evaluations against tolerance are counted, not timed, with the exact score of
configs/toy_mixture.py. Devices are those into which XLA splits one CPU, each number of them in a process of its own, one after
the other; their rows show the overhead of sharing a batch, never the gain from more devices. Lines are appended to
<out>/growth.jsonl as they are measured; then a table for each run is printed, and the picture and the page there are updated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.accelerator.ours import TrainingSteps, forward
from benchmarks.command import in_words, make_folder, provenance, run_main
from benchmarks.growth_picture import draw_picture
from benchmarks.random_network import random_network
from benchmarks.tables import read, renew
from benchmarks.turns import Work, in_turns
from score_sde.config_file import load_config
from score_sde.data.image_shape import image_shape
from score_sde.devices import DEVICES
from score_sde.errors import UserError
from score_sde.generation.generate import build_generator
from score_sde.progress import progress_bar
from score_sde.sde_lib import build_sde
from score_sde.training.trained_score import load_score_model

TOY = "configs/toy_mixture.py"


class Point(NamedTuple):
    """One measured value."""

    axis: str
    measure: str
    at: float
    """Position on the axis."""
    value: float
    unit: str


class Setting(NamedTuple):
    """What is measured, and the length of the timings."""

    options: argparse.Namespace
    block: float = 1.0
    """Seconds of a block of timings."""
    rounds: int = 3

    def config(self, **changes: Any) -> Any:
        """The configuration --config with the width --nf, and with the given fields changed (data__image_size=64)."""
        config = load_config(self.options.config)
        if self.options.nf:
            config.model.nf = self.options.nf
        config.update_from_flattened_dict(
            {name.replace("__", "."): value for name, value in changes.items()}
        )
        return config

    def timed(self, axis: str, measure: str, works: dict[float, Work], per: str) -> Iterator[Point]:
        """Time all works in turns, and yield the seconds of each."""
        for work in works.values():
            work(1)
        named = {str(at): work for at, work in works.items()}
        found = in_turns(named, self.block, self.rounds)
        for at in works:
            yield Point(axis, measure, at, found[str(at)].median, f"s {per}")


def batch(setting: Setting) -> Iterator[Point]:
    """An evaluation and a training step with n images, on one device."""
    sizes, config = setting.options.batches, setting.config()
    one = DEVICES[config.data_parallel](jax.devices()[:1])
    works = {n: forward(setting.config(), n) for n in sizes}
    yield from setting.timed("batch", "evaluation", works, "a batch")
    steps: dict[float, Work] = {n: TrainingSteps(setting.config(), n, one) for n in sizes}
    yield from setting.timed("batch", "training step", steps, "a batch")


def resolution(setting: Setting) -> Iterator[Point]:
    """An evaluation of one network, with attention only in the middle, on images of n x n pixels."""

    def config(side: int) -> Any:
        return setting.config(data__image_size=side, model__attn_resolutions=())

    works = {side**2: forward(config(side), 1) for side in setting.options.resolutions}
    yield from setting.timed("pixels of an image", "evaluation", works, "an image")


def steps(setting: Setting) -> Iterator[Point]:
    """Sampling by DDIM, by the driver of `--mode sample`, against the evaluations that it counts: one more than steps, as the
    last noise is removed."""
    config = setting.config(sampling__sampler="ddim", sampling__num_images=4)
    sde = build_sde(config)
    model = random_network(config, sde)

    def sampling(count: int) -> tuple[float, Work]:
        configured = config.copy_and_resolve_references()
        configured.sampling.exponential.num_steps = count
        configured.sampling.batch_size = 4
        generate = build_generator(configured, sde, image_shape(config.data))

        def work(times: int) -> None:
            for _ in range(times):
                generate(model, 4, 0)

        return float(generate(model, 4, 0).nfe.mean()), work

    works = dict(sampling(count) for count in setting.options.steps)
    yield from setting.timed("evaluations", "samples by DDIM", works, "a batch of 4")


def tolerance(setting: Setting) -> Iterator[Point]:
    """Number of evaluations of Dopri5 for the probability flow with the exact score of a mixture."""
    for power in setting.options.tolerances:
        config = load_config(TOY)
        config.sampling.update(sampler="ode", num_images=64, batch_size=64)
        config.sampling.ode.update(rtol=10.0**-power, atol=10.0**-power)
        sde = build_sde(config)
        model = load_score_model(config, sde, Path()).model
        generated = build_generator(config, sde, image_shape(config.data))(model, 64, 0)
        nfe = float(generated.nfe.mean())
        yield Point("1 / tolerance", "evaluations of Dopri5", 10.0**power, nfe, "evaluations")


def classes(setting: Setting) -> Iterator[Point]:
    """An unconditional evaluation of a network with n classes."""
    sizes = setting.options.classes
    works = {n: forward(setting.config(model__num_classes=n), 16) for n in sizes}
    yield from setting.timed("classes", "evaluation", works, "a batch of 16")


def devices(setting: Setting) -> Iterator[Point]:
    """A training step with one batch shared by n devices of the CPU; each n runs in its own process."""
    for count in setting.options.devices:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
        command = [sys.executable, "-m", "benchmarks.growth", "--shared", "--config"]
        command += [setting.options.config, "--nf", str(setting.options.nf)]
        command += ["--block", str(setting.block), "--rounds", str(setting.rounds)]
        ended = subprocess.run(
            command,
            env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            raise RuntimeError(f"{count} devices: {ended.stderr[-2000:]}")
        seconds = float(ended.stdout.split()[-1])
        yield Point("devices", "training step", count, seconds, "s a batch of 16")


def shared_step(setting: Setting) -> None:
    """Print the seconds of a training step over the devices of this process."""
    works: dict[float, Work] = {1: TrainingSteps(setting.config(), 16)}
    (point,) = setting.timed("devices", "training step", works, "a batch")
    print(point.value)


AXES: dict[str, Callable[[Setting], Iterator[Point]]] = {
    function.__name__: function
    for function in (batch, resolution, devices, steps, tolerance, classes)
}


def exponents(points: list[Point]) -> list[float]:
    """The log-log slope from each point to the next; NaN from a point at 0."""
    return [
        float(np.log(b.value / a.value) / np.log(b.at / a.at)) if a.at > 0 else float("nan")
        for a, b in pairwise(points)
    ]


def curves(points: Iterable[Point]) -> list[list[Point]]:
    """Group the points by axis and measure, in the order of appearance."""
    found: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        found.setdefault((point.axis, point.measure), []).append(point)
    return list(found.values())


def table(points: Iterable[Point]) -> str:
    lines = ["| axis | measure | at | figure | exponent |", "|---|---|---|---|---|"]
    for curve in curves(points):
        slopes = ["", *(f"{x:.2f}" if np.isfinite(x) else "" for x in exponents(curve))]
        for point, slope in zip(curve, slopes, strict=True):
            lines.append(
                f"| {point.axis} | {point.measure} | {point.at:g} | {point.value:.3g} {point.unit} | {slope} |"
            )
    return "\n".join(lines)


def by_run(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of each run, the newest first."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        runs.setdefault((row["date"], row["command"]), []).append(row)
    return [run for _, run in sorted(runs.items(), reverse=True)]


def points_of(run: list[dict[str, Any]]) -> list[Point]:
    return [Point(*(row[field] for field in Point._fields)) for row in run]


def newest_curves(rows: list[dict[str, Any]]) -> list[list[Point]]:
    """Each curve from the newest run that has it."""
    found: dict[tuple[str, str], list[Point]] = {}
    for run in reversed(by_run(rows)):
        found |= {(curve[0].axis, curve[0].measure): curve for curve in curves(points_of(run))}
    return list(found.values())


def tables(rows: list[dict[str, Any]]) -> dict[str, str]:
    """One Markdown text with a table per run, the newest first: slopes are only meaningful among figures timed in turns."""
    chapters = []
    for run in by_run(rows):
        chapters += [table(points_of(run)), in_words(run[0])]
    return {"": "\n\n".join(chapters)}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", default="configs/vp_cifar.py:ddpmpp", metavar="FILE[:VARIANT]")
    parser.add_argument("--nf", type=int, default=0, help="base width; 0: the config's")
    parser.add_argument("--axes", nargs="+", default=[*AXES], help=f"among {', '.join(AXES)}")
    several: dict[str, Any] = {"nargs": "+", "type": int}
    parser.add_argument("--batches", **several, default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--resolutions", **several, default=[32, 64, 128, 256])
    parser.add_argument("--devices", **several, default=[1, 2, 4])
    parser.add_argument("--steps", **several, default=[5, 10, 20, 40, 80])
    parser.add_argument("--tolerances", **several, default=[1, 2, 3, 4, 5, 6], help="10^-n")
    parser.add_argument("--classes", **several, default=[0, 10, 100, 1000, 10_000])
    parser.add_argument("--block", type=float, default=1.0, help="seconds of a block of timings")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/growth"), help="a folder")
    parser.add_argument("--shared", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Point]:
    options = parse(arguments)
    if unknown := {*options.axes} - {*AXES}:
        raise UserError(f"--axes={', '.join(sorted(unknown))}: take {', '.join(AXES)}")
    setting = Setting(options, options.block, options.rounds)
    if options.shared:
        shared_step(setting)
        return []
    make_folder(options.out)
    facts, points = provenance("benchmarks.growth"), []
    with progress_bar(len(options.axes), "growth", "axis") as bar:
        for name in options.axes:
            for point in AXES[name](setting):
                points.append(point)
                with open(options.out / "growth.jsonl", "a") as file:
                    file.write(json.dumps(point._asdict() | facts) + "\n")
            jax.clear_caches()  # the programs of this axis are not used again
            bar.update(1)
    rows = read(options.out / "growth.jsonl")
    draw_picture(newest_curves(rows), options.out / "growth.png")
    print(tables(rows)[""])
    renew(options.out)
    return points


if __name__ == "__main__":
    run_main(main)
