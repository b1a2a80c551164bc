"""The training loop, of any task: begin, update, record, evaluate, save; and end well, whatever ends it."""

from __future__ import annotations

import math
import pathlib
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
from jax import Array

from score_sde.configs.default import check_options
from score_sde.devices import Devices, check_batch_size
from score_sde.errors import UserError
from score_sde.options import choose
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.draws import DRAWS
from score_sde.training.feed import feed, stacked
from score_sde.training.interrupts import Interrupts
from score_sde.training.progress import Progress
from score_sde.training.record import Record
from score_sde.training.start import Weights, start
from score_sde.training.state import TrainState
from score_sde.training.step import build_train_step
from score_sde.training.task import Plan, Task


class NotFinite(UserError):
    """The loss, its gradient or what an evaluator found became inf or NaN."""


class Finished(NamedTuple):
    state: TrainState
    figures: dict[str, Any]
    """The last: step, loss (mean since the last line of the log), those of the evaluators, images_per_second, seconds
    (of this call), checkpoint_step, and stopped_by, the signal that ended the run early or None."""


def train_task(
    task: Task,
    plan: Plan,
    split: Any,
    workdir: str | pathlib.Path,
    devices: Devices,
    weights: Weights | None = None,
) -> Finished:
    """Train as planned on the images of a split; checkpoints/, metrics.jsonl and tensorboard/ go to `workdir`.

    How a run begins, and when with these weights: start.py.

    Raises:
      UserError: a checkpoint of something else; or a loss that is not finite (`NotFinite`), the last good checkpoint
        being kept.
    """
    began = time.perf_counter()
    with (
        Interrupts() as interrupts,
        Checkpoints(workdir, plan.keep_checkpoints, plan.keep_every) as checkpoints,
    ):
        state, how = start(task, checkpoints, devices, weights)
        # After the checkpoint's shapes, which say more, and the data, without which nothing is written.
        task.record(pathlib.Path(workdir))
        step = int(state.step)
        with (
            Record(workdir, step) as record,
            Progress(step, plan.n_iters, plan.batch_size) as progress,
        ):
            run = Run(task, plan, devices, state, checkpoints, record, progress)
            run.announce(split, how)
            stopped_by = run.updates(split, interrupts)
            figures = run.finish(stopped_by)
    return Finished(run.state, {**figures, "seconds": time.perf_counter() - began})


def check_config(config: Any) -> None:
    """Refuse settings that would fail later, or train something else than was meant."""
    check_options(config)
    training = config.training
    check_batch_size(training.batch_size, "training.batch_size")
    choose("training.draws", training.draws, DRAWS)


def due(frequency: int, before: int, after: int) -> bool:
    """Whether a multiple of `frequency` lies in (before, after]; 0 is never."""
    return frequency > 0 and after // frequency > before // frequency


