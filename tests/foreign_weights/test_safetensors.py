"""Safetensors files: a literal one from the format's description, and files with false claims."""

import json
import random
import struct
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.errors import UserError
from score_sde.foreign_weights import safetensors
from tests.hostile.damage import flipped, with_more, without_some, zeroed

# Of the format's description: eight bytes of length, the header padded with spaces, the numbers.
HEADER = (
    b'{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},'
    b'"a":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}    '
)
LITERAL = (
    struct.pack("<Q", len(HEADER)) + HEADER + b"\x80\x3f\x40\xc0" + struct.pack("<2f", 0.1, -2.0)
)


def read(path):
    with open(path, "rb") as file:
        return {name: array.read() for name, array in safetensors.read(file, path).items()}


def test_a_literal_file(tmp_path):
    """bfloat16 0x3f80 is 1, 0xc040 is -3."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(LITERAL)
    found = read(path)
    assert found["a"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(found["a"].astype(float), [[1.0, -3.0]])
    np.testing.assert_array_equal(found["b"], np.float32([0.1, -2.0]))


def test_what_is_written_is_read_and_is_laid_out_as_described(tmp_path):
    path = tmp_path / "a.safetensors"
    arrays = {
        "x.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "none": np.zeros((0, 3), np.float16),
        "gain": np.float32(0.3).reshape(()),
        "count": np.array([2**40]),
    }
    safetensors.write(path, arrays, {"format": "pt"})
    found = read(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert header["x.weight"] == {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}
    # The first row of a transposed array: 0 and 3.
    assert struct.unpack("<2f", data[8 + length : 16 + length]) == (0.0, 3.0)


def of(header, numbers=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


def array(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


FOUR = bytes(16)
MALFORMED = {
    "shorter than a length": (b"\x01\x02", "it has 2 bytes"),
    "a header longer than the file": (of({}, length=1000), "would have 1,000 bytes, and the file has 10"),
    "a giant header": (of({}, length=2**63), "would have 9,223,372,036,854,775,808 bytes"),
    "no JSON": (of(b"{not json}"), "is no JSON"),
    "no text": (of(b"{\xff\xfe}"), "is no JSON"),
    "deep JSON": (of(b"[" * 100_000), "is no JSON: nested too deep"),
    "a list": (of([1, 2]), "no JSON object of arrays"),
    "an array that is a number": (of({"a": 3}), "'a' is 3; expected dtype, shape and data_offsets"),
    "one entry more": (of({"a": array(0, 16, [4]) | {"code": "x"}}, FOUR), "expected dtype, shape"),
    "unknown dtype": (of({"a": array(0, 16, [16], "F8_E4M3")}, FOUR), "dtype 'F8_E4M3'; known are F64"),
    "dtype of another type": (of({"a": array(0, 16, [4], ["F32"])}, FOUR), r"dtype \['F32'\]"),
    "beyond the file": (of({"a": array(0, 4000, [1000])}, FOUR), "4,000 bytes of numbers, and 16 are"),
    "a shape of more bytes": (of({"a": array(0, 16, [2**62, 2**62])}, FOUR), "needs .* bytes"),
    "negative": (of({"a": array(0, 16, [-2, -2])}, FOUR), r"has shape \[-2, -2\]"),
    "true": (of({"a": array(0, 4, [True])}, FOUR), r"has shape \[True\]"),
    "a fraction": (of({"a": array(0, 16, [4.0])}, FOUR), r"has shape \[4.0\]"),
    "backwards": (of({"a": array(16, 0, [4])}, FOUR), "its data_offsets are 16 to 0"),
    "three offsets": (of({"a": array(0, 16, [4]) | {"data_offsets": [0, 8, 16]}}, FOUR), "data_offsets"),
    "overlapping": (
        of({"a": array(0, 12, [3]), "b": array(8, 16, [2])}, FOUR),
        "'b' overlaps the array before it",
    ),
    "the same twice": (
        of({"a": array(0, 16, [4]), "b": array(0, 16, [4])}, FOUR),
        "'b' overlaps the array before it",
    ),
    "a gap": (of({"a": array(0, 4, [1]), "b": array(8, 16, [2])}, FOUR), "'b' follows a gap"),
    "bytes left over": (of({"a": array(0, 8, [2])}, FOUR), "8 bytes of numbers, and 16 are"),
    "a name twice": (of(b'{"a": 1, "a": 2}'), "'a' comes twice"),
    "a name that a terminal obeys": (of({"\x1b[2J": 3}), r"'\\x1b\[2J' is 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_refused_in_a_line_and_cost_no_memory(name, tmp_path):
    """Headers claim up to 2^63 bytes; reading takes at most a few times the size of the file."""
    contents, words = MALFORMED[name]
    path = tmp_path / "a.safetensors"
    path.write_bytes(contents)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=words) as raised:
            read(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"{path} is damaged, or no safetensors file: ")
    assert most < 2_000_000


def test_damaged_files_are_read_or_refused(tmp_path):
    draw, path = random.Random(0), tmp_path / "a.safetensors"
    refused = 0
    for damage in (flipped, zeroed, without_some, with_more):
        for _ in range(100):
            path.write_bytes(damage(draw, LITERAL))
            try:
                read(path)
            except UserError:
                refused += 1
    assert refused > 200
