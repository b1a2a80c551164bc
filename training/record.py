"""The records of a run: scalars in <workdir>/metrics.jsonl, one JSON object per line; scalars and pictures for TensorBoard."""

from __future__ import annotations

import json
import pathlib
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from typing import Any, Protocol

import jax
from PIL.Image import Image

from score_sde.devices import of_first_host
from score_sde.errors import UserError
from score_sde.files import append_line, append_whole, cannot_write, parse_json, write_whole
from score_sde.progress import say


class Watcher(Protocol):
    """A further receiver of what a run records, in addition to metrics.jsonl."""

    def write(self, step: int, scalars: dict[str, float]) -> None: ...

    def draw(self, step: int, pictures: dict[str, Image]) -> None: ...

    def close(self) -> None:
        """Finish: nothing more will be recorded."""
        ...


Watch = Callable[[pathlib.Path], Watcher]  # makes the Watcher of a run in this folder


class Record:
    """Writes scalars and pictures immediately; on hosts other than the first it writes nothing."""

    def __init__(self, workdir: str | pathlib.Path, start_step: int, watch: Sequence[Watch] = ()):
        """Open the record, dropping everything recorded past `start_step`, since those steps will be repeated."""
        self.watchers: list[Watcher] = []
        if jax.process_index() != 0:
            return
        folder = pathlib.Path(workdir)
        self.path = folder / "metrics.jsonl"
        self.resumed_at, self.known = start_step, keep_up_to(self.path, start_step)
        self.watchers.append(Points(folder / "tensorboard", start_step + 1))
        self.watchers.extend(begin(folder) for begin in watch)

    def has(self, step: int, names: Iterable[str]) -> bool:
        """Whether `step` is where this run resumed and all these figures of it are already recorded; to be asked on every host."""
        # Only the first host knows.
        here = bool(self.watchers) and step == self.resumed_at and self.known.issuperset(names)
        return of_first_host(here)

    def write(self, step: int, **scalars: float) -> None:
        """Append a line {"step": step, name: value, ...} and the points of its curves; they are on disk when this returns.

        Raises:
          UserError: they cannot be written.
        """
        if not self.watchers:
            return
        if step == self.resumed_at:
            scalars = {name: value for name, value in scalars.items() if name not in self.known}
            if not scalars:
                return
        # Eight significant digits: almost the full precision of a float32, without the spurious digits of a double.
        rounded = {name: float(f"{value:.8g}") for name, value in scalars.items()}
        append_line(self.path, json.dumps({"step": step, **rounded}, allow_nan=False))
        self.show(step, **scalars)

    def show(self, step: int, **scalars: float) -> None:
        """Show scalars as points of curves only, without a line in metrics.jsonl; for timings, which differ between equal runs."""
        for watcher in self.watchers:
            watcher.write(step, scalars)

    def draw(self, step: int, pictures: dict[str, Image]) -> None:
        for watcher in self.watchers:
            watcher.draw(step, pictures)

    def close(self) -> None:
        for watcher in self.watchers:
            watcher.close()


class Points:
    """A Watcher that writes an event file for TensorBoard, in the calling thread.

    tensorboardX's SummaryWriter writes in another thread, which dies if the disk is full; its queue then fills up and the next
    point blocks forever. Also, a run that is killed loses what that thread has not yet written.
    """

    def __init__(self, folder: pathlib.Path, purge_step: int):
        """Start a new event file; TensorBoard hides points of earlier files in the folder from `purge_step` on."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.summary import scalar

        self.event, self.summary, self.scalar = Event, Summary, scalar
        self.path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
        started = SessionLog(status=SessionLog.START)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        self._append(
            [
                Event(wall_time=time.time(), file_version="brain.Event:2"),
                Event(wall_time=time.time(), step=purge_step, session_log=started),
            ]
        )

    def write(self, step: int, scalars: dict[str, float]) -> None:
        now = time.time()
        self._append(
            self.event(wall_time=now, step=step, summary=self.scalar(name, value))
            for name, value in scalars.items()
        )

    def draw(self, step: int, pictures: dict[str, Image]) -> None:
        now = time.time()
        self._append(
            self.event(wall_time=now, step=step, summary=self._shown(name, picture))
            for name, picture in pictures.items()
        )

    def close(self) -> None:
        """Do nothing, since everything is already on disk."""

    def _shown(self, name: str, picture: Image) -> Any:
        file = BytesIO()
        picture.save(file, "PNG")
        image = self.summary.Image(
            height=picture.height,
            width=picture.width,
            colorspace=len(picture.getbands()),
            encoded_image_string=file.getvalue(),
        )
        return self.summary(value=[self.summary.Value(tag=name, image=image)])

    def _append(self, events: Iterable[Any]) -> None:
        append_whole(self.path, b"".join(framed(event.SerializeToString()) for event in events))


def framed(data: bytes) -> bytes:
    """Frame data as a record of a TFRecord file: its length and its bytes, each with a checksum."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(data))
    length, data = (part + struct.pack("<I", masked_crc32c(part)) for part in (length, data))
    return length + data


def keep_up_to(path: pathlib.Path, step: int) -> set[str]:
    """Drop lines past `step`, and damaged lines: a killed run leaves its last line unfinished.

    Returns:
      The names of the figures already recorded for `step` itself, so that they are not written twice.

    Raises:
      UserError: the file cannot be read or written.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}), to which the run's figures are appended; move it away"
        ) from error
    lines = data.decode(errors="replace").splitlines()
    steps = [_step(line) for line in lines]
    damaged = sum(found is None for found in steps[:-1])
    if damaged:
        write_whole(path.with_name(f"{path.name}.damaged"), data)
        say(
            f"{path}: {damaged} lines are damaged and left out; the original file is kept as {path.name}.damaged"
        )
    kept = [
        (line, found)
        for line, found in zip(lines, steps, strict=True)
        if found is not None and found <= step
    ]
    write_whole(path, "".join(f"{line}\n" for line, _ in kept).encode())
    return {name for line, found in kept if found == step for name in json.loads(line)}


def _step(line: str) -> float | None:
    """Return the step of a line; None if it is not a valid line of figures."""
    try:
        found = parse_json(line)["step"]
    except (ValueError, TypeError, KeyError):
        return None
    return found if isinstance(found, int | float) else None
