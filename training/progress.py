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


class Progress:
    """Counts updates that have finished. A context manager."""

    def __init__(self, start_step: int, num_steps: int, batch_size: int):
        self.step = self.first = start_step
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.began: float | None = (
            None  # when the first updates, and with them the compilation, were done
        )
        self.paused = 0.0
        self.compiled = False
        self.figures = ""
        self.said = time.perf_counter()  # when the last line was
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
        self.bar.update(step - self.step)
        self.step = step
        if self.bar.disable and time.perf_counter() - self.said >= LINE_EVERY:
            self.line()

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Around work that is not training; its time does not count in the throughput."""
        before = time.perf_counter()
        yield
        self.paused += time.perf_counter() - before

    @property
    def images_per_second(self) -> float:
        """Images over all devices, compilation and pauses left out; 0 before there is something to measure."""
        if self.began is None or self.step == self.first:
            return 0.0
        seconds = time.perf_counter() - self.began - self.paused
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
