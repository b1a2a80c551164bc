"""NumPy files as a dataset: every pixel is read, the split depends on row numbers, and nothing is trusted or unpickled."""

import hashlib
import os
import zipfile

import numpy as np
import pytest
from ml_collections import ConfigDict

from score_sde import data
from score_sde.configs.default import get_config
from score_sde.data.array_files import read_images
from score_sde.data.arrays import Rows, as_paired, pair_reader
from score_sde.data.numpy_files import read_arrays
from score_sde.errors import UserError
from tests.data.array_files import IMAGES, REFUSED, npy, npz
from tests.data.picture_folder import numbers, refusal

LABELS = np.arange(40) % 7

WRITERS = {
    "npz": lambda path: np.savez(path, images=IMAGES, labels=LABELS),
    "compressed": lambda path: np.savez_compressed(path, images=IMAGES, labels=LABELS),
    "fortran": lambda path: np.savez(path, images=np.asfortranarray(IMAGES), labels=LABELS),
    "compressed fortran": lambda path: np.savez_compressed(
        path, images=np.asfortranarray(IMAGES), labels=LABELS.astype(np.uint8)
    ),
    "npy": lambda path: path.write_bytes(npy(IMAGES)),
}


@pytest.fixture
def arrays_config(make_config):
    def make(path, **fields):
        common = {"name": "arrays", "file": str(path), "num_channels": 3, "num_levels": 256}
        return make_config(**{**common, **fields})

    return make


def in_order(rows):
    """By the first 64 bits of SHA-256 of a row's number."""
    return sorted(rows, key=lambda row: hashlib.sha256(b"%d" % row).digest()[:8])


def held_out(number):
    """Those of the first 5 % of these bits."""
    hashes = {i: int(hashlib.sha256(b"%d" % i).hexdigest()[:16], 16) for i in range(number)}
    return in_order(i for i, hashed in hashes.items() if hashed < 0.05 * 2**64)


@pytest.mark.parametrize("in_memory", ["yes", "no"])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_row_is_in_one_split_by_its_number(tmp_path, arrays_config, kind, in_memory):
    WRITERS[kind](path := tmp_path / "a.npz")
    told = () if kind == "npy" else ("label",)
    loaded = data.load(arrays_config(path, in_memory=in_memory), told)
    test = held_out(40)
    assert numbers(loaded.test) == test
    assert numbers(loaded.train) == in_order(set(range(40)) - set(test))
    assert 1 <= len(test) <= 5
    if told:
        for split in (loaded.train, loaded.test):
            np.testing.assert_array_equal(split.condition["label"], LABELS[numbers(split)])
            batch = split.take([0, split.num_images - 1])
            np.testing.assert_array_equal(
                batch.condition["label"], LABELS[batch.images[:, 0, 0, 0]]
            )


def test_rows_that_are_added_move_none(tmp_path, arrays_config):
    splits = []
    for number in (300, 400):
        images = np.zeros((number, 8, 8, 3), np.uint8)
        images[..., 0] = np.arange(number)[:, None, None] % 256
        images[..., 1] = np.arange(number)[:, None, None] // 256
        np.save(path := tmp_path / f"{number}.npy", images)
        first = data.load(arrays_config(path)).test.images[:, 0, 0].astype(int)
        splits.append(set((first[:, 0] + 256 * first[:, 1]).tolist()))
    assert splits == [set(held_out(300)), set(held_out(400))]
    assert splits[0] == {row for row in splits[1] if row < 300}


def test_named_test_images_are_the_test_split(tmp_path, arrays_config):
    np.savez(
        path := tmp_path / "a.npz",
        images=IMAGES[:7], labels=LABELS[:7], test_images=IMAGES[30:], test_labels=LABELS[30:], more=np.ones(3),
    )  # fmt: skip
    loaded = data.load(arrays_config(path), ("label",))
    assert numbers(loaded.train) == in_order(range(7))
    assert numbers(loaded.test) == [30 + row for row in in_order(range(10))]
    np.testing.assert_array_equal(loaded.test.condition["label"], LABELS[numbers(loaded.test)])
    assert loaded.contents() == (
        {"images": 7, "labels": 7, "test_images": 10, "test_labels": 10}, {"more": 1}
    )  # fmt: skip


def test_grey_images_need_no_axis_of_channels(tmp_path, arrays_config):
    np.save(path := tmp_path / "a.npy", IMAGES[..., 0])
    loaded = data.load(arrays_config(path, num_channels=1))
    assert loaded.test.shape == (8, 8, 1)
    np.testing.assert_array_equal(loaded.test.images[..., 0], IMAGES[held_out(40), ..., 0])


