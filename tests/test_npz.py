"""Invalid, deceptive and damaged archives: one kind of error, before memory is allocated."""

import io
import zipfile

import numpy as np
import pytest

from score_sde.machine import memory_bytes
from score_sde.npz import read_npz

IMAGES = np.arange(2 * 64).reshape(2, 8, 8, 1) % 17


def archive(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def encrypted():
    """The flag that says so, in both headers of a sound file."""
    data = bytearray(archive(images=IMAGES))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + place] |= 1
    return bytes(data)


def with_header(shape, data=b"\0" * 8, dtype="<f8"):
    file, member = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(
        member, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("images.npy", member.getvalue() + data)
    return file.getvalue()


def damaged():
    data = bytearray(archive(images=np.random.default_rng(0).integers(0, 17, IMAGES.shape)))
    data[120:160] = bytes(40)
    return bytes(data)


def plain():
    file = io.BytesIO()
    np.save(file, IMAGES)
    return file.getvalue()


WRONG = {
    "one array": (plain(), "it is one array, as np.save writes; np.savez"),
    "empty": (b"", "File is not a zip file"),
    "encrypted": (encrypted(), "encrypted"),
    "corrupt": (damaged(), "Error|Bad|invalid"),
    "a claim": (with_header((10**12, 8, 8, 1)), "said to be of shape .*, but 8 are there"),
    "a negative claim": (with_header((-1, 8, 8, 1)), "said to be of shape|shape"),
    "objects": (archive(images=np.array([{}, []], object)), "Object arrays cannot be loaded"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_archive_is_refused(name, tmp_path):
    data, words = WRONG[name]
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(ValueError, match=words) as error:
        read_npz(tmp_path / "x.npz")
    assert str(error.value).isprintable()


def test_an_archive_is_read(tmp_path):
    (tmp_path / "x.npz").write_bytes(archive(images=IMAGES, nfe=np.ones(2)))
    found = read_npz(tmp_path / "x.npz")
    assert found.keys() == {"images", "nfe"}
    np.testing.assert_array_equal(found["images"], IMAGES)
    assert read_npz(tmp_path / "x.npz", ["nfe", "other"]).keys() == {"nfe"}


def test_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    assert 1e8 < memory_bytes() < 1e15
    monkeypatch.setattr("score_sde.npz.memory_bytes", lambda: 1000)
    (tmp_path / "x.npz").write_bytes(archive(images=IMAGES))
    with pytest.raises(ValueError, match="1024 bytes is larger than the memory"):
        read_npz(tmp_path / "x.npz")
