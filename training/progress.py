"""The progress of a run, shown as a bar on a terminal and as occasional lines elsewhere, and its throughput."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
from tqdm import tqdm

from score_sde.progress import LINE_EVERY, say

# Work other than updates. The first kind overlaps with the device's work; for the others the device waits.
BESIDE = ("data", "save", "evaluation")


def seconds_between(
    before: dict[str, float], then: float, after: dict[str, float], now: float
) -> dict[str, float]:
    """Return the seconds spent on each kind of work in BESIDE between two times, and the rest as seconds_step."""
    spent = {f"seconds_{name}": after[name] - before[name] for name in BESIDE}
    return {"seconds_step": now - then - sum(spent.values()), **spent}


class Progress:
    """A context manager that counts finished updates and measures time."""

    def __init__(self, start_step: int, num_steps: int, batch_size: int):
        self.step = self.first = start_step
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.began: float | None = (
            None  # time when the first call, and with it the compilation, finished
        )
        self.paused = 0.0  # seconds of pauses before then
        self.compiled = False
        self.figures = ""
        self.said = time.perf_counter()  # time of the last line
        self.seconds = dict.fromkeys(BESIDE, 0.0)
        self.started = time.perf_counter()
        self.reported = dict(self.seconds), self.started
        terminal = jax.process_index() == 0 and sys.stderr.isatty()
        self.bar = tqdm(
            total=num_steps,
            initial=start_step,
            unit="step",
            disable=not terminal,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.bar.close()

    @contextlib.contextmanager
    def compiling(self) -> Iterator[None]:
        """Wrap a call of the update; the first call compiles, and messages report that and its time."""
        if self.compiled:
            yield
            return
        self.say("compiling the update ...")
        before = time.perf_counter()
        yield
        self.compiled, self.said = True, time.perf_counter()
        self.say(f"compiled in {self.said - before:.1f} s")

    def finished(self, step: int) -> None:
        """Note that all updates up to `step` are done."""
        if self.began is None:
            self.began, self.first = time.perf_counter(), step
            self.paused = self.pauses
        self.bar.update(step - self.step)
        self.step = step
        if self.bar.disable and time.perf_counter() - self.said >= LINE_EVERY:
            self.line()

    @contextlib.contextmanager
    def taking(self, what: str) -> Iterator[None]:
        """Measure the time of a kind of work in BESIDE; that of saves and evaluations is left out of the throughput."""
        before = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - before

    def seconds_since(self) -> dict[str, float]:
        """Return how the time since the last call of this method was spent, in seconds: seconds_step, and each kind in BESIDE.

        seconds_step includes compilation and waiting for the device.
        """
        (before, then), self.reported = self.reported, (dict(self.seconds), time.perf_counter())
        return seconds_between(before, then, *self.reported)

    def seconds_of_all(self) -> dict[str, float]:
        """Return how the time since the beginning of the run was spent, as `seconds_since` does."""
        now = time.perf_counter()
        return seconds_between(dict.fromkeys(BESIDE, 0.0), self.started, self.seconds, now)

    @property
    def pauses(self) -> float:
        """Seconds spent on saves and evaluations since the start."""
        return self.seconds["save"] + self.seconds["evaluation"]

    @property
    def images_per_second(self) -> float:
        """Images per second over all devices, excluding compilation and pauses; 0 before there is anything to measure."""
        if self.began is None or self.step == self.first:
            return 0.0
        seconds = time.perf_counter() - self.began - (self.pauses - self.paused)
        return (self.step - self.first) * self.batch_size / seconds

    def show(self, **scalars: float) -> None:
        """Show the latest figures next to the bar or in the next line; the first and the last figures are printed at once."""
        first = not self.figures
        self.figures = "".join(f"  {name} {value:.4g}" for name, value in scalars.items())
        self.bar.set_postfix_str(f"{self.figures.strip()}  {self.images_per_second:.0f} images/s")
        if self.bar.disable and (first or self.step == self.num_steps):
            self.line()

    def line(self) -> None:
        """Print a line with the progress, in place of the bar."""
        self.said, rate = time.perf_counter(), self.images_per_second
        left = (self.num_steps - self.step) * self.batch_size / rate if rate else 0.0
        rate_and_left = f"  {rate:.0f} images/s  {tqdm.format_interval(left)} left" if rate else ""
        self.say(f"step {self.step}/{self.num_steps}{self.figures}{rate_and_left}")

    def say(self, message: str) -> None:
        """Print a line that the bar does not overwrite."""
        say(message)
