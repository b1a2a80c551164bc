"""The scalars of a run: <workdir>/metrics.jsonl, a JSON object a line; and with its pictures <workdir>/tensorboard."""

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

from score_sde.errors import UserError
from score_sde.files import append_line, append_whole, cannot_write, parse_json, write_whole
from score_sde.progress import say


class Watcher(Protocol):
    """Is told, beside metrics.jsonl, what a run records."""

    def write(self, step: int, scalars: dict[str, float]) -> None: ...

    def draw(self, step: int, pictures: dict[str, Image]) -> None: ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


Watch = Callable[[pathlib.Path], Watcher]  # of the folder of a run that is about to begin


class Record:
    """Writes scalars and pictures as they come; on hosts other than the first it writes nothing."""

    def __init__(self, workdir: str | pathlib.Path, start_step: int, watch: Sequence[Watch] = ()):
        """Everything that an earlier run wrote past `start_step` is dropped: those steps come again."""
        self.watchers: list[Watcher] = []
        if jax.process_index() != 0:
            return
        folder = pathlib.Path(workdir)
        self.path = folder / "metrics.jsonl"
        self.resumed_at, self.known = start_step, keep_up_to(self.path, start_step)
        self.watchers.append(Points(folder / "tensorboard", start_step + 1))
        self.watchers.extend(begin(folder) for begin in watch)

    def has(self, step: int, names: Iterable[str]) -> bool:
        """Whether the record had all figures of these names of the step at which this run began. On the first host."""
        return step == self.resumed_at and self.known.issuperset(names)

    def write(self, step: int, **scalars: float) -> None:
        """One line, {"step": step, name: value, ...}, and the points of its curves: on disk when this returns.

        Raises:
          UserError: they cannot be written.
        """
        if not self.watchers:
            return
        if step == self.resumed_at:
            scalars = {name: value for name, value in scalars.items() if name not in self.known}
            if not scalars:
                return
        # Eight digits: all that a float32 has, without the noise of writing it as a double.
        rounded = {name: float(f"{value:.8g}") for name, value in scalars.items()}
        append_line(self.path, json.dumps({"step": step, **rounded}, allow_nan=False))
        self.show(step, **scalars)

    def show(self, step: int, **scalars: float) -> None:
        """Points of curves only: what has no place in a record that is the same whenever the run is."""
        for watcher in self.watchers:
            watcher.write(step, scalars)

    def draw(self, step: int, pictures: dict[str, Image]) -> None:
        for watcher in self.watchers:
            watcher.draw(step, pictures)

    def close(self) -> None:
        for watcher in self.watchers:
            watcher.close()


class Points:
    """A file for TensorBoard, written by who calls: a Watcher.

    tensorboardX's SummaryWriter leaves that to a thread, which dies on a full disk; its queue then fills, and the next
    point waits for ever. And a run that is killed loses what the thread has not written yet.
    """

    def __init__(self, folder: pathlib.Path, purge_step: int):
        """TensorBoard hides what earlier files of the folder have from `purge_step` on."""
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
        """All is on disk."""

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
    """As a record of a TFRecord file: its length and its bytes, each with a checksum."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(data))
    length, data = (part + struct.pack("<I", masked_crc32c(part)) for part in (length, data))
    return length + data


def keep_up_to(path: pathlib.Path, step: int) -> set[str]:
    """Drop the lines past `step`, and those that are none: a killed run leaves its last one unfinished.

    Returns:
      The names that the lines of `step` itself hold already, so that they are not written twice.

    Raises:
      UserError: the file cannot be read or written.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}), to which the run's figures are added; move it away"
        ) from error
    lines = data.decode(errors="replace").splitlines()
    steps = [_step(line) for line in lines]
    damaged = sum(found is None for found in steps[:-1])
    if damaged:
        write_whole(path.with_name(f"{path.name}.damaged"), data)
        say(
            f"{path}: {damaged} lines are damaged and left out; the file as it was: {path.name}.damaged"
        )
    kept = [
        (line, found)
        for line, found in zip(lines, steps, strict=True)
        if found is not None and found <= step
    ]
    write_whole(path, "".join(f"{line}\n" for line, _ in kept).encode())
    return {name for line, found in kept if found == step for name in json.loads(line)}


def _step(line: str) -> float | None:
    """The step of a line, None of what is no line of figures."""
    try:
        found = parse_json(line)["step"]
    except (ValueError, TypeError, KeyError):
        return None
    return found if isinstance(found, int | float) else None
