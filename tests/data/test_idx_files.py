"""IDX files, intact and damaged, written here byte by byte from the description of the format; and datasets read from them."""

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from score_sde import data
from score_sde.data.idx_files import read_idx
from score_sde.data.mnist import FashionMnist, Mnist
from score_sde.errors import UserError
from tests.data.picture_folder import refusal

NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
NUMBERS = {"train": 12, "test": 5}
# Two images of 2x3, their numbers by rows: big-endian sizes after the bytes 0, 0, type 8, three axes.
BY_HAND = bytes.fromhex("00000803 00000002 00000002 00000003 010203040506 0708090a0bff")


def idx(shape, content):
    return bytes([0, 0, 8, len(shape)]) + b"".join(struct.pack(">I", n) for n in shape) + content


def pixels(split, side):
    """Image i of a split is of level i or 100 + i, but for one white pixel at row i mod side, column 1."""
    first = {"train": 0, "test": 100}[split]
    for i in range(NUMBERS[split]):
        rows = [bytearray([first + i] * side) for _ in range(side)]
        rows[i % side][1] = 255
        yield b"".join(rows)


def write(folder, zipped=False, side=28):
    folder.mkdir(parents=True, exist_ok=True)
    for split, (images, labels) in NAMES.items():
        n = NUMBERS[split]
        content = {
            images: idx((n, side, side), b"".join(pixels(split, side))),
            labels: idx((n,), bytes(i % 10 for i in range(n))),
        }
        for name, written in content.items():
            path = folder / (f"{name}.gz" if zipped else name)
            path.write_bytes(gzip.compress(written) if zipped else written)
    return folder


@pytest.fixture
def idx_config(make_config):
    def make(folder, **fields):
        return make_config(
            **{"name": "idx", "folder": str(folder), "image_size": 28, "num_levels": 256, **fields}
        )

    return make


def check_images(loaded, side=28):
    """Every image of either split is one that was written, with its label, and all of them are there."""
    for split, of in (("train", loaded.train), ("test", loaded.test)):
        expected = {bytes(image): i % 10 for i, image in enumerate(pixels(split, side))}
        labels = of.condition["label"].tolist()
        found = {image.tobytes(): k for image, k in zip(of.images, labels, strict=True)}
        assert of.shape == (side, side, 1)
        assert len(of.images) == NUMBERS[split]
        assert found == expected


@pytest.mark.parametrize("zipped", [False, True])
def test_bytes_become_rows(tmp_path, zipped):
    (path := tmp_path / "x").write_bytes(gzip.compress(BY_HAND) if zipped else BY_HAND)
    expected = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 255]]]
    array = read_idx(path, 3)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, expected)


