"""CIFAR-10 from an archive with the true layout, made here since the real one needs network access."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from score_sde import data
from score_sde.data.cifar10 import ARCHIVE, RECORD_BYTES, URL, Cifar10, parse

PER_FILE = 3
FILES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def write_archive(path, contents):
    """A tar.gz as the authors distribute it: the binary files, and text files to be left alone."""
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {"batches.meta.txt": b"airplane\n", **contents}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def cifar_config(make_config, tmp_path):
    return make_config(
        name="cifar10", data_dir=str(tmp_path), image_size=32, num_channels=3, num_levels=256
    )


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """The archive placed by hand, its checksum registered; and the records in it, (18, 3073)."""
    table = np.random.default_rng(0).integers(
        0, 256, (len(FILES) * PER_FILE, RECORD_BYTES), np.uint8
    )
    table[:, 0] %= 10
    path = tmp_path / "downloads" / "manual" / ARCHIVE
    pieces = table.reshape(len(FILES), PER_FILE, RECORD_BYTES)
    write_archive(path, {name: piece.tobytes() for name, piece in zip(FILES, pieces, strict=True)})
    url_info = tfds.download.checksums.compute_url_info(path)
    monkeypatch.setattr(Cifar10, "url_infos", {URL: url_info})
    return table


def test_bytes_become_red_green_blue_rows():
    # By hand, from the format's description: label; 1,024 red bytes, row by row; green; blue.
    record = bytearray(RECORD_BYTES)
    record[0] = 7
    record[1 + 0] = 11  # red, row 0, column 0
    record[1 + 1] = 12  # red, row 0, column 1
    record[1 + 32] = 13  # red, row 1, column 0
    record[1 + 1024] = 21  # green, row 0, column 0
    record[1 + 2048 + 1023] = 31  # blue, row 31, column 31
    labels, images = parse(bytes(record))
    assert labels.tolist() == [7]
    assert images.shape == (1, 32, 32, 3)
    expected = np.zeros((32, 32, 3), np.uint8)
    expected[0, 0] = [11, 21, 0]
    expected[0, 1] = [12, 0, 0]
    expected[1, 0] = [13, 0, 0]
    expected[31, 31] = [0, 0, 31]
    np.testing.assert_array_equal(images[0], expected)


def test_the_archive_comes_back_whole(archive, cifar_config):
    loaded = data.load(cifar_config, ("label",))
    assert " ".join(loaded.class_names) == (
        "airplane automobile bird cat deer dog frog horse ship truck"  # as in batches.meta.txt
    )
    assert (loaded.train.num_images, loaded.test.num_images) == (5 * PER_FILE, PER_FILE)
    for split, records in ((loaded.train, archive[:-PER_FILE]), (loaded.test, archive[-PER_FILE:])):
        # Pixel by pixel through indices of the format, not through parse.
        back = {
            (int(label), *(image[i, j, c] for c in range(3) for i in range(32) for j in range(32)))
            for image, label in zip(split.images, split.condition["label"], strict=True)
        }
        assert back == {tuple(record) for record in records}


def test_ids_are_those_of_tfds(archive, cifar_config):
    data.load(cifar_config)
    source = Cifar10(data_dir=cifar_config.data.data_dir).as_data_source("train")
    ids = {record["id"].decode() for record in source}
    assert ids == {f"train_{i:05d}" for i in range(5 * PER_FILE)}


def test_a_dataset_that_tfds_prepared_is_read(archive, cifar_config):
    # TFDS's own builder opens what ours wrote, so the features agree, and ours may open what that one writes.
    data.load(cifar_config)
    theirs = tfds.builder_from_directory(f"{cifar_config.data.data_dir}/cifar10/3.0.2")
    from tensorflow_datasets.image_classification import cifar

    own = cifar.Cifar10(data_dir=cifar_config.data.data_dir)
    assert own.is_prepared()
    assert own.info.features.get_serialized_info() == theirs.info.features.get_serialized_info()
    assert len(own.as_data_source("test")) == PER_FILE


def test_another_archive_under_the_name_is_refused(archive, cifar_config, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(data.DatasetError, match="has wrong checksum"):
        data.load(cifar_config)
    assert not list(Path(cifar_config.data.data_dir).glob("cifar10/*/dataset_info.json"))


def test_the_registered_checksum_is_the_published_one():
    # TFDS keeps its own record of it.
    record = tfds.core.utils.tfds_path() / "url_checksums" / "cifar10.txt"
    url, size, checksum, filename = record.read_text().split()
    info = Cifar10.url_infos[URL]
    assert (URL, int(info.size), info.checksum, info.filename) == (
        url,
        int(size),
        checksum,
        filename,
    )


def test_without_network_the_error_says_where_to_put_the_archive(cifar_config, monkeypatch):
    # Port 9 of this machine refuses at once.
    refused = "http://127.0.0.1:9/cifar-10-binary.tar.gz"
    monkeypatch.setattr("score_sde.data.cifar10.URL", refused)
    with pytest.raises(data.DatasetError) as caught:
        data.load(cifar_config)
    message = str(caught.value)
    assert "download of 'cifar10' failed" in message
    assert f"Place {ARCHIVE} in {cifar_config.data.data_dir}/downloads/manual" in message
    assert message.count("\n") == 1


def test_a_file_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="records of 3073 bytes; got 3072"):
        parse(bytes(3072))
