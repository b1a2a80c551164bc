"""The training loop: resume, update, record, evaluate, save; and end well, whatever ends it."""

from __future__ import annotations

import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax import Array

from score_sde import data
from score_sde.configs.default import check_options
from score_sde.devices import Devices, build_devices, check_batch_size, host_share
from score_sde.errors import UserError
from score_sde.models.networks import build_network
from score_sde.options import choose
from score_sde.sde_lib import build_sde
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.draws import DRAWS
from score_sde.training.held_out import HeldOutLoss
from score_sde.training.interrupts import Interrupts
from score_sde.training.objective import build_objective
from score_sde.training.optimizer import build_optimizer
from score_sde.training.progress import Progress
from score_sde.training.record import Record
from score_sde.training.recorded_config import check_recorded, record_config
from score_sde.training.state import TrainState, init_state
from score_sde.training.step import build_train_step

Snapshot = Callable[[Any, int], None]


class NotFinite(UserError):
    """The loss or its gradient became inf or NaN."""


def train(
    config: Any, workdir: str | pathlib.Path, snapshot: Snapshot | None = None
) -> dict[str, Any]:
    """Train the network of `config`, from the newest checkpoint in `workdir` if there is one.

    Args:
      workdir: an existing directory; checkpoints/, metrics.jsonl and tensorboard/ go there.
      snapshot: called as snapshot(ema_params, step) every `training.snapshot_freq` steps and at the end.

    Returns:
      The last figures: step, loss (mean since the last line of the log), eval_loss (held out, averaged
      weights), images_per_second, seconds (of this call), checkpoint_step, and stopped_by, the signal that
      ended the run early or None. A figure that was not made is None.

    Raises:
      UserError: a setting that cannot work, found before anything is compiled; a checkpoint of another
        config; or a loss that is not finite (`NotFinite`), the last good checkpoint being kept.
    """
    check_config(config)
    began = time.perf_counter()
    with (
        Interrupts() as interrupts,
        Checkpoints(
            workdir, config.training.keep_checkpoints, config.training.keep_every
        ) as checkpoints,
    ):
        run = Run(config, checkpoints)
        # After the checkpoint's shapes, which say more, and the data, without which nothing is written.
        check_recorded(config, pathlib.Path(workdir))
        record_config(config, pathlib.Path(workdir))
        with (
            Record(workdir, run.step) as run.record,
            Progress(run.step, config.training.n_iters, config.training.batch_size) as run.progress,
        ):
            run.announce()
            stopped_by = run.updates(interrupts, snapshot)
            figures = run.finish(stopped_by, snapshot)
    return {**figures, "seconds": time.perf_counter() - began}


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

    record: Record
    progress: Progress

    def __init__(self, config: Any, checkpoints: Checkpoints):
        self.config, self.checkpoints, self.devices = config, checkpoints, build_devices(config)
        network, optimizer = build_network(config), build_optimizer(config)
        objective = build_objective(config, network, build_sde(config))
        self.datasets = data.load(config, whole=True)
        self.train_step = build_train_step(config, objective, optimizer, self.devices)
        self.held_out = HeldOutLoss(config, objective, self.datasets.test, self.devices)

        def fresh() -> TrainState:
            return init_state(config, network, optimizer)

        self.resumed = checkpoints.latest_step is not None
        if self.resumed:
            self.state = checkpoints.restore(jax.eval_shape(fresh))
        else:
            # It runs once: on a CPU, optimising its hundreds of small random draws takes longer than they do.
            quick = (
                {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
            )
            whole = self.devices.replicated()
            self.state = jax.jit(fresh, out_shardings=whole, compiler_options=quick)()
        self.step = int(self.state.step)
        self.eval_step = -1  # of the newest held-out loss
        self.loss: float | None = None
        self.eval_loss: float | None = None
        self.losses: list[float] = []  # of the updates since the last line of the log
        self.pending: tuple[int, dict[str, Array]] | None = None

    def announce(self) -> None:
        """What is about to run."""
        count = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
        self.progress.say(
            f"{self.config.model.name} with {count:,} parameters on {self.datasets.train.num_images:,} "
            f"images of {self.datasets.name}, {jax.device_count()} x {jax.devices()[0].device_kind}"
        )
        if self.resumed:
            end = self.config.training.n_iters
            self.progress.say(f"resuming from step {self.step} of {end}: {self.checkpoints.folder}")

    def updates(self, interrupts: Interrupts, snapshot: Snapshot | None) -> str | None:
        """All updates that remain; gives the signal that ended them early, or None."""
        training = self.config.training
        resident, batches = feed(self.config, self.datasets.train, self.step, self.devices)
        places = self.devices.split(host_share(training.batch_size))
        while self.step < training.n_iters:
            before, steps = self.step, steps_in_call(self.config, self.step)
            rows = np.stack([next(batches) for _ in range(steps)], axis=1)
            self.state, metrics = self.train_step(
                self.state, resident, self.devices.split(rows), places
            )
            self.step += steps
            # The figures of the call before this one: reading them does not leave the device idle.
            self.collect()
            self.pending = (before, metrics)
            if due(training.eval_freq, before, self.step):
                self.evaluate()
            if due(training.checkpoint_freq, before, self.step):
                self.save()
            if snapshot is not None and due(training.snapshot_freq, before, self.step):
                self.picture(snapshot)
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
            if step % self.config.training.log_freq == 0 or step == self.config.training.n_iters:
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
            f"update {step} (seed {self.config.seed}) has loss {now['loss']} and gradient norm "
            f"{now['grad_norm']}, so the run stops; {kept}. "
            "Try a smaller optim.lr, a longer optim.warmup, or model.dtype=float32"
        )

    def evaluate(self) -> None:
        self.collect()
        with self.progress.pause():
            self.eval_loss, self.eval_step = self.held_out(self.state.ema_params), self.step
        if not math.isfinite(self.eval_loss):
            raise NotFinite(f"the held-out loss is {self.eval_loss} at step {self.step}")
        self.record.write(self.step, eval_loss=self.eval_loss)
        self.progress.say(f"step {self.step}: held-out loss {self.eval_loss:.5g}")

    def save(self) -> None:
        # First the figures: a state that is not finite must not replace a good checkpoint.
        self.collect()
        with self.progress.pause():
            self.checkpoints.save(self.step, self.devices.checkpointable(self.state))

    def picture(self, snapshot: Snapshot) -> None:
        self.collect()
        with self.progress.pause():
            snapshot(self.state.ema_params, self.step)

    def finish(self, stopped_by: str | None, snapshot: Snapshot | None) -> dict[str, Any]:
        """The last checkpoint, and unless a signal wants the process gone, the last loss and picture."""
        training = self.config.training
        self.save()
        if stopped_by:
            self.checkpoints.wait()
            self.progress.say(
                f"stopped by {stopped_by}; step {self.step} is saved, and the same command continues from it"
            )
        else:
            if training.eval_freq and self.eval_step != self.step:
                self.evaluate()
            if (
                snapshot is not None
                and training.snapshot_freq
                and self.step % training.snapshot_freq
            ):
                self.picture(snapshot)
            self.checkpoints.wait()
        return {
            "step": self.step,
            "loss": self.loss,
            "eval_loss": self.eval_loss,
            "images_per_second": self.progress.images_per_second or None,
            "checkpoint_step": self.checkpoints.latest_step,
            "stopped_by": stopped_by,
        }


def steps_in_call(config: Any, step: int) -> int:
    """Updates in the next call: up to the next multiple of steps_per_call, or to the end."""
    k = config.training.steps_per_call
    return min(k - step % k, config.training.n_iters - step)


def feed(
    config: Any, split: Any, start_step: int, devices: Devices
) -> tuple[Any, Iterator[np.ndarray]]:
    """The training images on every device and this host's indices into them for each step from `start_step`;
    or, for a split that is not in memory, None and the images themselves."""
    seed, batch_size = config.seed, config.training.batch_size
    host, hosts = jax.process_index(), jax.process_count()
    if split.images is None:
        batches = split.batches(seed, batch_size, start_step, host, hosts)
        return None, (batch.images for batch in batches)
    resident = jax.device_put(split.images, devices.replicated())

    def indices() -> Iterator[np.ndarray]:
        step = start_step
        while True:
            batch = data.batch_indices(seed, step, batch_size, split.num_images)
            yield data.process_slice(batch, host, hosts).astype(np.int32)
            step += 1

    return resident, indices()
