"""The digits through TFDS are scikit-learn's, with a fixed split, and preparing them survives races and kills."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets

from score_sde import data
from score_sde.data.digits import Digits, split_indices

ROOT = Path(data.__file__).parents[1]


def rows(images, labels):
    """Images with their labels as a sorted array: equal for equal multisets."""
    table = np.column_stack([images.reshape(len(images), -1), labels]).astype(int)
    return table[np.lexsort(table.T)]


def test_the_images_and_labels_are_those_of_sklearn(digits):
    original = sklearn.datasets.load_digits()
    images = np.concatenate([digits.train.images, digits.test.images])
    labels = np.concatenate([split.condition["label"] for split in (digits.train, digits.test)])
    np.testing.assert_array_equal(rows(images, labels), rows(original.images, original.target))
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32


def test_the_split_has_the_stated_sizes_and_no_common_image(digits):
    assert (digits.train.num_images, digits.test.num_images) == (1500, 297)
    assert digits.train.shape == digits.test.shape == (8, 8, 1)
    assert digits.num_levels == 17
    train = {image.tobytes() for image in digits.train.images}
    assert not any(image.tobytes() in train for image in digits.test.images)


def test_the_split_mixes_writers():
    # The file is ordered by writer; taking its tail would leave 1,500 to 1,796 for the test.
    train, test = split_indices()
    assert sorted([*train, *test]) == list(range(1797))
    assert abs(np.mean(test) - 898) < 100
    assert test[:5].tolist() == GOLDEN_TEST


GOLDEN_TEST = [864, 1685, 1029, 295, 1368]


def test_a_second_load_reads_what_the_first_prepared(digits, digits_config, monkeypatch):
    folder = Path(digits_config.data.data_dir) / "digits" / "1.0.0"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    # With the source gone, only the prepared files are left to read.
    monkeypatch.delattr(sklearn.datasets, "load_digits")
    again = data.load(digits_config)
    np.testing.assert_array_equal(again.train.images, digits.train.images)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_loser_of_a_race_reads_the_winners_work(tmp_path, make_config, monkeypatch):
    generate = Digits._generate_examples

    def overtaken(self, indices):
        # Another process starts later and finishes first: our final rename then meets a full folder.
        monkeypatch.setattr(Digits, "_generate_examples", generate)
        data.load(make_config(data_dir=str(tmp_path)))
        yield from generate(self, indices)

    monkeypatch.setattr(Digits, "_generate_examples", overtaken)
    loaded = data.load(make_config(data_dir=str(tmp_path)))
    assert (loaded.train.num_images, loaded.test.num_images) == (1500, 297)
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["1.0.0"]


def test_a_killed_preparation_leaves_nothing_that_looks_finished(tmp_path, make_config):
    slow = (
        "import score_sde.data.digits, score_sde.data.builders, time; from score_sde import data\n"
        "generate = data.digits.Digits._generate_examples\n"
        "def crawl(self, indices):\n"
        "    for example in generate(self, indices):\n"
        "        yield example\n"
        "        print(flush=True); time.sleep(60)\n"
        "data.digits.Digits._generate_examples = crawl\n"
        f"data.builders.prepared_builder('digits', {str(tmp_path)!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", slow], cwd=ROOT, stdout=-1, stderr=-1)
    wait_until(lambda: list(tmp_path.glob("digits/incomplete*")))
    process.kill()
    process.wait()
    assert data.load(make_config(data_dir=str(tmp_path))).train.num_images == 1500


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_folder_that_tfds_prepared_in_its_default_format_is_named(
    digits, digits_config, tmp_path, make_config
):
    shutil.copytree(Path(digits_config.data.data_dir) / "digits", tmp_path / "digits")
    info = tmp_path / "digits" / "1.0.0" / "dataset_info.json"
    text = info.read_text()
    assert "array_record" in text
    info.write_text(text.replace("array_record", "tfrecord"))
    with pytest.raises(data.DatasetError, match=r"/digits in another file format .*data_dir=PATH"):
        data.load(make_config(data_dir=str(tmp_path)))


@pytest.mark.parametrize("damage", ["unlink", "truncate"])
def test_a_damaged_folder_is_reported(digits_config, tmp_path, make_config, damage):
    shutil.copytree(Path(digits_config.data.data_dir) / "digits", tmp_path / "digits")
    record = next(tmp_path.glob("digits/1.0.0/*train.array_record*"))
    if damage == "unlink":
        record.unlink()
    else:
        record.write_bytes(record.read_bytes()[:1000])
    with pytest.raises(data.DatasetError, match=r"digits/1\.0\.0 cannot be read"):
        data.load(make_config(data_dir=str(tmp_path)))
