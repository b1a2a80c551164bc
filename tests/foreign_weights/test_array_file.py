"""Files of named arrays in all three formats; other files are refused before anything in them runs."""

import os
import pickle
import shlex
import struct
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.errors import ConfigError, UserError
from score_sde.foreign_weights import safetensors, torch_write
from score_sde.foreign_weights.array_file import PICKLE_TO_NPZ, open_arrays, refuse_pickle
from score_sde.foreign_weights.record import Record
from score_sde.foreign_weights.state_dict_file import (
    check_constants,
    check_dtypes,
    check_never_asked,
    converted,
)
from score_sde.foreign_weights.state_dicts import Entry, from_tree, matched, to_tree
from score_sde.foreign_weights.stored import Stored
from score_sde.models.dit import DiT
from score_sde.models.published import StateDict

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32([-1.5])}


def read(path):
    start = path.read_bytes()[:64]
    refuse_pickle(path, start)
    with open_arrays(path, start) as (file_format, stored):
        for array in stored.values():
            assert array.read().dtype == array.dtype
            assert array.read().shape == array.shape
        return file_format, {name: array.read() for name, array in stored.items()}


def written(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    {
        ".pt": lambda: torch_write.save(path, ARRAYS),
        ".safetensors": lambda: safetensors.write(path, ARRAYS, {}),
        ".npz": lambda: np.savez_compressed(path, **ARRAYS),
    }[suffix]()
    return path


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
def test_every_format_has_the_same_arrays_whatever_the_name(tmp_path, suffix):
    path = written(tmp_path, suffix).rename(tmp_path / "weights.bin")
    file_format, found = read(path)
    assert file_format == {".pt": "PyTorch", ".npz": "NumPy"}.get(suffix, "safetensors")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_bfloat16_of_pytorch(tmp_path):
    """A storage of another dtype, made by replacing dtype and bytes in a float32 file."""
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        program = torch_program("BFloat16Storage")
        archive.writestr("a/data.pkl", program)
        archive.writestr("a/data/0", b"\x80\x3f\x40\xc0")
    _, found = read(path)
    assert found["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(found["w"].astype(float), [1.0, -3.0])


def torch_program(kind):
    """{"w": a vector of two}, as torch.save pickles it."""

    def text(word):
        return b"X" + struct.pack("<I", len(word)) + word.encode()

    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text("0") + text("cpu")
    view = b"K\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    return (
        b"\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage + b"K\x02tQ" + view + b"s."
    )  # fmt: skip


class Payload:
    """Unpickled by Python it would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_is_refused_before_it_runs(tmp_path, protocol):
    made, path = tmp_path / "made", tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps({"ema": Payload(made)}, protocol))
    with pytest.raises(UserError, match=r"unpickling runs the code in it.*--source") as raised:
        read(path)
    assert PICKLE_TO_NPZ in str(raised.value)
    assert f"{path} {tmp_path / 'net.npz'}" in str(raised.value)
    assert not made.exists()
    pickle.loads(path.read_bytes())  # what has not happened
    assert made.exists()


def test_a_pickle_within_a_pytorch_file_is_refused_before_it_runs(tmp_path):
    made, path = tmp_path / "made", tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps({"w": Payload(made)}, 2))
    with pytest.raises(UserError, match=f"the file asks for {os.name}.mkdir, which no"):
        read(path)
    assert not made.exists()


def test_objects_in_npz_are_refused_before_they_run(tmp_path):
    made, path = tmp_path / "made", tmp_path / "net.npz"
    np.savez(path, w=np.array([Payload(made)], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        read(path)
    assert not made.exists()


def test_the_command_of_the_message_writes_the_arrays(tmp_path):
    """The command is run with a class like EDM's networks, whose arrays have float(), cpu() and numpy()."""
    (tmp_path / "program.py").write_text(
        "import numpy as np\n"
        "class Tensor:\n"
        "    def __init__(self, a): self.a = np.asarray(a)\n"
        "    def float(self): return Tensor(self.a.astype(np.float32))\n"
        "    def cpu(self): return self\n"
        "    def numpy(self): return self.a\n"
        "class Net:\n"
        "    def state_dict(self): return {'model.w': Tensor(np.float16([0.5, -2]))}\n"
    )
    (tmp_path / "make.py").write_text(
        "import pickle, program\npickle.dump({'ema': program.Net()}, open('net.pkl', 'wb'))\n"
    )
    for command in (["make.py"], ["-c", PICKLE_TO_NPZ, "net.pkl", "net.npz"]):
        subprocess.run([sys.executable, *command], cwd=tmp_path, check=True)
    _, found = read(tmp_path / "net.npz")
    np.testing.assert_array_equal(found["model.w"], np.float32([0.5, -2]))


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (
            {"model": {}, "ema": ARRAYS, "opt": {}},
            r"holds 'model', 'ema', 'opt' besides or instead of named arrays; save .*\['ema'\]",
        ),
        ({"state_dict": ARRAYS, "epoch": 3}, r"save .*\['state_dict'\], .*-state_dict.pt$"),
        (ARRAYS | {"step": 3}, "holds 'step' beside"),
        ([1, 2], r"holds \[1, 2\] instead of named arrays"),
    ],
)
def test_pytorch_files_of_more_than_arrays_are_refused(tmp_path, contents, words):
    path = tmp_path / "a.pt"
    torch_write.save(path, contents)
    with pytest.raises(UserError, match=words):
        read(path)