def test_a_label_that_is_not_known_is_named(tmp_path, arrays_config):
    np.savez(path := tmp_path / "a.npz", images=IMAGES, labels=np.where(LABELS == 3, -1, LABELS))
    data.load(arrays_config(path))
    with pytest.raises(data.DatasetError, match=r"row (3|10|17|24|31|38) of images in .* no label"):
        data.load(arrays_config(path), ("label",))


def test_what_lies_there_uncompressed_is_mapped_not_read(tmp_path):
    for kind in ("npz", "npy", "compressed"):
        WRITERS[kind](path := tmp_path / f"{kind}.npz")
        images = read_arrays(path, ("images",)).arrays["images"]
        assert isinstance(images, np.memmap) == (kind != "compressed")
        np.testing.assert_array_equal(images, IMAGES)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_such_file_is_refused_in_words(tmp_path, arrays_config, kind):
    write, said = REFUSED[kind]
    write(path := tmp_path / "a.npz")
    with pytest.raises(data.DatasetError, match=said):
        data.load(arrays_config(path))
    assert not (tmp_path / "executed").exists()


def test_no_file_a_folder_and_a_pipe_are_refused(tmp_path, arrays_config):
    os.mkfifo(tmp_path / "pipe")
    for name in ("none.npz", "", "pipe", "~no-such-user/a.npz"):
        path = name if name.startswith("~") else tmp_path / name
        assert "is not a file; give an .npz or .npy" in refusal(arrays_config(path))
    assert "needs data.file: give the .npz" in refusal(arrays_config(""))
    message = refusal(arrays_config(tmp_path / "a.npz", name="digits"))
    assert "is read only with data.name='arrays', but data.name='digits'" in message


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_archive_is_refused_or_read_right(tmp_path, compression):
    """200 damaged bytes: in headers, checksums and lengths of the archive and of the array, and in pixels."""
    rng = np.random.default_rng(0)
    npz(path := tmp_path / "a.npz", compression, images=npy(IMAGES[:9]))
    whole, refused = path.read_bytes(), 0
    for place in np.linspace(0, len(whole) - 1, 200).astype(int):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            found = read_arrays(path, ("images",)).arrays
        except data.DatasetError:
            refused += 1
        else:
            for array in found.values():
                np.testing.assert_array_equal(array, IMAGES[:9])
    assert refused > 100


def test_the_fingerprint_is_of_contents_as_far_as_the_file_knows_them(tmp_path, arrays_config):
    def fingerprint(images, name="a.npz", save=np.savez):
        save(tmp_path / name, images=images)
        return data.load(arrays_config(tmp_path / name)).fingerprint

    before = fingerprint(IMAGES)
    assert before.num_images == 40
    assert fingerprint(IMAGES, "renamed.npz", np.savez_compressed) == before
    changed = IMAGES.copy()
    changed[3, 0, 0, 0] ^= 1
    assert fingerprint(changed).hash != before.hash


def test_arrays_of_another_size_are_resized(tmp_path, arrays_config):
    np.save(path := tmp_path / "a.npy", IMAGES.repeat(2, axis=1).repeat(3, axis=2))
    loaded = data.load(arrays_config(path, resize=True, in_memory="no"))
    assert numbers(loaded.test) == held_out(40)


HANDED_OVER = [
    "objects",
    "strings",
    "encrypted",
    "a flipped bit",
    "10^12 images",
    "a bomb",
    "nothing",
]


@pytest.mark.parametrize("kind", HANDED_OVER)
def test_arrays_that_an_option_names_are_refused_too(tmp_path, kind):
    """Start images, anomalies and whatever else is read by the same function."""
    REFUSED[kind][0](path := tmp_path / "a.npz")
    config = get_config()
    config.data.update(image_size=8, num_channels=3)
    with pytest.raises(UserError, match=f"^sampling.start_images='{path}'") as error:
        read_images(config, "sampling.start_images", str(path))
    assert "cannot be read" in str(error.value) or "<U1: expected integers" in str(error.value)
    assert not (tmp_path / "executed").exists()


def test_arrays_that_an_option_names_have_the_height_and_the_width_of_the_config(tmp_path):
    np.savez(path := tmp_path / "a.npz", images=IMAGES[:, :2, :3])
    config = get_config()
    config.data.update(image_size=2, image_width=3, num_channels=3)
    key, images = read_images(config, "likelihood.anomalies", str(path))
    assert key == "images"
    np.testing.assert_array_equal(images, IMAGES[:, :2, :3])
    config.data.update(image_size=3, image_width=2)
    with pytest.raises(UserError, match=r"the shape \(40, 2, 3, 3\), expected \(n, 3, 2, 3\)"):
        read_images(config, "likelihood.anomalies", str(path))


