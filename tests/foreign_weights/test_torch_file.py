"""The container formats: files written by PyTorch, and damaged or foreign files.

torch_views_*.pth: PyTorch 2.13 with NumPy 2.4; torch.save with the zip format, with
`_use_new_zipfile_serialization=False` (stream), and with `pickle_protocol=4` (p4).
"""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from score_sde.errors import UserError
from score_sde.foreign_weights import torch_write
from score_sde.foreign_weights.restricted_pickle import Tensor
from score_sde.foreign_weights.torch_file import STREAM_MAGIC, open_stream, open_zip
from tests.foreign_weights.test_restricted_pickle import persistent

GOLDEN = Path(__file__).parents[1] / "golden"
OPEN = {"zip": open_zip, "stream": open_stream, "p4": open_zip}

BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
# The first five share one storage in the file.
VIEWS = {
    "whole": BASE,
    "transposed": BASE.T,
    "columns": BASE[:, 1:5:2],
    "tail": BASE[3, 2:],
    "one": BASE[1, 1],
    "empty": np.zeros((0, 3), np.float32),
    "double": np.array([0, 0.25, 0.5, 0.75, 1]),
    "long": np.array([-1, 2**40]),
    "half": np.array([0.5, -2], np.float16),
    "bool": np.array([1, 0], np.uint8),
    "channels_last": np.arange(16, dtype=np.float32).reshape(1, 2, 2, 4),
}
PLAIN = {
    "lr": 0.00075, "big": 2**70, "negative": -3, "none": None, "text": "ä", "pair": (1, 2.5),
    "nested": {"a": [True]},
}  # fmt: skip


def read_all(file):
    return {
        name: file.array(value) if isinstance(value, Tensor) else value
        for name, value in file.contents.items()
    }


def assert_arrays_equal(given, expected):
    for name, array in expected.items():
        np.testing.assert_array_equal(given[name], array, err_msg=name, strict=True)


@pytest.mark.parametrize("kind", OPEN)
def test_what_pytorch_wrote(kind):
    with OPEN[kind](GOLDEN / f"torch_views_{kind}.pth") as file:
        contents = read_all(file)
    assert contents.keys() == {*VIEWS, *PLAIN}
    assert {name: contents[name] for name in PLAIN} == PLAIN
    assert_arrays_equal(contents, VIEWS)


def test_what_is_written_comes_back(tmp_path):
    path = tmp_path / "written.pth"
    arrays = {k: np.asarray(VIEWS[k]) for k in ("whole", "transposed", "columns", "one", "double", "long", "empty")}  # fmt: skip
    torch_write.save(path, PLAIN | arrays | {"min": -(2**31) - 1, "more": 2**31, "off": False})
    with open_zip(path) as file:
        contents = read_all(file)
    assert {name: contents[name] for name in PLAIN} == PLAIN
    assert (contents["min"], contents["more"], contents["off"]) == (-(2**31) - 1, 2**31, False)
    assert_arrays_equal(contents, arrays)


