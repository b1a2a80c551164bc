"""How far a run is: a bar on a terminal, a plain line now and then elsewhere; and its throughput."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
from tqdm import tqdm

from score_sde.progress import LINE_EVERY, say

# What is done beside the updates. The first happens while the device is at work, for the others it waits.
BESIDE = ("data", "save", "evaluation")


def seconds_between(
    before: dict[str, float], then: float, after: dict[str, float], now: float
) -> dict[str, float]:
    """What was done beside the updates between two times, and the rest."""
    spent = {f"seconds_{name}": after[name] - before[name] for name in BESIDE}
    return {"seconds_step": now - then - sum(spent.values()), **spent}


class Progress:
    """Counts updates that have finished, and the time. A context manager."""

    def __init__(self, start_step: int, num_steps: int, batch_size: int):
        self.step = self.first = start_step
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.began: float | None = (
            None  # when the first updates, and with them the compilation, were done
        )
        self.paused = 0.0  # seconds without updates before then
        self.compiled = False
        self.figures = ""
        self.said = time.perf_counter()  # when the last line was
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
        """Around a call of the update: the first compiles before it begins to compute, and says so."""
        if self.compiled:
            yield
            return
        self.say("compiling the update ...")
        before = time.perf_counter()
        yield
        self.compiled, self.said = True, time.perf_counter()
        self.say(f"compiled in {self.said - before:.1f} s")

    def finished(self, step: int) -> None:
        """Updates up to `step` are done."""
        if self.began is None:
            self.began, self.first = time.perf_counter(), step
            self.paused = self.pauses
        self.bar.update(step - self.step)
        self.step = step
        if self.bar.disable and time.perf_counter() - self.said >= LINE_EVERY:
            self.line()

    @contextlib.contextmanager
    def taking(self, what: str) -> Iterator[None]:
        """Around work of BESIDE; the time of saves and evaluations does not count in the throughput."""
        before = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - before

    def seconds_since(self) -> dict[str, float]:
        """Where the time went since this was last asked, in seconds: seconds_step, and those of BESIDE.

        seconds_step has the compilation in it, and waiting for the device.
        """
        (before, then), self.reported = self.reported, (dict(self.seconds), time.perf_counter())
        return seconds_between(before, then, *self.reported)

    def seconds_of_all(self) -> dict[str, float]:
        """The same since the run began."""
        now = time.perf_counter()
        return seconds_between(dict.fromkeys(BESIDE, 0.0), self.started, self.seconds, now)

    @property
    def pauses(self) -> float:
        """Seconds without updates, since the start."""
        return self.seconds["save"] + self.seconds["evaluation"]

    @property
    def images_per_second(self) -> float:
        """Images over all devices, compilation and pauses left out; 0 before there is something to measure."""
        if self.began is None or self.step == self.first:
            return 0.0
        seconds = time.perf_counter() - self.began - (self.pauses - self.paused)
        return (self.step - self.first) * self.batch_size / seconds

    def show(self, **scalars: float) -> None:
        """The latest figures: beside the bar, or in the next line, which the first and the last make at once."""
        first = not self.figures
        self.figures = "".join(f"  {name} {value:.4g}" for name, value in scalars.items())
        self.bar.set_postfix_str(f"{self.figures.strip()}  {self.images_per_second:.0f} images/s")
        if self.bar.disable and (first or self.step == self.num_steps):
            self.line()

    def line(self) -> None:
        """How far the run is, where there is no bar."""
        self.said, rate = time.perf_counter(), self.images_per_second
        left = (self.num_steps - self.step) * self.batch_size / rate if rate else 0.0
        rate_and_left = f"  {rate:.0f} images/s  {tqdm.format_interval(left)} left" if rate else ""
        self.say(f"step {self.step}/{self.num_steps}{self.figures}{rate_and_left}")

    def say(self, message: str) -> None:
        """A line that the bar does not overwrite."""
        say(message)