def test_what_does_not_fit_into_memory_is_not_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", images=IMAGES)
    monkeypatch.setattr("score_sde.data.numpy_files.memory_bytes", lambda: 1000)
    with pytest.raises(
        UserError, match="images.npy has 7808 bytes when it is unpacked, and this .* of 1000"
    ):
        read_arrays(tmp_path / "a.npz", ("images",))


def paired_config(arrays_config, path, channels=2, **fields):
    config = arrays_config(path, **fields)
    config.model = ConfigDict({"num_classes": 0, "condition_channels": channels})
    return config


@pytest.mark.parametrize("kind", [np.uint8, np.float64])
@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_pairs_stay_beside_their_images(tmp_path, arrays_config, kind, in_memory):
    """One number per row in both splits, whether split by hashes or by the file."""
    pairs = np.broadcast_to(np.arange(40)[:, None, None, None], (*IMAGES.shape[:3], 2)).astype(kind)
    arrays = {"images": IMAGES, "paired": pairs}
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez(tmp_path / "b.npz", **arrays, test_images=IMAGES[:5], test_paired=pairs[:5])
    for name in ("a.npz", "b.npz"):
        config = paired_config(arrays_config, tmp_path / name, in_memory=in_memory)
        loaded = data.load(config, ("paired",))
        for split in (loaded.train, loaded.test):
            found = split.take(range(split.num_images)).condition["paired"]
            assert found.dtype == (np.uint8 if kind == np.uint8 else np.float32)
            np.testing.assert_array_equal(found[:, 0, 0, 0], numbers(split))


FITS = [
    {"resize": True, "image_size": 8},
    {"resize": True, "image_size": 8, "crop_size": 10},
    {"resize": True, "image_size": 12, "crop_size": 12},
    {"resize": True, "image_size": 12, "image_width": 10, "pad": 1, "resample": "box"},
    {"image_size": 16, "image_width": 22, "pad": 2},
]