DAMAGE = {
    "nothing": (b"", r"begins with b'': expected an IDX file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(40), "expected an IDX file, two zero bytes"),
    "floats": (BY_HAND[:2] + b"\x0d" + BY_HAND[3:], "numbers of type 0x0d on 3 axes; expected unsigned bytes"),
    "labels": (idx((2,), bytes(2)), "of type 0x08 on 1 axes; .* on 3: images"),
    "half a header": (BY_HAND[:10], "ends within its header, after 10 bytes"),
    "a byte less": (BY_HAND[:-1], r"12 bytes of shape \(2, 2, 3\) are expected after its header, and there are 11"),
    "a byte more": (BY_HAND + b"\0", "12 bytes .* are expected after its header, and there are more"),
    "little-endian sizes": (b"\0\0\x08\3" + struct.pack("<3I", 2, 2, 3) + bytes(12), r"x, of shape \(33554432, .*, needs more than"),
    "no images": (idx((0, 28, 28), b""), r"is of shape \(0, 28, 28\), which has nothing in it"),
    "cut gzip": (gzip.compress(BY_HAND)[:-9], "x cannot be read: EOFError"),
    "damaged gzip": (gzip.compress(BY_HAND)[:-8] + bytes(8), "x cannot be read: BadGzipFile: CRC check failed"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "words"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_no_such_file_is_refused_in_words(tmp_path, content, words):
    (path := tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape(str(tmp_path))}.*{words}"):
        read_idx(path, 3)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_of_them_is_a_dataset(tmp_path, idx_config, zipped):
    loaded = data.load(idx_config(write(tmp_path, zipped)), ("label",))
    check_images(loaded)
    assert loaded.fingerprint.num_images == sum(NUMBERS.values())


def test_a_border_of_black_makes_28_pixels_32(tmp_path, idx_config):
    config = idx_config(write(tmp_path), image_size=32, pad=2)
    images = data.load(config).test.images
    assert images.shape == (NUMBERS["test"], 32, 32, 1)
    inner = {image[2:30, 2:30].tobytes() for image in images}
    assert inner == {bytes(image) for image in pixels("test", 28)}
    # Level 0 outside: nothing but what is within adds to the sum.
    assert images.sum(dtype=int) == sum(sum(image) for image in pixels("test", 28))


def test_a_folder_without_them_or_with_others_is_refused(tmp_path, idx_config):
    write(tmp_path)
    message = refusal(idx_config(tmp_path, image_size=32))
    assert "has images of shape (28, 28, 1), but data.image_size=32" in message
    message = refusal(idx_config(tmp_path, image_size=32, pad=1))
    assert "expect (30, 30, 1) beside data.pad=1 on each side; correct them" in message
    assert "data.pad=14: expected pixels that" in refusal(idx_config(tmp_path, pad=14))
    assert "has 1 channels, but data.num_channels=3" in refusal(
        idx_config(tmp_path, num_channels=3)
    )
    assert "data.name='idx' needs data.folder" in refusal(idx_config(""))
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx((6,), bytes(6)))
    assert "has 5 images, and" in refusal(idx_config(tmp_path))
    labels.unlink()
    assert f"{tmp_path} has neither {labels.name} nor {labels.name}.gz" in refusal(
        idx_config(tmp_path)
    )


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Files where the system's package has them."""
    monkeypatch.setattr(FashionMnist, "INSTALLED", write(tmp_path / "debian", zipped=True))
    return tmp_path


def test_fashion_mnist_from_the_package_of_the_system(installed, idx_config):
    config = idx_config("", name="fashion_mnist", data_dir=str(installed))
    loaded = data.load(config, ("label",))
    check_images(loaded)
    assert loaded.class_names[0] == "T-shirt/top"
    assert loaded.class_names[9] == "Ankle boot"


def test_a_damaged_file_of_the_package_is_named(installed, idx_config):
    path = FashionMnist.INSTALLED / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    message = refusal(idx_config("", name="fashion_mnist", data_dir=str(installed)))
    assert message.startswith(f"{path} cannot be read: EOFError")


def test_mnist_from_files_placed_by_hand(tmp_path, idx_config, monkeypatch):
    manual = write(tmp_path / "downloads" / "manual", zipped=True)
    infos = {
        f"{Mnist.URL}{path.name}": tfds.download.checksums.compute_url_info(path)
        for path in manual.iterdir()
    }
    monkeypatch.setattr(Mnist, "url_infos", infos)
    check_images(data.load(idx_config("", name="mnist", data_dir=str(tmp_path)), ("label",)))


def test_other_files_placed_by_hand_are_refused(tmp_path, idx_config):
    write(tmp_path / "downloads" / "manual", zipped=True)
    config = idx_config("", name="mnist", data_dir=str(tmp_path))
    assert "has wrong checksum" in refusal(config)


@pytest.mark.parametrize("builder", [Mnist, FashionMnist])
def test_a_folder_that_tfds_prepared_is_read(builder, tmp_path):
    # Name, version and features as TFDS's own, so what either has prepared the other opens.
    from tensorflow_datasets.image_classification import mnist

    theirs = {"mnist": mnist.MNIST, "fashion_mnist": mnist.FashionMNIST}[builder.name]
    ours, own = builder(data_dir=str(tmp_path)), theirs(data_dir=str(tmp_path))
    assert ours.data_dir == own.data_dir
    assert ours.info.features.get_serialized_info() == own.info.features.get_serialized_info()
    assert ours.info.features["label"].names == own.info.features["label"].names
    assert set(ours.url_infos) == {
        f"{theirs.URL}{name}.gz" for pair in NAMES.values() for name in pair
    }


@pytest.mark.parametrize(
    ("name", "cure"), [("mnist", "data.name=idx"), ("fashion_mnist", "apt-get")]
)
def test_without_network_the_error_says_what_else_there_is(
    tmp_path, idx_config, monkeypatch, name, cure
):
    builder = {"mnist": Mnist, "fashion_mnist": FashionMnist}[name]
    # Port 9 of this machine refuses at once.
    monkeypatch.setattr(builder, "URL", "http://127.0.0.1:9/")
    monkeypatch.setattr(builder, "INSTALLED", None)
    message = refusal(idx_config("", name=name, data_dir=str(tmp_path)))
    assert f"the download of {name!r} failed" in message
    assert cure in message
    assert "--config.data.name=idx --config.data.folder=PATH" in message


def test_debians_files(make_config):
    """Facts about the dataset itself: counts, and its well-known mean level, 0.2860."""
    if not Path("/usr/share/datasets/fashion-mnist").is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    config = make_config(
        name="idx", folder="/usr/share/datasets/fashion-mnist", image_size=28, num_levels=256
    )
    loaded = data.load(config, ("label",))
    np.testing.assert_array_equal(np.bincount(loaded.train.condition["label"]), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(loaded.test.condition["label"]), [1000] * 10)
    assert loaded.train.images.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