def test_paths_in_commands_are_quoted_and_names_that_a_shell_would_read_are_in_none(tmp_path):
    """The words of each command, split as by a POSIX shell."""
    folder = tmp_path / "my weights; $(date)"
    folder.mkdir()
    net, several = folder / "net.pkl", folder / "a.pt"
    net.write_bytes(pickle.dumps({"ema": 1}))
    torch_write.save(several, {"ema": ARRAYS, "step": 3})
    for path, target in ((net, folder / "net.npz"), (several, folder / "a-ema.pt")):
        with pytest.raises(UserError) as raised:
            read(path)
        words = shlex.split(str(raised.value).partition(": python -c ")[2].partition(", and ")[0])
        assert words[1:] == [str(path), str(target)]
    torch_write.save(several, {"$(date)": ARRAYS, "step": 3})
    with pytest.raises(UserError, match=r"holds '\$\(date\)', 'step' beside") as raised:
        read(several)
    assert "python -c" not in str(raised.value)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.bin"
    for contents, words in (
        (b"hello, world", r"not a file of named arrays .*b'hello, w'"),
        (b"", "not a file of named arrays"),
        (b"PK\x03\x04" + bytes(50), "damaged or cut short"),
    ):
        path.write_bytes(contents)
        with pytest.raises(UserError, match=words):
            read(path)


def entry(name, shape, published_shape):
    return Entry(name, (name.rpartition(".")[0], "kernel"), shape, published_shape)


FORM = StateDict(within="model.", constants={"filter": np.float32([[0.25]])}, classes="y.weight")
EXPECTED = [entry("a.weight", (3, 2), (2, 3)), Entry("y.weight", ("y", "table"), (4, 2), (4, 2))]
GOOD = {"model.a.weight": np.ones((2, 3)), "model.y.weight": np.ones((4, 2))}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (GOOD | {"model.z": np.ones(1)}, "missing none; not expected z. Do the config's"),
        ({"model.a.weight": np.ones((2, 3))}, "missing y.weight; not expected none"),
        (GOOD | {"model.a.weight": np.ones((3, 2))}, r"a.weight has shape \(3, 2\), expected \(2, 3\)"),
        (GOOD | {"model.y.weight": np.ones((5, 2))}, r"y.weight has shape \(5, 2\), expected \(4, 2\)"),
        (GOOD | {"model.filter": np.ones((2, 2))}, r"filter has shape \(2, 2\), expected \(1, 1\)"),
        (GOOD | {"a.weight": np.ones((2, 3))}, "a.weight both with the prefix 'model.' and without"),
        (
            {f"b{number}": np.ones(1) for number in range(9)},
            "missing a.weight, y.weight; not expected b0, b1, b2 and 6 more",
        ),
    ],
)  # fmt: skip
def test_other_names_and_shapes_are_refused(given, words):
    with pytest.raises(UserError, match=words):
        matched(FORM, EXPECTED, given)