@pytest.mark.parametrize("in_memory", ["yes", "no"])
@pytest.mark.parametrize("fit", FITS)
def test_pairs_are_cropped_resized_and_padded_as_their_images(
    tmp_path, arrays_config, fit, in_memory
):
    """Each image is paired with itself, and is after every change; so is its first channel."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 12, 18, 3)).astype(np.uint8)
    for channels in (1, 3):
        np.savez(path := tmp_path / "a.npz", images=noise, paired=noise[..., :channels])
        config = paired_config(arrays_config, path, channels, in_memory=in_memory, **fit)
        loaded = data.load(config, ("paired",))
        for split in (loaded.train, loaded.test):
            batch = split.take(range(split.num_images))
            np.testing.assert_array_equal(batch.condition["paired"], batch.images[..., :channels])


def test_pairs_are_shades_whatever_the_levels_of_images(tmp_path, arrays_config):
    """White pairs of black images of 16 levels stay white when both are resized."""
    black, white = (np.full((40, 12, 12, 3), of, np.uint8) for of in (0, 255))
    np.savez(path := tmp_path / "a.npz", images=black, paired=white)
    fields = {"resize": True, "num_levels": 16, "stored_levels": 16}
    loaded = data.load(paired_config(arrays_config, path, 3, **fields), ("paired",))
    np.testing.assert_array_equal(loaded.test.take([0]).condition["paired"], 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("size", "fit"),
    [((8, 8), {"resize": True}), ((16, 22), {"image_size": 16, "image_width": 22, "pad": 2})],
)
def test_pairs_of_the_final_size_are_taken_as_they_are(tmp_path, arrays_config, size, fit, dtype):
    pairs = np.random.default_rng(0).integers(0, 256, (40, *size, 3)).astype(dtype)
    np.savez(path := tmp_path / "a.npz", images=np.ones((40, 12, 18, 3), np.uint8), paired=pairs)
    loaded = data.load(paired_config(arrays_config, path, 3, **fit), ("paired",))
    for split in (loaded.train, loaded.test):
        found = split.take(range(split.num_images)).condition["paired"]
        assert (found.dtype, found.shape[1:3]) == (dtype, size)
        assert {of.tobytes() for of in found} <= {of.tobytes() for of in pairs}


@pytest.mark.parametrize(
    ("pairs", "fit"),
    [
        (np.ones((40, 12, 18, 3)), {"resize": True}),
        (np.ones((40, 12, 18, 3)), {"image_size": 16, "image_width": 22, "pad": 2}),
        (np.ones((40, 6, 6, 3), np.uint8), {"resize": True}),
        (np.ones((40, 6, 6, 3), np.uint8), {"resize": True, "crop_size": 10}),
        (np.ones((40, 12, 18, 2), np.uint8), {"resize": True}),
    ],
)
def test_pairs_that_cannot_be_changed_as_their_images_are_refused(
    tmp_path, arrays_config, pairs, fit
):
    """Where they are used; they may lie in the file of a network that is not conditioned on them."""
    np.savez(path := tmp_path / "a.npz", images=np.ones((40, 12, 18, 3), np.uint8), paired=pairs)
    config = paired_config(arrays_config, path, pairs.shape[-1], **fit)
    data.load(config)
    with pytest.raises(
        data.DatasetError, match=r"also changes paired, which must then be uint8"
    ) as e:
        data.load(config, ("paired",))
    named = [of for of in ("resize", "crop_size", "pad") if f"data.{of}=" in str(e.value)]
    assert named == [of for of in ("resize", "crop_size", "pad") if of in fit]


def test_images_that_are_not_changed_may_have_any_pairs(tmp_path, arrays_config):
    """data.resize changes none that have the size already."""
    pairs = np.full((40, 8, 8, 2), 0.1)
    np.savez(path := tmp_path / "a.npz", images=IMAGES, paired=pairs)
    loaded = data.load(paired_config(arrays_config, path, resize=True), ("paired",))
    np.testing.assert_array_equal(loaded.test.take([0]).condition["paired"], pairs[:1].astype("f4"))


def test_pairs_of_real_numbers_stay_in_their_file(tmp_path, arrays_config):
    """Only the rows that are taken are read into memory: for 40 pairs of a mapped file no array of 40 is made."""
    np.savez(path := tmp_path / "a.npz", paired=np.full((40, 8, 8, 2), 0.1))
    pairs = as_paired(path, "paired", read_arrays(path, ("paired",)).arrays["paired"])
    assert isinstance(pairs, np.memmap)
    pair = pair_reader(path, "paired", pairs, IMAGES, arrays_config(path).data)
    rows = Rows(path, "images", IMAGES, None, pair, np.arange(40))
    found = rows.__getitems__([3])[0]["paired"]()
    assert not isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, np.full((8, 8, 2), np.float32(0.1)), strict=True)


@pytest.mark.parametrize("channels", [2, 4])
def test_images_that_are_not_resized_have_any_number_of_channels(tmp_path, arrays_config, channels):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, channels)).astype(np.uint8)
    np.save(path := tmp_path / "a.npy", images)
    loaded = data.load(arrays_config(path, num_channels=channels))
    np.testing.assert_array_equal(loaded.test.images, images[held_out(40)])
    message = refusal(arrays_config(path, num_channels=channels, resize=True))
    assert (
        f"data.num_channels={channels}: images that are resized must have 1 (grey) or 3" in message
    )


@pytest.mark.parametrize(
    ("arrays", "channels", "words"),
    [
        (
            {"paired": np.ones((40, 8, 8, 2), np.int64)},
            2,
            "expected .* of uint8, or of real numbers",
        ),
        ({"paired": np.full((40, 8, 8, 2), np.inf)}, 2, "values that are not finite in float32"),
        ({"paired": np.ones((39, 8, 8, 2))}, 2, "39 paired for 40 images"),
        (
            {"paired": np.ones((40, 8, 8, 2)), "test_images": IMAGES},
            2,
            "pairs for one split only",
        ),
        (
            {"paired": np.ones((40, 8, 8, 2))},
            3,
            r"paired training images of shape \(8, 8, 2\), but .* expect",
        ),
        (
            {
                "paired": np.ones((40, 8, 8, 2)),
                "test_images": IMAGES,
                "test_paired": np.ones((40, 4, 4, 2)),
            },
            2,
            r"paired test images of shape \(4, 4, 2\), but .* expect",
        ),
        ({}, 2, "no paired images"),
    ],
)
def test_pairs_that_are_none_are_refused(tmp_path, arrays_config, arrays, channels, words):
    np.savez(tmp_path / "a.npz", images=IMAGES, **arrays)
    with pytest.raises(UserError, match=words):
        data.load(paired_config(arrays_config, tmp_path / "a.npz", channels), ("paired",))
