"""Files are complete or absent, and figures recorded, whatever happens to the disk or the reader of the output."""

import asyncio
import errno
import json
import os
import sys
import threading
import time
import types

import numpy as np
import pytest

import main
from score_sde.errors import UserError
from score_sde.files import append_line, write_whole
from score_sde.progress import progress_bar, say
from score_sde.results import report
from score_sde.unfinished import UnfinishedFolder
from tests.limited import room_for


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "made" / "config.json"
    with (
        room_for(100),
        pytest.raises(UserError, match=r"cannot write .*config.json .*make room") as error,
    ):
        write_whole(path, b"x" * 101)
    assert "\n" not in str(error.value)
    assert not list(path.parent.iterdir())
    write_whole(path, b"old")
    with room_for(100), pytest.raises(UserError):
        write_whole(path, lambda file: [file.write(b"x" * 60) for _ in range(2)])
    assert path.read_bytes() == b"old"
    write_whole(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["config.json"]


def test_two_that_write_one_file_leave_the_whole_of_the_later(tmp_path):
    """The second write begins and ends in another thread while the first is writing."""
    path = tmp_path / "file"

    def first(file):
        file.write(b"fi")
        file.flush()
        second = threading.Thread(target=write_whole, args=(path, b"second"))
        second.start()
        second.join()
        assert path.read_bytes() == b"second"
        file.write(b"rst")

    write_whole(path, first)
    assert path.read_bytes() == b"first"
    assert [*tmp_path.iterdir()] == [path]


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path):
    """Only a day later and only for this file; a partial file that may still be in use stays."""
    path, writers = tmp_path / "a[1].npz", ("a[1].npz", "a[1].npz", "b.npz")
    left = [tmp_path / f"{name}.{n}-{n}.partial" for n, name in enumerate(writers)]
    for partial, hours in zip(left, (25, 23, 25), strict=True):
        partial.write_bytes(b"half")
        os.utime(partial, (time.time() - 3600 * hours,) * 2)
    write_whole(path, b"whole")
    assert {*tmp_path.iterdir()} == {path, *left[1:]}


def test_what_fails_while_it_writes_keeps_its_error(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_whole(tmp_path / "file", lambda file: 1 / 0)
    assert not list(tmp_path.iterdir())


def test_a_line_stands_alone_below_half_of_one(tmp_path):
    path = tmp_path / "results.jsonl"
    append_line(path, "one")
    with path.open("a") as file:
        file.write('{"ste')
    append_line(path, "two")
    append_line(path, "three")
    assert path.read_text() == 'one\n{"ste\ntwo\nthree\n'


def test_a_line_without_room_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "results.jsonl"
    append_line(path, "one")
    with room_for(10), pytest.raises(UserError, match="cannot write"):
        append_line(path, "a line too long")  # of which six bytes have room
    assert path.read_text() == "one\n"
    append_line(path, "two")
    assert path.read_text() == "one\ntwo\n"


def test_a_batch_without_room_is_not_there(tmp_path):
    store = UnfinishedFolder(tmp_path, {})
    with room_for(200), pytest.raises(UserError, match="0.npz"):
        store.save(0, {"images": np.zeros(1000)})
    assert not UnfinishedFolder(tmp_path, {}).found
    assert not list(store.folder.iterdir())


class Gone:
    """An output that nobody reads."""

    def __init__(self, file, number):
        self.file, self.number = file, number

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))

    def flush(self):
        self.write("")

    def isatty(self):
        return False

    def fileno(self):
        return self.file.fileno()


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC])
def test_figures_are_on_record_though_nobody_reads_them(tmp_path, monkeypatch, number):
    with (tmp_path / "output").open("w") as file:
        monkeypatch.setattr(sys, "stdout", Gone(file, number))
        report(tmp_path, {"mode": "sample"})
        # And what Python prints when it ends goes nowhere.
        assert os.path.samestat(os.fstat(file.fileno()), os.stat(os.devnull))
    assert json.loads((tmp_path / "results.jsonl").read_text())["mode"] == "sample"


def test_work_goes_on_though_nobody_reads_its_bar(tmp_path, monkeypatch):
    with (tmp_path / "output").open("w") as file:
        monkeypatch.setattr(sys, "stderr", Gone(file, errno.EPIPE))
        with progress_bar(4, "sampling", "image") as bar:
            bar.update(4)
            bar.refresh()
        say("a line")


def test_figures_without_room_are_printed(tmp_path, capsys):
    with room_for(5), pytest.raises(UserError, match="results.jsonl"):
        report(tmp_path, {"mode": "sample"})
    assert capsys.readouterr().out == "mode  sample\n"


@pytest.mark.parametrize(
    ("ends", "status", "words"),
    [
        ({"stopped_by": None}, 0, ""),
        ({}, 0, ""),
        ({"stopped_by": "SIGINT"}, 130, ""),
        ({"stopped_by": "SIGTERM"}, 143, ""),
        (BrokenPipeError(), 141, ""),
        (
            OSError(errno.ENOSPC, "No space left on device", "picture.png"),
            2,
            "main.py: cannot write picture.png (No space left on device)",
        ),
        (
            FileNotFoundError(2, "No such file", "weights.npy"),
            2,
            "main.py: weights.npy: No such file",
        ),
        (MemoryError("8 TiB"), 2, "main.py: out of memory: take a smaller batch_size"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), 2, "main.py: out of memory: "),
    ],
)
def test_the_exit_status_says_how_it_ended(monkeypatch, capsys, ends, status, words):
    def run(argv):
        if isinstance(ends, Exception):
            raise ends
        return ends

    monkeypatch.setattr(main, "run", run)
    assert main.main() == status
    assert capsys.readouterr().err.startswith(words)


def test_of_a_failed_save_its_line_is_all_that_is_said():
    """Messages of TensorStore's threads to a closed event loop are hidden; other unraisable errors are shown."""
    loop = asyncio.new_event_loop()
    loop.close()
    for say_to in (loop.call_soon_threadsafe, int):
        try:
            say_to("x")
        except (RuntimeError, ValueError) as error:
            found = types.SimpleNamespace(exc_type=type(error), exc_value=error)
        shown = []
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "__unraisablehook__", shown.append)
            main.say_unraisable(found)
        assert shown == ([] if say_to is not int else [found])
