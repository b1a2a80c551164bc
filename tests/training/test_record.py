"""The record of a run: written line by line, and readable after any damage."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from score_sde.errors import UserError
from score_sde.training.record import Record, framed
from tests.limited import room_for


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder):
    """What TensorBoard reads: a length of eight bytes, four of a checksum, the event, four of a checksum."""
    (path,) = (folder / "tensorboard").iterdir()
    data, found = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def test_points_are_on_disk_when_the_line_is(tmp_path):
    record = Record(tmp_path, 40)
    record.write(50, loss=0.5, updates=10)
    header, start, loss, updates = events(tmp_path)
    assert header.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (41, start.session_log.START)
    assert (loss.step, loss.summary.value[0].tag, loss.summary.value[0].simple_value) == (
        50,
        "loss",
        0.5,
    )
    assert updates.summary.value[0].tag == "updates"
    assert lines(tmp_path) == [{"step": 50, "loss": 0.5, "updates": 10}]


def test_a_frame_is_tensorboards(tmp_path):
    writer = RecordWriter(str(tmp_path / "file"))
    writer.write(b"some bytes")
    writer.close()
    assert framed(b"some bytes") == (tmp_path / "file").read_bytes()


def test_a_full_disk_is_said_and_not_waited_for(tmp_path):
    record = Record(tmp_path, 0)

    def write_on():
        for step in range(1, 1000):
            record.write(step, loss=0.5)

    with room_for(100), pytest.raises(UserError, match="cannot write"):
        write_on()
    # Where the line was written and the points were not, the line stays.
    whole = len(lines(tmp_path))
    again = Record(tmp_path, whole)
    again.write(whole + 1, loss=0.5)
    assert len(lines(tmp_path)) == whole + 1


@pytest.mark.parametrize(
    ("bad", "kept", "told"),
    [
        ('{"step": 2, "lo', [1, 3], True),
        ("", [1, 3], True),
        ("7", [1, 3], True),
        pytest.param("[" * 100_000, [1, 3], True, id="deep"),
        ('{"loss": 1}', [1, 3], True),
        ('{"step": "x"}', [1, 3], True),
        ("\0\xff\xfe", [1, 3], True),
        ('{"step": 2, "loss": 1.0}', [1, 2, 3], False),
    ],
)
def test_damaged_lines_are_left_out_and_their_neighbours_are_not(tmp_path, capsys, bad, kept, told):
    path = tmp_path / "metrics.jsonl"
    text = f'{{"step": 1, "loss": 1.0}}\n{bad}\n{{"step": 3, "loss": 1.0}}\n{{"step": 4, "lo'
    path.write_text(text, encoding="latin-1")
    Record(tmp_path, 3)
    assert [line["step"] for line in lines(tmp_path)] == kept
    aside = tmp_path / "metrics.jsonl.damaged"
    assert aside.exists() == told
    assert ("1 lines are damaged" in capsys.readouterr().err) == told
    if told:
        assert aside.read_text(encoding="latin-1") == text


def test_a_record_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*metrics.jsonl .*move it away"):
        Record(tmp_path, 0)


def test_pictures_are_shown_at_their_step(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Record(tmp_path, 0).draw(7, {"samples": Image.fromarray(pixels)})
    (event,) = events(tmp_path)[2:]
    (value,) = event.summary.value
    assert (event.step, value.tag) == (7, "samples")
    assert (value.image.height, value.image.width, value.image.colorspace) == (4, 6, 1)
    with Image.open(BytesIO(value.image.encoded_image_string)) as shown:
        np.testing.assert_array_equal(np.asarray(shown), pixels)


def test_who_watches_is_told_all_and_only_what_is_recorded(tmp_path):
    told = []

    class Watcher:
        def write(self, step, scalars):
            told.append((step, scalars))

        def draw(self, step, pictures):
            told.append((step, list(pictures)))

        def close(self):
            told.append("closed")

    (tmp_path / "metrics.jsonl").write_text('{"step": 3, "loss": 1.0}\n')
    record = Record(tmp_path, 3, [lambda folder: told.append(folder) or Watcher()])
    record.write(3, loss=1.0)  # it has this line already
    record.write(4, loss=0.5)
    record.draw(4, {"samples": Image.new("L", (2, 2))})
    record.close()
    assert told == [tmp_path, (4, {"loss": 0.5}), (4, ["samples"]), "closed"]
