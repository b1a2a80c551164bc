"""Files of a few bytes that demand hours, gigabytes or a deep stack: refused at once with a message."""

import io
import os
import pickle
import struct
import time
import zipfile

import msgpack
import pytest
from tiny_run import TINY

from score_sde.errors import UserError
from score_sde.foreign_weights import checkpoint_file, pickle_machine, torch_file
from score_sde.foreign_weights.restricted_pickle import load
from score_sde.foreign_weights.torch_file import STREAM_MAGIC, ZIP_MAGIC
from score_sde.quoting import LONGEST


def nested(depth):
    """Lists in lists."""
    return b"]" * depth + b"a" * (depth - 1)


def laughs(opening, closing, depth=11):
    """Ten references to ten references to ...: 10^11 values in some hundred bytes."""
    program = b"K\x01q\x00"
    for level in range(depth):
        program += opening + b"(" + (b"h" + bytes([level])) * 10 + closing
        program += b"q" + bytes([level + 1])
    return b"(" + program + b"t"


def text(word):
    return b"X" + struct.pack("<I", len(word)) + word


STEP = b"}" + text(b"step")
LISTS, TUPLES = laughs(b"]", b"e"), laughs(b"", b"t")
HOSTILE = {
    "deep": (STEP + nested(5000) + b"s", "nested more than 64 deep"),
    "very deep": (STEP + nested(300_000) + b"s", "nested more than 64 deep"),
    "laughs": (STEP + LISTS + b"s", "more than 1048576 values if nothing in it were shared"),
    "laughs as a name": (b"}" + TUPLES + b"K\x01s", "for a name; checkpoints have texts and integers"),
    "laughs as a type": (
        b"cnumpy\ndtype\n(" + TUPLES + b"\x89\x88tR", "asks for the NumPy type"
    ),
    "laughs as a storage": (b"(" + LISTS + b"NNNNtQ", "refers to .* which is no storage"),
    "itself": (STEP + b"]q\x00h\x00as", "contains itself"),
    "long": (b"N" * (pickle_machine.MAX_INSTRUCTIONS + 2), "more than 1048576 instructions"),
    "huge shape": (
        b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00(" + b"\x8a\xff" + b"\x7f" * 255 + b"t)NNtR",
        "damaged|not an array",
    ),
    "escape in a name": (b"cos\nsys\x1b[2Jtem\n", r"asks for os.sys\\x1b\[2Jtem"),
    "escape in a text": (STEP + text(b"\x1b[31mred\x07") + b"s", r"\\x1b\[31mred\\x07"),
    "escape among names": (b"}" + text(b"\x1b]0;a") + b"K\x01s", r"in its place: \\x1b\]0;a"),
    "a megabyte as a name": (b"cos\n" + b"a" * 1_000_000 + b"\n", "characters more$"),
    "a megabyte as a step": (STEP + text(b"a" * 1_000_000) + b"s", "expected a number of steps"),
    "a megabyte of names": (b"}" + text(b"a" * 1_000_000) + b"K\x01s", "in its place: aaa"),
}  # fmt: skip


def save(path, program):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + program + b".")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_in_a_line_and_at_once(name, config, tmp_path):
    program, words = HOSTILE[name]
    path = tmp_path / "hostile.pth"
    save(path, program)
    began = time.perf_counter()
    with pytest.raises(UserError, match=words) as error:
        checkpoint_file.read(path, config)
    assert time.perf_counter() - began < 20
    said = str(error.value)
    assert said.isprintable()
    assert len(said) < LONGEST + 100


def test_a_pickle_of_many_bytes_is_not_read(config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="has a pickle of more than 10 bytes beside its arrays"):
        checkpoint_file.read(TINY, config)


def test_what_is_shared_and_small_is_read():
    """Such as the pair of betas shared by two parameter groups."""
    betas = (0.9, 0.999)
    groups = [{"betas": betas}, {"betas": betas}]
    assert load(io.BytesIO(pickle.dumps(groups, 2)), None) == groups


@pytest.mark.parametrize("magic", [ZIP_MAGIC, STREAM_MAGIC, b"\x81"])
def test_a_sparse_file_of_64_gigabytes_is_not_read(magic, config, tmp_path):
    path = tmp_path / "sparse"
    path.write_bytes(magic)
    os.truncate(path, 64 << 30)
    with pytest.raises(
        UserError, match="has 68,719,476,736 bytes, but a checkpoint of the config's"
    ):
        checkpoint_file.read(path, config)


def test_flax_files_nested_deep_are_refused(config, tmp_path):
    path = tmp_path / "deep"
    for deep in (b"\x81\xa4step" + b"\x91" * 100_000 + b"\x01", msgpack.packb({"step": "\x1b[2J"})):
        path.write_bytes(deep)
        with pytest.raises(UserError) as error:
            checkpoint_file.read(path, config)
        assert str(error.value).isprintable()


def test_another_network_is_answered_in_a_line(config):
    config.model.nf = 16
    with pytest.raises(
        UserError,
        match=r"1[0-9]+ arrays differ in name or shape \(model.all_modules.0.W: .*; \.\.\.\)",
    ) as error:
        checkpoint_file.read(TINY, config)
    assert str(error.value).isprintable()