class Run:
    """A run in progress: the compiled step, the state, and what is known so far."""

    def __init__(
        self,
        task: Task,
        plan: Plan,
        devices: Devices,
        state: TrainState,
        checkpoints: Checkpoints,
        record: Record,
        progress: Progress,
    ):
        self.task, self.plan, self.devices, self.state = task, plan, devices, state
        self.checkpoints, self.record, self.progress = checkpoints, record, progress
        self.train_step = build_train_step(task, devices)
        self.step = int(state.step)
        self.evaluated: dict[str, int] = {}  # evaluator -> the step of its newest figures
        self.found: dict[str, float] = {}  # these figures
        self.loss: float | None = None
        self.losses: list[float] = []  # of the updates since the last line of the log
        self.pending: tuple[int, dict[str, Array]] | None = None

    def announce(self, split: Any, how: str) -> None:
        """What is about to run."""
        count = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
        self.progress.say(
            f"{self.task.name} with {count:,} parameters on {split.num_images:,} images, "
            f"{jax.device_count()} x {jax.devices()[0].device_kind}"
        )
        if how:
            self.progress.say(how)

    def updates(self, split: Any, interrupts: Interrupts) -> str | None:
        """All updates that remain; gives the signal that ended them early, or None."""
        plan = self.plan
        resident, steps = feed(plan.seed, plan.batch_size, split, self.step, self.devices)
        constants = jax.device_get(self.task.constants)  # wherever they are
        constants = jax.device_put(constants, self.devices.replicated())
        while self.step < plan.n_iters:
            before, count = self.step, plan.steps_in_call(self.step)
            given = self.devices.split(stacked([next(steps) for _ in range(count)]))
            self.state, metrics = self.train_step(self.state, constants, resident, given)
            self.step += count
            # The figures of the call before this one: reading them does not leave the device idle.
            self.collect()
            self.pending = (before, metrics)
            self.evaluate(
                name
                for name, evaluator in self.task.evaluators.items()
                if due(evaluator.frequency, before, self.step)
            )
            if due(plan.checkpoint_freq, before, self.step):
                self.save()
            if interrupts.received:
                return interrupts.received
            if jax.process_count() > 1 and self.checkpoints.reached_preemption(self.step):
                return "SIGTERM"
        return None

    def collect(self) -> None:
        """Read the figures of the last call whose figures are still on the device."""
        if self.pending is None:
            return
        (before, metrics), self.pending = self.pending, None
        metrics = jax.device_get(metrics)
        self.progress.finished(before + len(metrics["loss"]))
        for i, loss in enumerate(metrics["loss"].tolist()):
            step = before + 1 + i
            now = {name: float(values[i]) for name, values in metrics.items()}
            if not (math.isfinite(loss) and math.isfinite(now["grad_norm"])):
                raise self.not_finite(step, now)
            self.losses.append(loss)
            if step % self.plan.log_freq == 0 or step == self.plan.n_iters:
                self.log(step, now)

    def log(self, step: int, now: dict[str, float]) -> None:
        """Record the mean loss since the last line, and the other figures as they are now."""
        self.loss, self.losses = math.fsum(self.losses) / len(self.losses), []
        speed = self.progress.images_per_second
        self.record.write(step, **{**now, "loss": self.loss, "images_per_second": speed})
        self.progress.show(loss=self.loss)

    def not_finite(self, step: int, now: dict[str, float]) -> NotFinite:
        self.checkpoints.wait()
        last = self.checkpoints.latest_step
        kept = (
            "there is no checkpoint yet" if last is None else f"the checkpoint of step {last} stays"
        )
        return NotFinite(
            f"update {step} of {self.task.name} (seed {self.plan.seed}) has loss {now['loss']} and gradient norm "
            f"{now['grad_norm']}, so the run stops; {kept}. {self.task.advice}"
        )

    def evaluate(self, names: Iterable[str]) -> None:
        for name in names:
            self.collect()
            with self.progress.pause():
                found = self.task.evaluators[name].evaluate(self.state.ema_params, self.step)
            self.evaluated[name] = self.step
            for figure, value in found.items():
                if not math.isfinite(value):
                    raise NotFinite(f"{figure} is {value} at step {self.step}")
                self.progress.say(f"step {self.step}: {figure} {value:.5g}")
            if found:
                self.record.write(self.step, **found)
                self.found |= found

    def save(self) -> None:
        # First the figures: a state that is not finite must not replace a good checkpoint.
        self.collect()
        with self.progress.pause():
            self.checkpoints.save(self.step, self.devices.checkpointable(self.state))

    def finish(self, stopped_by: str | None) -> dict[str, Any]:
        """The last checkpoint, and unless a signal wants the process gone, what evaluators say of the last step."""
        self.save()
        if stopped_by:
            self.checkpoints.wait()
            self.progress.say(
                f"stopped by {stopped_by}; step {self.step} is saved, and the same command continues from it"
            )
        else:
            self.evaluate(
                name
                for name, evaluator in self.task.evaluators.items()
                if evaluator.frequency and self.evaluated.get(name) != self.step
            )
            self.checkpoints.wait()
        return {
            "step": self.step,
            "loss": self.loss,
            **self.found,
            "images_per_second": self.progress.images_per_second or None,
            "checkpoint_step": self.checkpoints.latest_step,
            "stopped_by": stopped_by,
        }