def test_the_same_contents_make_the_same_file(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        torch_write.save(tmp_path / folder / "x.pth", {"a": VIEWS["whole"]})
    assert (tmp_path / "a" / "x.pth").read_bytes() == (tmp_path / "b" / "x.pth").read_bytes()


@pytest.mark.parametrize("kind", ["zip", "stream"])
def test_a_file_cut_anywhere_is_refused(kind, tmp_path):
    whole = (GOLDEN / f"torch_views_{kind}.pth").read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(len(STREAM_MAGIC), len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError), OPEN[kind](path):
            pass


@pytest.mark.parametrize("kind", ["zip", "stream"])
def test_random_damage_is_an_error_in_words_or_data(kind, tmp_path):
    whole = bytearray((GOLDEN / f"torch_views_{kind}.pth").read_bytes())
    path, rng = tmp_path / "damaged.pth", np.random.default_rng(1)
    for place in range(len(STREAM_MAGIC), len(whole), 7):
        damaged = whole.copy()
        damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            with OPEN[kind](path) as file:
                read_all(file)
        except UserError:
            continue
        except AttributeError:  # the damage made the whole contents something else than a dict
            assert not hasattr(file.contents, "items")


def rewritten(path, change):
    """The zip fixture with its entries changed: change(name, data) -> (data, how to write) or None."""
    with (
        zipfile.ZipFile(GOLDEN / "torch_views_zip.pth") as old,
        zipfile.ZipFile(path, "w") as new,
    ):
        for name in old.namelist():
            changed = change(name.partition("/")[2], old.read(name))
            if changed is not None:
                new.writestr(name, changed[0], compress_type=changed[1])


STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
CHANGES = {
    "compressed": (lambda name, data: (data, DEFLATED if name == "data/0" else STORED), "compressed entry, .*data/0"),
    "compressed pickle": (lambda name, data: (data, DEFLATED if name == "data.pkl" else STORED), "compressed entry"),
    "no pickle": (lambda name, data: None if name == "data.pkl" else (data, STORED), "has no data.pkl"),
    "no storage": (lambda name, data: None if name == "data/0" else (data, STORED), "'0' .* no such entry"),
    "short storage": (lambda name, data: (data[:-4] if name == "data/0" else data, STORED), "'0' .* 92 bytes"),
    "big-endian": (lambda name, data: (b"big" if name == "byteorder" else data, STORED), "big-endian"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_entries_that_pytorch_would_not_write(change, tmp_path):
    path, (function, words) = tmp_path / "changed.pth", CHANGES[change]
    rewritten(path, function)
    with pytest.raises(UserError, match=words), open_zip(path):
        pass


def test_an_entry_that_claims_to_be_larger_than_the_file(tmp_path):
    """The sizes in the directory agree with the pickle, but the bytes are missing."""
    path = tmp_path / "claims.pth"
    torch_write.save(path, {"a": np.zeros(2, np.float32)})
    huge = 2**30
    data = path.read_bytes()
    # The persistent id, and the two sizes of data/0 in the directory.
    data = data.replace(b"J" + struct.pack("<i", 2) + b"tQ", b"J" + struct.pack("<i", huge) + b"tQ")
    at = data.rindex(b"claims/data/0") - 46
    data = data[: at + 20] + struct.pack("<II", 4 * huge - 4, 4 * huge - 4) + data[at + 28 :]
    path.write_bytes(data)
    with pytest.raises(UserError), open_zip(path) as file:
        file.array(file.contents["a"])


def test_a_storage_described_in_two_ways_is_refused(tmp_path):
    data = (GOLDEN / "torch_views_stream.pth").read_bytes()
    # The second reference to the shared storage, as of 25 numbers.
    size = b"K\x18N"
    second = data.index(size, data.index(size) + 1)
    path = tmp_path / "two.pth"
    path.write_bytes(data[: second + 1] + b"\x19" + data[second + 2 :])
    with pytest.raises(UserError, match="in two ways"), open_stream(path):
        pass


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({1: 1000}, "version 1000"),
        ({2: {"little_endian": False}}, "not supported"),
        ({2: []}, "not supported"),
        ({4: ["0"]}, "lists other storages"),
        ({4: 7}, "lists other storages"),
        ({4: b"\x80\x02" + persistent() + b"."}, "refers to a storage where no array can be"),
    ],
)
def test_streams_of_another_kind(replaced, words, tmp_path):
    pickles = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {"step": 6}, []]
    assert pickle.dumps(pickles[0], 2) == STREAM_MAGIC
    for place, value in replaced.items():
        pickles[place] = value
    stream = io.BytesIO()
    for value in pickles:
        stream.write(value if isinstance(value, bytes) else pickle.dumps(value, 2))
    path = tmp_path / "stream.pth"
    path.write_bytes(stream.getvalue())
    with pytest.raises(UserError, match=words), open_stream(path):
        pass