def test_a_table_without_a_vector_of_no_class_gets_zeros_and_no_one_asks_for_them():
    given = GOOD | {"model.y.weight": np.ones((3, 2))}
    found = matched(FORM, EXPECTED, given)
    assert found.lacks_no_class
    assert not matched(FORM, EXPECTED, GOOD).lacks_no_class
    table = to_tree(FORM, EXPECTED, found.parameters)["y"]["table"]
    np.testing.assert_array_equal(table, [[1, 1], [1, 1], [1, 1], [0, 0]])
    record = Record("NumPy", 0, {}, {}, None, 0.9, lacks_no_class="y.weight")
    config = SimpleNamespace(
        training=SimpleNamespace(label_dropout=0.1), model=SimpleNamespace(num_classes=3)
    )
    with pytest.raises(ConfigError, match=r"y.weight of the file .* set training.label_dropout=0,"):
        check_never_asked(record, config)
    check_never_asked(record._replace(lacks_no_class=""), config)
    config.training.label_dropout = 0.0
    check_never_asked(record, config)


@pytest.mark.parametrize("no_class", [True, False])
def test_a_table_is_exported_with_the_vector_of_no_class_or_without(no_class):
    tree = {"a": {"kernel": np.ones((3, 2))}, "y": {"table": np.diag([1, 2, 3, 4])[:, :2]}}
    exported = from_tree(FORM, EXPECTED, tree, no_class)
    np.testing.assert_array_equal(
        exported["model.y.weight"], [[1, 0], [0, 2], [0, 0], [0, 0]][: 3 + no_class]
    )
    assert matched(FORM, EXPECTED, exported).lacks_no_class != no_class


def stored(array):
    return Stored(array.shape, array.dtype, lambda: array)


def test_numbers_that_float32_does_not_hold_are_refused_and_halves_said():
    halves = {"a": np.ones(2, np.float16), "b": np.ones(2, jnp.bfloat16), "c": np.ones(2, "f4")}
    arrays = {name: stored(array) for name, array in halves.items()}
    check_dtypes(arrays)
    assert converted(arrays) == [
        "1 arrays of float16 were converted to float32",
        "1 arrays of bfloat16 were converted to float32",
    ]
    for dtype in ("f8", "i4", "V2", "O"):
        with pytest.raises(UserError, match="d of the file is .*; expected float32, float16 or bf"):
            check_dtypes({**arrays, "d": stored(np.zeros(2, dtype))})


def test_positions_of_other_patches_are_refused():
    """The position table of 4x4 patches has the shape of that of 2x8, which is refused; tables rounded to half precision are accepted."""
    square = DiT(image_size=8, patch_size=2, width=8, num_heads=2).state_dict
    oblong = DiT(image_size=4, image_width=16, patch_size=2, width=8, num_heads=2).state_dict
    for dtype in ("f4", "f2", jnp.bfloat16):
        table = stored(square.constants["pos_embed"].astype(dtype))
        check_constants(square, SimpleNamespace(constants={"pos_embed": table}))
        with pytest.raises(UserError, match="pos_embed of the file is .* where this network has"):
            check_constants(oblong, SimpleNamespace(constants={"pos_embed": table}))
    nothing = stored(np.full((1, 16, 8), np.nan, np.float32))
    with pytest.raises(UserError, match="pos_embed of the file is nan"):
        check_constants(square, SimpleNamespace(constants={"pos_embed": nothing}))
