"""A run in progress: update, record, evaluate, save."""

from __future__ import annotations

import contextlib
import math
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax import Array

from score_sde.devices import Devices, HostCopy, on_any_host, on_host
from score_sde.training.checkpoints import Checkpoints, kept
from score_sde.training.evaluations import Evaluations, NotFinite
from score_sde.training.feed import feed, stacked
from score_sde.training.groups import GROUPS, GroupLosses
from score_sde.training.interrupts import Interrupts
from score_sde.training.kept_averages import keep
from score_sde.training.memory import check_fits, needed_by
from score_sde.training.progress import Progress
from score_sde.training.record import Record
from score_sde.training.state import TrainState
from score_sde.training.step import build_train_step, each_step, is_finite
from score_sde.training.task import Evaluator, Plan, Task


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
        folder: pathlib.Path,
        checkpoints: Checkpoints,
        record: Record,
        progress: Progress,
    ):
        self.task, self.plan, self.devices, self.state = task, plan, devices, state
        self.folder, self.checkpoints = folder, checkpoints
        self.record, self.progress = record, progress
        skip_nonfinite = plan.skip_nonfinite > 0
        self.train_step = build_train_step(task, devices, skip_nonfinite, plan.accumulation)
        self.step = int(state.step)
        self.evaluations = Evaluations(task, record, progress)
        self.loss: float | None = None
        self.losses: list[float] = []  # of the updates since the last line of the log
        self.groups = GroupLosses(task)  # of the same
        self.skipped = self.skipped_in_a_row = 0  # updates that were not finite
        self.pending: tuple[int, dict[str, Array], tuple[Any, ...]] | None = None
        self.saved: int | None = None  # the newest step that was given to `checkpoints`
        self.last: tuple[Any, ...] | None = (
            None  # what the last good call was given beside the state
        )

    def announce(self, split: Any, how: str) -> None:
        """What is about to run."""
        count = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
        self.progress.say(
            f"{self.task.name} with {count:,} parameters on {split.num_images:,} images, "
            f"{jax.device_count()} x {jax.devices()[0].device_kind}"
        )
        if how:
            self.progress.say(how)
        if 0 < self.step == self.plan.n_iters:
            self.progress.say(
                f"nothing to train: the folder is at step {self.step} of {self.step}; set training.n_iters to more to go on"
            )

    def updates(self, split: Any, interrupts: Interrupts) -> str | None:
        """All updates that remain; gives the signal that ended them early, or None."""
        plan, began = self.plan, self.step
        # What is announced before anybody asks is for step 1. A run that begins has that still to come.
        if began and self.checkpoints.reached_preemption(1, began):
            return "SIGTERM"
        resident, steps = feed(plan.seed, plan.batch_size, split, self.step, self.devices)
        constants = jax.device_get(self.task.constants)  # wherever they are
        constants = jax.device_put(constants, self.devices.replicated())
        self.make_up()
        while self.step < plan.n_iters:
            before, count = self.step, plan.steps_in_call(self.step)
            with self.nothing_lost("reading the training images"), self.progress.taking("data"):
                given = self.devices.split(stacked([next(steps) for _ in range(count)]))
            arguments = (constants, resident, given)
            with self.progress.compiling():
                if before == began:
                    needed = needed_by(self.train_step, self.state, constants, resident, given)
                    check_fits(needed, f"an update of {self.task.name}")
                    self.progress.say(f"an update takes {needed}")
                self.state, metrics = self.train_step(self.state, *arguments)
            self.step += count
            interrupts.listen()
            # The figures of the call before this one: reading them does not leave the device idle.
            self.collect()
            self.pending = (before, metrics, arguments)
            # Before an evaluation that may fail: the run that goes on makes that up, but has other averages by then.
            if due(plan.averages_freq, before, self.step):
                self.keep_averages()
            # Who sends a signal need not wait for an evaluation: the run that goes on makes it (`make_up`).
            with self.nothing_lost("an evaluation"):
                for name, evaluator in self.task.evaluators.items():
                    if due(evaluator.frequency, before, self.step) and not interrupts.received:
                        self.evaluate([name])
            if due(plan.checkpoint_freq, before, self.step):
                self.save()
            if interrupts.received:
                self.save()
                return interrupts.received
            if self.checkpoints.reached_preemption(*range(before + 1, self.step + 1)):
                return "SIGTERM"
        return None

    def make_up(self) -> None:
        """Ask the evaluators that a signal kept from the step that this run goes on from.

        Of several hosts a signal is told after all evaluations, and only the first knows what is recorded.
        """
        if not self.step or jax.process_count() > 1:
            return
        before = self.plan.call_before(self.step)
        self.evaluate(
            name
            for name, evaluator in self.task.evaluators.items()
            if due(evaluator.frequency, before, self.step) and not self.made(evaluator)
        )

    def made(self, evaluator: Evaluator) -> bool:
        """Whether an evaluation of the step that this run goes on from has left what it leaves."""
        if evaluator.figures:
            return self.record.has(self.step, evaluator.figures)
        return evaluator.drawn(self.step)

    def collect(self) -> None:
        """Read the figures of the last call whose figures are still on the device."""
        if self.pending is None:
            return
        (before, metrics, arguments), self.pending = self.pending, None
        metrics = jax.device_get(metrics)
        steps = each_step(metrics)
        self.progress.finished(before + len(steps))
        for step, now in enumerate(steps, before + 1):
            if is_finite(now):
                self.losses.append(now["loss"])
                self.groups.add(metrics.get(GROUPS), step - before - 1)
                self.skipped_in_a_row = 0
            else:
                self.skip(step, now)
            if self.losses and (step % self.plan.log_freq == 0 or step == self.plan.n_iters):
                self.log(step, now)

        if not self.skipped_in_a_row:
            self.last = arguments

    def skip(self, step: int, now: dict[str, float]) -> None:
        """Count an update that changed nothing, if the plan allows one more."""
        if self.skipped_in_a_row == self.plan.skip_nonfinite:
            raise self.not_finite(step, now)
        self.skipped += 1
        self.skipped_in_a_row += 1
        self.progress.say(
            f"step {step}: loss {now['loss']}, update skipped ({self.skipped} so far)"
        )

    def log(self, step: int, now: dict[str, float]) -> None:
        """Record the mean loss since the last line, and the other figures as they are now."""
        updates = len(self.losses)  # fewer in the first line after a resume
        self.loss, self.losses = math.fsum(self.losses) / updates, []
        speed = self.progress.images_per_second
        figures = {"loss": self.loss, "updates": updates, "images_per_second": speed}
        now = {name: value for name, value in now.items() if math.isfinite(value)}
        self.record.write(step, **{**now, **figures, **self.groups.means()})
        self.record.show(step, **self.progress.seconds_since())
        self.progress.show(loss=self.loss)

    def not_finite(self, step: int, now: dict[str, float]) -> NotFinite:
        return self.stops(
            f"update {step} of {self.task.name} (seed {self.plan.seed}) has loss {now['loss']} and gradient norm "
            f"{now['grad_norm']} (--mode replay --config.training.replay_step={step} says of which images)"
        )

    def stops(self, why: str) -> NotFinite:
        self.checkpoints.wait()
        last = kept(self.checkpoints.latest_step)
        return NotFinite(f"{why}, so the run stops; {last}. {self.task.advice}")

    def evaluate(self, names: Iterable[str]) -> None:
        for name in names:
            self.collect()
            self.evaluations.make([name], self.devices.whole(self.state.ema_params), self.step)
            if self.step in (self.saved, self.checkpoints.latest_step):
                self.checkpoints.add_figures(self.step, self.evaluations.of(self.step))

    def keep_averages(self) -> None:
        if self.state.averages:
            self.collect()
            with self.progress.taking("save"):
                keep(self.folder, self.step, on_host(self.state.averages))

    def save(self) -> None:
        """A checkpoint, unless it is there already.

        Raises:
          NotFinite: a state that must not replace a good checkpoint.
        """
        self.collect()
        if self.step in (self.saved, self.checkpoints.latest_step):
            return
        self.saved = self.step
        with self.progress.taking("save"):
            self.check_state()
            state = self.devices.checkpointable(self.state)
            self.checkpoints.save(self.step, state, self.evaluations.of(self.step))

    def check_state(self) -> None:
        """Make one more update, of a copy: the figures so far are of the states before this one.

        Weights of 1e30 are finite numbers, so only a loss tells; and the compiled update is there already, where another
        function of the weights would cost a compilation.
        """
        if self.last is None:
            return
        copy = jax.tree.map(HostCopy.of, self.state)
        named = jax.tree_util.tree_leaves_with_path(copy)
        # Hosts may have different parts of a leaf, and must all stop.
        bad = on_any_host(np.array([not leaf.is_finite for _, leaf in named]))
        for (path, _), is_bad in zip(named, bad, strict=True):
            if is_bad:
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                raise self.stops(f"{name} is not finite after update {self.step}")
        # Its states make room for the copy. One that is finite will do, after as many that may be skipped.
        after, seen, allowed = self.state, list[dict[str, float]](), self.plan.skip_nonfinite
        while len(seen) <= allowed and not any(map(is_finite, seen)):
            after, metrics = self.train_step(after, *self.last)
            seen += each_step(jax.device_get(metrics))
        if not any(map(is_finite, seen[: allowed + 1])):
            raise self.not_finite(self.step + 1 + allowed, seen[allowed])
        self.state = jax.tree.map(lambda leaf: leaf.on_devices(self.devices.place(leaf)), copy)

    @contextlib.contextmanager
    def nothing_lost(self, what: str) -> Iterator[None]:
        """Save before an error of what is no update ends the run. Of several hosts one alone cannot save."""
        try:
            yield
        except NotFinite:
            raise
        except Exception:
            if (self.pending or self.last) and jax.process_count() == 1:
                self.save()
                self.checkpoints.wait()
                self.progress.say(f"{what} failed; step {self.step} is saved")
            raise

    def finish(self, stopped_by: str | None, interrupts: Interrupts) -> dict[str, Any]:
        """The last checkpoint, and unless a signal wants the process gone, what evaluators say of the last step."""
        if self.plan.keep_best and not (stopped_by or interrupts.received):
            with self.nothing_lost("an evaluation"):
                # Before it is saved: the last checkpoint, too, is one of those that are compared.
                self.evaluate(self.evaluations.missing(self.step))
        self.save()
        self.checkpoints.wait()
        stopped_by = stopped_by or interrupts.received
        if stopped_by:
            self.progress.say(
                f"stopped by {stopped_by}; step {self.step} is saved, and the same command continues from it"
            )
        else:
            interrupts.stop()  # nothing is left to save
            self.evaluate(self.evaluations.missing(self.step))
        return {
            "step": self.step,
            "loss": self.loss,
            **({"skipped": self.skipped} if self.plan.skip_nonfinite else {}),
            **self.evaluations.newest,
            "images_per_second": self.progress.images_per_second or None,
            **self.progress.seconds_of_all(),
            "checkpoint_step": self.checkpoints.latest_step,
            "stopped_by": stopped_by,
        }
