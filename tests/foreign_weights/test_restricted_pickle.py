"""Malicious pickles: each is refused by name, and the file it would create never exists."""

import collections
import io
import os
import pickle
import struct
import types

import numpy as np
import pytest

from score_sde.errors import UserError
from score_sde.foreign_weights import restricted_pickle
from score_sde.foreign_weights.restricted_pickle import ALLOWED, Storage, StorageType, Tensor, load

TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOATS = b"ctorch\nFloatStorage\n"


def read(program, storages=None):
    """The object a pickle makes; `storages` are the sizes of those that the file has, by key."""

    def check(storage):
        if storage.size != (storages or {"0": 6}).get(storage.key):
            raise UserError(f"refers to a storage of {storage.size}")

    return load(io.BytesIO(program), check)


def text(word):
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def persistent(size=6, key="0", kind="storage", storage_type=FLOATS):
    number = b"\x8a\x08" + struct.pack("<q", size)
    return b"(" + text(kind) + storage_type + text(key) + text("cpu") + number + b"tQ"


def tensor(offset, shape, strides, storage=None):
    def numbers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    start = b"J" + struct.pack("<i", offset)
    storage = storage or persistent()
    return (
        b"\x80\x02" + TENSOR + b"(" + storage + start + numbers(shape) + numbers(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR."
    )  # fmt: skip


class Runs:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(sentinel):
    command = f"touch {sentinel}"
    code = f"open({str(sentinel)!r}, 'w')"
    for protocol in (0, 1, 2, 3, 4, 5):
        yield f"system-{protocol}", pickle.dumps(Runs(os.system, command), protocol)
        yield f"eval-{protocol}", pickle.dumps(Runs(eval, code), protocol)
        yield f"in a dict-{protocol}", pickle.dumps({"step": Runs(exec, code)}, protocol)
    system = text("os") + text("system")
    yield "stack global", b"\x80\x04" + system + b"\x93" + text(command) + b"\x85R."
    for module, name in (
        ("torch.serialization", "os.system"),
        ("torch._utils", "torch.serialization.os.system"),
        ("collections", "OrderedDict.__init__"),
        ("collections", "OrderedDict.__class__.__base__"),
        ("_codecs", "encode.__self__"),
        ("numpy", "dtype.__class__"),
    ):
        yield (
            f"dotted {module} {name}",
            b"\x80\x04" + text(module) + text(name) + b"\x93" + text(command) + b"\x85R.",
        )
    yield "getattr", b"\x80\x02cbuiltins\ngetattr\n(cos\nsystem\ntR."
    yield "instance", f"(S'{command}'\nios\nsystem\n.".encode()
    yield "object", b"(cos\nsystem\n" + text(command) + b"o."
    yield "new object", b"\x80\x02cos\nsystem\n" + text(command) + b"\x85\x81."
    yield "extension", b"\x80\x02\x82\x01."
    yield "nn.Module as a persistent id", b"\x80\x02(" + text("module") + b"cos\nsystem\nNNtQ."
    yield "text as a persistent id", b"Pcommand\n."
    yield "encoding", b"\x80\x02c_codecs\nencode\n" + text(command) + text("zip") + b"\x86R."
    yield "object array", b"\x80\x02cnumpy\ndtype\n(" + text("O8") + b"\x89\x88tR."


NAMES = [name for name, _ in attacks("x")]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_executed(name, tmp_path):
    sentinel = tmp_path / "sentinel"
    program = dict(attacks(sentinel))[name]
    with pytest.raises(UserError, match="no checkpoint needs|refers to|asks for"):
        read(program)
    assert not sentinel.exists()


def test_the_attacks_would_work_on_an_ordinary_unpickler(tmp_path):
    """Otherwise the test above would show nothing."""
    for name in ("system-2", "eval-4", "stack global", "instance", "object"):
        sentinel = tmp_path / name.replace(" ", "_")
        pickle.loads(dict(attacks(sentinel))[name])
        assert sentinel.exists()


@pytest.mark.parametrize(
    "name", ["system-0", "system-2", "eval-4", "dotted torch.serialization os.system"]
)
def test_the_error_names_what_was_asked_for(name):
    words = {"system-0": "posix.system", "system-2": "posix.system", "eval-4": "builtins.eval"}
    with pytest.raises(UserError, match=words.get(name, "torch.serialization.os.system")):
        read(dict(attacks("x"))[name])


STATES = {
    "attributes": b"}" + text("__call__") + b"K\x01s",
    "slots": b"N}" + text("__call__") + b"K\x01s\x86",
    "class": b"N}" + text("__class__") + b"ccollections\nOrderedDict\ns\x86",
    "dictionary": b"N}" + text("__dict__") + b"}s\x86",
    "method": b"N}" + text("__setstate__") + b"ccollections\nOrderedDict\ns\x86",
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", ALLOWED)
def test_a_file_cannot_change_what_is_allowed(name, state):
    """GLOBAL, then BUILD: the state goes to the stand-in itself."""
    program = b"\x80\x02c" + "\n".join(name).encode() + b"\n" + STATES[state] + b"b."
    before = repr(ALLOWED[name])
    with pytest.raises(UserError, match="damaged"):
        read(program)
    assert repr(ALLOWED[name]) == before


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed_has_nothing_to_change_or_to_reach(name):
    """Objects without their own attributes, and neither classes nor functions, whose attributes lead anywhere."""
    assert not hasattr(ALLOWED[name], "__dict__")
    assert not isinstance(
        ALLOWED[name], (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
    )


def test_an_ordered_dict_keeps_no_attributes():
    """The attribute `_metadata` of a state dict is dropped, and no attribute can shadow a method."""
    state = b"}" + text("items") + b"K\x01sb"
    made = read(b"\x80\x02ccollections\nOrderedDict\n)R" + text("a") + b"K\x02s" + state + b".")
    assert list(made.items()) == [("a", 2)]


def test_a_tensor_within_its_storage():
    expected = Tensor(Storage("0", "<f4", 6), 1, (2, 2), (3, 1))
    assert read(tensor(1, (2, 2), (3, 1))) == expected


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (0, (2, 2), (5, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (-1, -1), (1, 1)),
        (0, (2**31 - 1,), (0,)),  # small file, huge array
        (0, (2, 2), (1,)),
        (2**31 - 1, (1,), (1,)),
        (6, (1,), (1,)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(offset, shape, strides):
    with pytest.raises(UserError, match="damaged|not an array"):
        read(tensor(offset, shape, strides))


@pytest.mark.parametrize(
    "storage",
    [
        persistent(size=2**62),
        persistent(size=-1),
        persistent(key="1"),
        persistent(kind="module"),
        persistent(storage_type=text("FloatStorage")),
        persistent(storage_type=b"ccollections\nOrderedDict\n"),
        persistent(storage_type=b"ctorch\nUntypedStorage\n"),
        b"(tQ",
        b"NQ",
        b"K\x01",
    ],
)
def test_a_storage_that_is_not_there_is_refused(storage):
    with pytest.raises(UserError):
        read(tensor(0, (2,), (1,), storage))


def test_a_memo_of_a_few_bytes_takes_no_memory():
    """Python's unpickler makes a memo table as long as the largest index: 64 GiB for this one."""
    assert read(b"\x80\x02}r\xff\xff\xff\xff.") == {}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "number", [np.float64(0.1), np.float32(0.5), np.int64(-3), np.int32(7)], ids=repr
)
def test_numpy_numbers(number, protocol):
    """As written by the installed NumPy; both names of its module are accepted."""
    value = read(pickle.dumps(number, protocol))
    assert value == number
    assert type(value) in (float, int)
    other = pickle.dumps(number, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert read(other) == number


def test_big_endian_numbers_are_refused():
    program = pickle.dumps(np.float64(1.5), 2)
    at = program.index(text("<")) + 5
    with pytest.raises(UserError, match="NumPy number of type f8"):
        read(program[:at] + b">" + program[at + 1 :])


def test_plain_contents_come_back():
    contents = {
        "step": 6, "big": 2**70, "ema": {"decay": 0.999, "n": None}, "flags": [True, False], "pair": (1, "ä"),
        1: collections.OrderedDict(a=1),
    }  # fmt: skip
    for protocol in (2, 4):
        assert read(pickle.dumps(contents, protocol)) == contents


def test_a_stream_is_left_behind_its_pickle():
    stream = io.BytesIO(pickle.dumps(1, 2) + pickle.dumps([2], 2) + b"rest")
    assert [load(stream, None), load(stream, None)] == [1, [2]]
    assert stream.read() == b"rest"


@pytest.mark.parametrize("cut", [0, 1, 5, 20, -1])
def test_a_cut_pickle_is_damaged(cut):
    with pytest.raises(UserError, match="damaged"):
        read(pickle.dumps({"step": 6, "model": [1.5, "x"]}, 2)[:cut])


def test_random_damage_is_an_error_in_words_or_data():
    """Changing any byte of a valid file never raises another exception or yields a forbidden object."""
    program = tensor(1, (2, 2), (3, 1))
    harmless = (dict, list, tuple, str, bytes, float, int, bool, type(None))
    rng = np.random.default_rng(0)
    for place in range(len(program)):
        for byte in rng.integers(0, 256, 20):
            damaged = program[:place] + bytes([byte]) + program[place + 1 :]
            try:
                made = read(damaged)
            except UserError:
                continue
            assert isinstance(made, harmless) or made in ALLOWED.values()


def test_types_of_storages_name_their_numbers():
    assert ALLOWED["torch", "FloatStorage"] == StorageType("torch.FloatStorage", "<f4")
    assert ALLOWED["torch", "DoubleStorage"] == StorageType("torch.DoubleStorage", "<f8")
    assert "torch" not in vars(restricted_pickle)


@pytest.mark.parametrize("arguments", [b"NC\x01a", text("f8") + text("a")])
def test_a_number_of_no_type_is_refused(arguments):
    with pytest.raises(UserError, match="holds a NumPy number that is none"):
        read(b"\x80\x02cnumpy.core.multiarray\nscalar\n(" + arguments + b"tR.")
