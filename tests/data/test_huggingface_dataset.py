"""Folders of Hugging Face datasets, if the package is installed; and the message if it is not."""

import hashlib
import sys
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from score_sde import data
from score_sde.data import huggingface
from score_sde.data.classes import Renumbered
from score_sde.data.loader import labels_of
from tests.data.picture_folder import colour, numbers, refusal

NAMES = ["ant", "walrus", "yak"]


@pytest.fixture
def config(make_config, tmp_path):
    def make(folder=tmp_path, **fields):
        common = {
            "name": "huggingface",
            "folder": str(folder),
            "num_channels": 3,
            "num_levels": 256,
        }
        return make_config(**{**common, **fields})

    return make


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    package = pytest.importorskip("datasets")
    monkeypatch.setattr(package.config, "HF_DATASETS_CACHE", tmp_path.with_name("cache"))
    return package


def pictures(datasets, rows, names=NAMES):
    """Row i of class i % 3, by the names of those classes that are numbered."""
    features = {
        "text": "string",
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=names),
    }
    kinds = {name: datasets.Value(f) if isinstance(f, str) else f for name, f in features.items()}
    columns = {
        "text": [f"row {i}" for i in rows],
        "image": [PIL.Image.new("RGB", (8, 8), colour(i)) for i in rows],
        "label": [names.index(NAMES[i % 3]) for i in rows],
    }
    return datasets.Dataset.from_dict(columns, datasets.Features(kinds))


