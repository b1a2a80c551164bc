"""Inception's weights from a file: exactly those needed."""

import dataclasses
import hashlib
import io
import pickle
import zipfile

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from score_sde.errors import UserError
from score_sde.features import inception_weights
from score_sde.features.inception_weights import PUBLIC_FILE, PUBLIC_SHA256, load_inception
from score_sde.foreign_weights import torch_write
from score_sde.foreign_weights.torch_file import STREAM_MAGIC


@pytest.fixture
def write(tmp_path):
    """Contents -> a file of them, which takes 96 MB until the test ends."""
    paths = []

    def written(contents):
        paths.append(tmp_path / f"{len(paths)}.pth")
        torch_write.save(paths[-1], contents)
        return paths[-1]

    yield written
    for path in paths:
        path.unlink()


def as_stream(path):
    """The same contents in the format before PyTorch 1.6."""
    with zipfile.ZipFile(path) as archive:
        storages = [name for name in archive.namelist() if "/data/" in name]
        program = archive.read(f"{path.stem}/data.pkl")
        data = [archive.read(name) for name in storages]
    keys = [name.rpartition("/")[2] for name in storages]
    stream = io.BytesIO()
    stream.write(STREAM_MAGIC)
    for value in (1001, {"little_endian": True}):
        stream.write(pickle.dumps(value, 2))
    stream.write(program + pickle.dumps(keys, 2))
    for numbers in data:
        itemsize = 8 if len(numbers) == 8 else 4  # a count, or float32
        stream.write((len(numbers) // itemsize).to_bytes(8, "little") + numbers)
    path.write_bytes(stream.getvalue())


def assert_all_there(params, drawn):
    """Every drawn array but the last layer's bias, in our layouts."""
    leaves = {".".join(path): array for path, array in flatten_dict(params).items()}
    assert len(leaves) == len(drawn) - 1
    ours = {"weight": "scale", "running_mean": "mean", "running_var": "var", "bias": "bias"}
    for name, array in drawn.items():
        layer, _, last = name.rpartition(".")
        if name == "fc.bias":
            continue
        given = leaves[f"{layer}.{ours[last]}" if layer.endswith(".bn") else f"{layer}.kernel"]
        layout = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim]
        np.testing.assert_array_equal(given, array.transpose(layout), err_msg=name, strict=True)


def test_every_array_comes_back(weights_file, drawn):
    params, facts = load_inception(weights_file)
    assert_all_there(params, drawn)
    assert facts == {
        "network": "inception-2015-12-05",
        "file": weights_file.name,
        "sha256": hashlib.sha256(weights_file.read_bytes()).hexdigest(),
        "is_public_file": False,
    }


def test_the_older_format_with_counts_of_batches(write, drawn, monkeypatch):
    """Such counts appear in state dicts; the public file is recognized by its SHA-256."""
    counts = {
        name.replace("running_var", "num_batches_tracked"): np.array(0)
        for name in drawn
        if name.endswith("running_var")
    }
    assert len(counts) == 94
    path = write(drawn | counts)
    as_stream(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    public = dataclasses.replace(inception_weights.INCEPTION, sha256=digest)
    monkeypatch.setattr(inception_weights, "INCEPTION", public)
    params, facts = load_inception(str(path))
    assert_all_there(params, drawn)
    assert facts["is_public_file"]


def test_the_public_file_bears_the_digits_of_its_sum():
    """PyTorch's convention NAME-SHA256[:8].pth is a second source for the first eight digits."""
    assert f"pt_inception-2015-12-05-{PUBLIC_SHA256[:8]}.pth" == PUBLIC_FILE
    assert len(PUBLIC_SHA256) == 64


SMALL = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (
            {"fc.weight": np.zeros((1000, 2048), np.float32)},  # torchvision's
            r"another network .* 472 arrays differ .*Conv2d_1a_3x3.bn.bias: the file absent, Inception \(32,\)",
        ),
        ({"AuxLogits.bias": SMALL}, r"AuxLogits.bias: the file \(3,\), Inception absent; "),
        ({"state_dict": {"fc.bias": SMALL}}, "another network .* 472 arrays"),
        ({}, "472 arrays"),
        ([SMALL], "no arrays by name"),
    ],
)
def test_files_of_other_things(contents, words, write):
    with pytest.raises(UserError, match=words):
        load_inception(write(contents))


def test_one_array_of_another_network(write, drawn):
    path = write(
        drawn | {"fc.weight": drawn["fc.weight"][:1000], "fc.bias": drawn["fc.bias"][:1000]}
    )
    with pytest.raises(UserError, match=r"2 arrays differ") as raised:
        load_inception(path)
    for words in (
        "fc.bias: the file (1000,), Inception (1008,)",
        "fc.weight: the file (1000, 2048), Inception (1008, 2048)",
        PUBLIC_FILE,
    ):
        assert words in str(raised.value)


def one_of_them_nan(array):
    array = array.copy()
    array[-1, -1] = np.nan
    return array


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("Conv2d_1a_3x3.bn.bias", lambda a: a.astype(np.float64), "bn.bias of the file is float64"),
        ("fc.weight", one_of_them_nan, "fc.weight .* 1 of 2064384 values .* nan"),
        ("Mixed_7c.branch1x1.bn.running_var", lambda a: -a, "running_var .* 320 of 320 values"),
    ],
)
def test_values_that_no_training_gives(name, change, words, write, drawn):
    with pytest.raises(UserError, match=words):
        load_inception(write(drawn | {name: change(drawn[name])}))


def test_a_missing_file_is_said_to_be_which(tmp_path):
    with pytest.raises(UserError, match="nothing is downloaded") as raised:
        load_inception(tmp_path / "inception.pth")
    for words in ("inception.pth (No such file", PUBLIC_FILE, "mseitzer/pytorch-fid"):
        assert words in str(raised.value)
    with pytest.raises(UserError, match="Is a directory"):
        load_inception(tmp_path)


def test_a_file_of_another_format(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(pickle.dumps({"fc.weight": 1}))
    with pytest.raises(UserError, match="no file of PyTorch's .* expected Inception's weights"):
        load_inception(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "x.pth"
    with open(path, "wb") as file:
        file.truncate(2 * 96_000_000)  # of no blocks
    with pytest.raises(UserError, match="192,000,000 bytes, Inception's weights at most 191,0"):
        load_inception(path)
