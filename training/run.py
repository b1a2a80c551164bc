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

from score_sde.devices import Devices, HostCopy, of_first_host, on_any_host, on_host
from score_sde.training.checkpoints import Checkpoints, kept
from score_sde.training.evaluations import Evaluations, NotFinite
from score_sde.training.feed import feed, stacked
from score_sde.training.groups import GROUPS, GroupLosses
from score_sde.training.interrupts import Interrupts
from score_sde.training.kept_averages import keep
from score_sde.training.memory import check_fits, needed_by, return_freed_memory
from score_sde.training.progress import Progress
from score_sde.training.record import Record
from score_sde.training.state import TrainState
from score_sde.training.step import build_train_step, each_step, is_finite
from score_sde.training.task import Evaluator, Plan, Task


def due(frequency: int, before: int, after: int) -> bool:
    """Whether a multiple of `frequency` lies in (before, after]; a frequency of 0 means never."""
    return frequency > 0 and after // frequency > before // frequency


class Run:
    """A run in progress: the compiled step, the state, and the figures so far."""

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
        self.losses: list[float] = []  # losses of the updates since the last log line
        self.groups = GroupLosses(task)  # for the same updates
        self.skipped = self.skipped_in_a_row = 0  # updates skipped because they were not finite
        self.pending: tuple[int, dict[str, Array], tuple[Any, ...]] | None = None
        self.saved: int | None = None  # the newest step passed to `checkpoints`
        self.last: tuple[Any, ...] | None = (
            None  # arguments, other than the state, of the last good call
        )

    def announce(self, split: Any, how: str) -> None:
        """Print what is about to run."""
        count = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
        self.progress.say(
            f"{self.task.name} with {count:,} parameters on {split.num_images:,} images, "
            f"{jax.device_count()} x {jax.devices()[0].device_kind}"
        )
        if how:
            self.progress.say(how)
        if 0 < self.step == self.plan.n_iters:
            self.progress.say(
                f"nothing to train: the folder is at step {self.step} of {self.step}; increase training.n_iters to continue"
            )

    def updates(self, split: Any, interrupts: Interrupts) -> str | None:
        """Perform all remaining updates; return the signal that ended them early, or None."""
        plan, began = self.plan, self.step
        # A preemption announced before the first question is for step 1, which a resumed run does not reach again.
        if began and self.checkpoints.reached_preemption(1, began):
            return "SIGTERM"
        resident, steps = feed(plan.seed, plan.batch_size, split, self.step, self.devices)
        constants = jax.device_get(self.task.constants)  # from wherever they are
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
                if before == began:
                    return_freed_memory()
            self.step += count
            interrupts.listen()
            if self.checkpoints.reached_preemption(*range(before + 1, self.step + 1)):
                interrupts.received = "SIGTERM"
            # Read the figures of the previous call, so that the device is not idle meanwhile.
            self.collect()
            self.pending = (before, metrics, arguments)
            # Before the evaluations, one of which may fail: a resumed run makes up for it, but by then has other averages.
            if due(plan.averages_freq, before, self.step):
                self.keep_averages()
            # After a signal, do not delay the end by an evaluation: the resumed run makes up for it (`make_up`).
            with self.nothing_lost("an evaluation"):
                for name, evaluator in self.task.evaluators.items():
                    if due(evaluator.frequency, before, self.step) and not interrupts.received:
                        self.evaluate([name])
            if due(plan.checkpoint_freq, before, self.step):
                self.save()
            if interrupts.received:
                self.save()
                return interrupts.received
        return None

    def make_up(self) -> None:
        """Run the evaluations of the resumed step that a signal made the previous run skip."""
        if not self.step:
            return
        before = self.plan.call_before(self.step)
        self.evaluate(
            name
            for name, evaluator in self.task.evaluators.items()
            if due(evaluator.frequency, before, self.step) and not self.made(evaluator)
        )

    def made(self, evaluator: Evaluator) -> bool:
        """Whether the results of an evaluator exist for the step from which this run resumes."""
        if evaluator.figures:
            return self.record.has(self.step, evaluator.figures)
        return of_first_host(evaluator.drawn(self.step))

    def collect(self) -> None:
        """Read and process the figures of the pending call, if any, from the device."""
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
        """Count a skipped update, or raise NotFinite if the plan allows no more of them."""
        if self.skipped_in_a_row == self.plan.skip_nonfinite:
            raise self.not_finite(step, now)
        self.skipped += 1
        self.skipped_in_a_row += 1
        self.progress.say(
            f"step {step}: loss {now['loss']}, update skipped ({self.skipped} so far)"
        )

    def log(self, step: int, now: dict[str, float]) -> None:
        """Record the mean loss since the last log line, and the current values of the other figures."""
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
            f"{now['grad_norm']} (--mode replay --config.training.replay_step={step} shows which images caused it)"
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
        """Save a checkpoint, unless this step is already saved.

        Raises:
          NotFinite: the state is not finite and must not replace a good checkpoint.
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
        """Check the state by one more update, then restore it: the figures so far belong to the states before this one.

        Weights of 1e30 are finite, so only a loss can show that they are bad. The update is already compiled, while any other
        function of the weights would have to be compiled first.

        Raises:
          NotFinite: the state, or the loss or gradient norm of the update, is not finite.
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
        # The update frees the donated state, which the host copy restores. One finite update suffices, after as many as may be skipped.
        after, seen, allowed = self.state, list[dict[str, float]](), self.plan.skip_nonfinite
        while len(seen) <= allowed and not any(map(is_finite, seen)):
            after, metrics = self.train_step(after, *self.last)
            seen += each_step(jax.device_get(metrics))
        if not any(map(is_finite, seen[: allowed + 1])):
            raise self.not_finite(self.step + 1 + allowed, seen[allowed])
        self.state = jax.tree.map(lambda leaf: leaf.on_devices(self.devices.place(leaf)), copy)

    @contextlib.contextmanager
    def nothing_lost(self, what: str) -> Iterator[None]:
        """If something other than an update fails, save before the error ends the run; a single one of several hosts cannot."""
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
        """Save the last checkpoint, run the evaluators on the last step unless a signal ended the run, and return the figures."""
        if self.plan.keep_best and not (stopped_by or interrupts.received):
            with self.nothing_lost("an evaluation"):
                # Before saving, because the last checkpoint is ranked with the others.
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