def in_order(rows):
    return sorted(rows, key=lambda row: hashlib.sha256(b"%d" % row).digest()[:8])


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_a_saved_dataset_of_one_split(datasets, config, tmp_path, in_memory):
    pictures(datasets, range(40)).with_format("numpy", columns=["text"]).save_to_disk(tmp_path)
    loaded = data.load(config(in_memory=in_memory), ("label",))
    test = [
        i for i in range(40) if hashlib.sha256(b"%d" % i).digest()[:8] < (2**64 // 20).to_bytes(8)
    ]
    assert numbers(loaded.test) == in_order(test)
    assert numbers(loaded.train) == in_order(set(range(40)) - set(test))
    assert loaded.class_names == tuple(NAMES)
    for split in (loaded.train, loaded.test):
        np.testing.assert_array_equal(split.condition["label"], np.array(numbers(split)) % 3)
    assert loaded.contents() == ({"rows": 40}, {"column text": 1})
    assert loaded.fingerprint.num_images == 40


class Columns(dict):
    """What is asked of the package's Dataset, of columns that are functions of the row."""

    features, number = {}, 0

    def of(self, number, **features):
        self.number, self.features = number, features
        return self

    def __len__(self):
        return self.number

    with_format = cast_column = lambda self, *given: self

    def select_columns(self, names):
        return Columns({name: self[name] for name in names})

    def __getitem__(self, key):
        of = super().__getitem__
        return of(key) if isinstance(key, str) else {n: [of(n)(i) for i in key] for n in self}


def test_labels_are_read_without_the_images(monkeypatch):
    """For a selection of rows, and renumbered: row i has class i % 3, and class 0 becomes 2."""
    monkeypatch.setattr(huggingface, "package", lambda: SimpleNamespace(Image=dict))
    columns = Columns(image=pytest.fail, label=lambda i: i % 3)
    rows = huggingface.Rows("rows", columns, "image", "label", [*range(10, 20)])
    split = data.ImagesOnDisk(
        Renumbered(rows, {0: 2, 1: 0, 2: 1}), pytest.fail, (8, 8, 3), "folder"
    )
    np.testing.assert_array_equal(labels_of(split), [(i - 1) % 3 for i in range(10, 20)])
    np.testing.assert_array_equal(labels_of(split.subset(np.array([7, 0]))), [1, 0])
    unlabelled = huggingface.Rows("rows", Columns(image=str), "image", None, [4])
    assert unlabelled.without_images().__getitems__([0]) == [
        {"path": "row 4 of rows", "image": "4", "label": -1}
    ]


@pytest.fixture
def saved(monkeypatch, config, tmp_path):
    """Splits without their images -> the dataset of them."""

    def load(**splits):
        kinds = SimpleNamespace(Image=dict, ClassLabel=SimpleNamespace)
        monkeypatch.setattr(huggingface, "package", lambda: kinds)
        monkeypatch.setattr(huggingface, "opened", lambda folder: splits)
        return huggingface.load_huggingface(config().data)

    return load


def split_of(number, label, names):
    """Rows i of class label(i) by these names."""
    features = {"image": {}, "label": SimpleNamespace(names=names, dtype="int64")}
    return Columns(image=pytest.fail, label=label).of(number, **features)


def names_of(loaded, split):
    """By the name of its class, each row's own number in the file."""
    rows = split.source
    while not hasattr(rows, "rows"):
        rows = rows.source
    return dict(zip(rows.rows, (loaded.class_names[i] for i in labels_of(split)), strict=True))


@pytest.mark.parametrize(
    ("own", "every"), [(NAMES[1:], NAMES), (["zebra", *NAMES[::-1]], [*NAMES, "zebra"])]
)
def test_splits_that_were_numbered_each_by_itself(saved, own, every):
    loaded = saved(
        train=split_of(9, lambda i: i % 3, NAMES),
        test=split_of(8, lambda i: i % len(own), own),
    )
    assert loaded.class_names == tuple(every)
    assert names_of(loaded, loaded.train) == {i: NAMES[i % 3] for i in range(9)}
    assert names_of(loaded, loaded.test) == {i: own[i % len(own)] for i in range(8)}


def test_splits_that_are_not_read_are_said_to_be_ignored(saved):
    splits = {
        name: split_of(n, lambda i: 0, NAMES)
        for name, n in [("train", 5), ("test", 4), ("validation", 3)]
    }
    contents = saved(**splits).contents()
    assert contents == ({"rows of train": 5, "rows of test": 4}, {"rows of validation": 3})
    del splits["test"]
    contents = saved(**splits).contents()
    assert contents == ({"rows of train": 5, "rows of validation": 3}, {})


@pytest.mark.parametrize(("last", "used"), [(0, "test"), (-1, "validation"), (None, "validation")])
def test_splits_whose_labels_are_not_public_are_not_tested_on(saved, capsys, last, used):
    """As of ImageNet: every label of `test` is -1, and those of `validation` are known."""
    splits = {
        "train": split_of(5, lambda i: i % 3, NAMES),
        "validation": split_of(3, lambda i: i, NAMES),
        "test": split_of(4, lambda i: last, NAMES),
    }
    loaded = saved(**splits)
    assert loaded.test.num_images == len(splits[used])
    assert labels_of(loaded.test).min() == 0
    said = (
        "the images of test have no labels; validation is the test split" in capsys.readouterr().err
    )
    assert said == (used == "validation")
    ignored = {f"rows of {n}": len(splits[n]) for n in {"test", "validation"} - {used}}
    assert loaded.contents().ignored == ignored
    del splits["validation"]
    assert saved(**splits).test.num_images == 4


@pytest.mark.parametrize("unknown", [-1, None])
def test_the_package_reads_labels_that_are_not_public(datasets, config, tmp_path, unknown):
    known = pictures(datasets, range(10, 16))
    withheld = known.remove_columns("label").add_column(
        "label", [unknown] * 6, feature=known.features["label"]
    )
    parts = {"train": pictures(datasets, range(7)), "test": withheld, "validation": known}
    datasets.DatasetDict(parts).with_format("numpy").save_to_disk(tmp_path)
    loaded = data.load(config(), ("label",))
    assert numbers(loaded.test) == [10 + row for row in in_order(range(6))]
    np.testing.assert_array_equal(
        loaded.test.condition["label"], np.array(numbers(loaded.test)) % 3
    )


def test_a_test_split_without_the_column_of_labels_is_not_tested_on(saved):
    test = split_of(4, lambda i: 0, NAMES)
    del test.features["label"]
    known = split_of(3, lambda i: 1, NAMES)
    loaded = saved(train=split_of(5, lambda i: 0, NAMES), test=test, validation=known)
    np.testing.assert_array_equal(labels_of(loaded.test), 1)


def test_what_the_package_keeps_beside_the_data_is_none_of_it(saved, tmp_path):
    (tmp_path / "state.json").touch()

    def known(name):
        (tmp_path / name).write_bytes(b"rows")
        return saved(train=split_of(5, lambda i: 0, NAMES)).fingerprint.hash

    first = known("data-00000-of-00002.arrow")
    assert known("cache-0123456789.arrow") == first != known("data-00001-of-00002.arrow")


@pytest.mark.parametrize("kind", ["saved", "parquet"])
def test_the_splits_of_a_dataset(datasets, config, tmp_path, kind):
    parts = {
        "train": pictures(datasets, range(7)),
        "test": pictures(datasets, range(30, 40), NAMES[::-1] if kind == "saved" else NAMES),
    }
    if kind == "saved":
        datasets.DatasetDict(parts).save_to_disk(tmp_path)
    else:
        for name, part in parts.items():
            part.to_parquet(tmp_path / f"{name}-00000-of-00001.parquet")
    loaded = data.load(config(), ("label",))
    assert numbers(loaded.train) == in_order(range(7))
    assert numbers(loaded.test) == [30 + row for row in in_order(range(10))]
    for split in (loaded.train, loaded.test):
        np.testing.assert_array_equal(split.condition["label"], np.array(numbers(split)) % 3)


def test_parquet_files_that_number_classes_each_by_itself_are_refused(datasets, config, tmp_path):
    """The package would use the class names of the first file for all of them."""
    for name, names in (("train", NAMES), ("test", NAMES[::-1])):
        part = pictures(datasets, range(7), names)
        part.to_parquet(tmp_path / f"{name}-00000-of-00001.parquet")
    message = refusal(config())
    assert "numbers the classes of 'label' as yak, walrus, ant, and" in message
    assert "as ant, walrus, yak: encode" in message


def test_files_that_number_classes_each_by_itself_are_refused(monkeypatch, saved, tmp_path):
    eleven = tuple(f"class {i}" for i in range(11))
    named = {
        "test.parquet": ("ant", "yak"),
        "train.parquet": ("ant", "walrus", "yak"),
        "more.parquet": None,
        "other.arrow": ("ox",),
    }
    for name in named:
        (tmp_path / name).touch()
    monkeypatch.setattr(huggingface, "names_in", lambda path, label: named[path.name])
    split = split_of(5, lambda i: 0, NAMES)
    with pytest.raises(data.DatasetError, match="as ant, yak, and .* as ant, walrus, yak: encode"):
        saved(train=split, test=split)
    named["test.parquet"] = named["train.parquet"]
    saved(train=split, test=split)
    named |= {"test.parquet": eleven, "train.parquet": (*eleven[:10], "another")}
    with pytest.raises(data.DatasetError, match="class 9 and 1 more, and .* class 9 and 1 more"):
        saved(train=split, test=split)
    (tmp_path / "dataset_dict.json").touch()
    saved(train=split, test=split)


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_both_of_arrows_formats_say_what_their_columns_are(tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    schema = pyarrow.schema([("label", pyarrow.int64())])
    with getattr(pyarrow.ipc, f"new_{kind}")(str(tmp_path / "x.arrow"), schema) as writer:
        writer.write_table(pyarrow.table({"label": [1, 2]}, schema))
    assert huggingface.arrow_schema(tmp_path / "x.arrow").equals(schema)


def test_what_is_no_such_folder_is_refused_in_words(datasets, config, tmp_path):
    assert "is not a Hugging Face dataset: expected dataset_dict.json or" in refusal(config())
    assert "data.name='huggingface' needs data.folder" in refusal(config(""))
    (tmp_path / "damaged").mkdir()
    pictures(datasets, range(4)).save_to_disk(tmp_path / "damaged")
    (tmp_path / "damaged" / "state.json").write_text("{")
    assert "cannot be read by datasets: JSONDecodeError" in refusal(config(tmp_path / "damaged"))
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(tmp_path / "text")
    assert "no column of images (datasets.Image), only text" in refusal(config(tmp_path / "text"))
    pictures(datasets, range(4)).save_to_disk(tmp_path / "good")
    message = refusal(config(tmp_path / "good", image_width=9))
    assert "has 8x8 pixels, but data.image_size and data.image_width say 8x9" in message


def test_without_the_package_the_extra_is_named(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = refusal(config())
    assert "needs the optional package datasets" in message
    assert "pip install -e '.[huggingface]' in the checkout, or pip install datasets" in message
