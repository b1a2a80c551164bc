"""`load`: agreement with the config, equal results from memory and disk, other TFDS datasets, the toy mixture."""

import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from score_sde import data, machine
from score_sde.data import builders, captions, loader, mixture, prepare, resizing, shapes
from score_sde.data.conditions import CONDITIONS
from score_sde.data.loader import FIRST_IMAGES, contents_of, split_names
from score_sde.data.resizing import decode_image
from score_sde.errors import UserError

ROOT = Path(data.__file__).parents[1]


class Photographs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Forty colour images of different sizes and one split, as TFDS has many: grey level = index."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = Path(__file__)

    def _info(self):
        features = tfds.features.FeaturesDict({"photo": tfds.features.Image()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(40):
            # Every other one stored grey, which happens in colour datasets.
            image = PIL.Image.new("RGB", (12 + i, 14), (i, i, i))
            yield i, {"photo": image.convert("L") if i % 2 else image}


class Damaged(Photographs, skip_registration=True):
    def _generate_examples(self):
        yield from ((i, {"photo": b"GIF89a, perhaps"}) for i in range(40))


class Labelled(Photographs, skip_registration=True):
    """Labels that are no classes: a text, or several classes of one image."""

    def _info(self):
        kinds = {"photo": tfds.features.Image(), "label": self.LABEL}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(kinds))

    def _generate_examples(self):
        for i, example in super()._generate_examples():
            yield i, {**example, "label": self.VALUE}


class WithNames(Labelled, skip_registration=True):
    LABEL, VALUE = tfds.features.Text(), "George"


class WithSeveral(Labelled, skip_registration=True):
    LABEL, VALUE = tfds.features.Sequence(tfds.features.ClassLabel(names=["ant", "yak"])), [1, 0]


class LabelsWithheld(Photographs, skip_registration=True):
    """As ImageNet in TFDS: label 1, and -1 for the images of `test`; levels 10, 20 and 30."""

    NAMES = "test", "train", "validation"

    def _info(self):
        label = tfds.features.ClassLabel(names=["ant", "yak"])
        features = tfds.features.FeaturesDict({"photo": tfds.features.Image(), "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(k) for k, name in enumerate(self.NAMES, 1)}

    def _generate_examples(self, k):
        for i in range(4 * k):
            image = PIL.Image.new("RGB", (12, 14), (10 * k,) * 3)
            yield i, {"photo": image, "label": -1 if k == 1 else 1}


class NeedsTensorFlow(Photographs, skip_registration=True):
    """Like most of TFDS's own builders: arrays, which TFDS encodes with TensorFlow."""

    def _generate_examples(self):
        yield 0, {"photo": np.zeros((12, 14, 3), np.uint8)}


@pytest.fixture
def photographs(make_config, tmp_path, monkeypatch):
    monkeypatch.setitem(builders.BUILDERS, "photographs", f"{__name__}:Photographs")
    monkeypatch.setitem(builders.BUILDERS, "needs_tensorflow", f"{__name__}:NeedsTensorFlow")

    def make(**fields):
        common = {
            "name": "photographs",
            "data_dir": str(tmp_path),
            "num_channels": 3,
            "num_levels": 256,
        }
        return make_config(**{**common, "resize": True, "image_size": 6, **fields})

    return make


def refusal(config):
    with pytest.raises(UserError) as caught:
        data.load(config)
    assert isinstance(caught.value, UserError)
    return str(caught.value)


def test_disk_and_memory_give_the_same_batches(digits, digits_config, make_config):
    config = make_config(data_dir=digits_config.data.data_dir, in_memory="no")
    on_disk = data.load(config, ("label",))
    assert on_disk.train.images is None
    labels = on_disk.train.condition["label"]
    assert on_disk.class_names == digits.class_names == tuple("0123456789")
    assert (on_disk.train.num_images, on_disk.train.shape) == (1500, (8, 8, 1))
    assert on_disk.num_levels == 17
    streams = [
        s.batches(seed=5, batch_size=64, start_step=20) for s in (digits.train, on_disk.train)
    ]
    # Past the end of the first epoch, at step 23.4.
    for step in range(20, 30):
        memory, disk = (next(stream) for stream in streams)
        np.testing.assert_array_equal(disk.images, memory.images)
        rows = data.batch_indices(5, step, 64, 1500)
        np.testing.assert_array_equal(memory.images, digits.train.images[rows])
        for batch in (memory, disk):
            np.testing.assert_array_equal(batch.index, np.arange(64))
            assert batch.index.dtype == batch.condition["label"].dtype == np.int32
            np.testing.assert_array_equal(batch.condition["label"], labels[rows])


def test_splits_of_tfds_that_are_not_used_are_told(digits):
    assert digits.contents() == ({"records of train": 1500, "records of test": 297}, {})
    splits = {
        name: SimpleNamespace(num_examples=n)
        for name, n in (("train", 5), ("test", 2), ("validation", 3))
    }
    builder = SimpleNamespace(info=SimpleNamespace(splits=splits))
    builder.name = "three"

    def contents(label):
        return contents_of(builder, split_names(builder, lambda split: label))

    assert contents(0).ignored == {"records of validation": 3}
    assert contents(-1).ignored == {"records of test": 2}
    del splits["test"], splits["validation"]  # cut then: train[:95%], train[95%:]
    assert contents(0) == ({"records of train": 5}, {})


@pytest.mark.parametrize(
    ("error", "said"),
    [(data.DatasetError("of row 3"), "^of row 3$"), (OSError(), "cannot be read as ArrayRecord")],
)
def test_what_a_source_says_of_its_records_is_said(error, said):
    class Source:
        def __getitems__(self, indices):
            raise error

    with pytest.raises(data.DatasetError, match=said):
        data.ImagesOnDisk(Source(), None, (1, 1, 1), "/folder").take([3])


def test_hosts_read_parts_of_the_same_batch(digits, digits_config, make_config):
    on_disk = data.load(make_config(data_dir=digits_config.data.data_dir, in_memory="no"))
    whole = next(digits.train.batches(0, 8, 3))
    for split in (digits.train, on_disk.train):
        parts = [next(split.batches(0, 8, 3, host, 2)) for host in range(2)]
        np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), whole.images)
        assert [part.index.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def half_size(record, image):
    """Every other pixel: a condition that is an image."""
    return image()[::2, ::2]


def test_a_condition_of_another_kind_is_a_function_and_a_line(
    digits_config, make_config, monkeypatch
):
    monkeypatch.setitem(CONDITIONS, "half_size", half_size)
    for in_memory in ("yes", "no"):
        config = make_config(data_dir=digits_config.data.data_dir, in_memory=in_memory)
        train = data.load(config, ("half_size", "label")).train
        for batch in (train.take([3, 700, 3]), next(train.batches(0, 8, 2))):
            expected = batch.images[:, ::2, ::2]
            np.testing.assert_array_equal(batch.condition["half_size"], expected)
        assert train.condition["half_size"].shape == (1500, 4, 4, 1)
    mixture = data.load(mixture_config(make_config), ("half_size",)).test
    np.testing.assert_array_equal(mixture.condition["half_size"], mixture.images[:, ::2, ::2])


def test_labels_of_arrays_in_memory_are_records_too(digits):
    labels = digits.test.condition["label"]
    split = data.ImagesInMemory(digits.test.images, {"label": labels})
    told = split.with_conditions({"label": CONDITIONS["label"]})
    np.testing.assert_array_equal(told.condition["label"], labels)
    assert split.with_conditions({}).take([5]).condition == ()
    chosen = split.subset(np.array([9, 4]))
    np.testing.assert_array_equal(chosen.images, digits.test.images[[9, 4]])
    np.testing.assert_array_equal(chosen.condition["label"], labels[[9, 4]])


def test_what_is_gathered_from_arrays_on_the_device_is_what_is_taken(digits):
    """The labels that a compiled step looks up with the images of the rows it is given."""
    rows, places = np.array([7, 1499, 7]), np.arange(3, dtype=np.int32)
    inside = jax.jit(data.gather)(digits.test.images, digits.test.condition, rows % 297, places)
    outside = digits.test.take(rows % 297)
    np.testing.assert_array_equal(inside.images, outside.images)
    np.testing.assert_array_equal(inside.condition["label"], outside.condition["label"])
    np.testing.assert_array_equal(inside.index, places)
    np.testing.assert_array_equal(outside.index, rows % 297)


def told(n, decode=lambda record: np.zeros((2, 3, 1), np.uint8)):
    """A split on disk of images beside which there are twelve real numbers for each pixel."""

    class Source(list):
        def __getitems__(self, rows):
            return [self[i] for i in rows]

    source = Source({"paired": np.zeros((2, 3, 12), np.float32), "row": i} for i in range(n))
    return data.ImagesOnDisk(source, decode, (2, 3, 1), "/folder")


def test_conditions_count_for_what_is_held_in_memory(monkeypatch):
    """Seven images of 6 bytes with 72 real numbers of 4 bytes each, decoded only if a condition asks for them."""
    split = told(7, decode=pytest.fail)
    assert split.num_bytes == 7 * 6
    split = split.with_conditions({"paired": CONDITIONS["paired"]})
    assert split.num_bytes == 7 * (6 + 72 * 4)
    datasets = data.Datasets("told", split, split, 256)
    for most, on_disk in ((2 * split.num_bytes, False), (2 * split.num_bytes - 1, True)):
        monkeypatch.setattr(loader, "IN_MEMORY_BYTES", most)
        assert (loader.placed(datasets, "auto").train is split) == on_disk


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(monkeypatch):
    """2 * 7 images of 6 bytes, on machines of 84 bytes and of one less."""
    split = told(7, decode=pytest.fail)
    datasets = data.Datasets("told", split, split, 256)
    for memory in (84, 83):
        monkeypatch.setattr(machine, "memory_bytes", lambda memory=memory: memory)
        if memory == 84:
            assert loader.placed(datasets, "yes").train is not split
            continue
        with pytest.raises(UserError, match="=yes for the images of 'told' .set data.in_memory=no"):
            loader.placed(datasets, "yes")
        assert loader.placed(datasets, "no").train is split


def test_images_are_decoded_side_by_side():
    """The first two wait for each other; results arrive in order."""
    both = threading.Barrier(2)

    def decode(record):
        if record["row"] in (0, 29):
            both.wait(timeout=20)
        return np.full((2, 3, 1), record["row"], np.uint8)

    rows = np.arange(30)[::-1]
    np.testing.assert_array_equal(told(30, decode).take(rows).images[:, 0, 0, 0], rows)


@pytest.fixture
def decoded(monkeypatch):
    """Every image that is decoded, one entry each."""
    calls = []

    def counted(encoded, num_channels):
        calls.append(encoded)
        return decode_image(encoded, num_channels)

    monkeypatch.setattr(resizing, "decode_image", counted)
    return calls


def test_only_what_is_asked_for_is_decoded(digits, digits_config, decoded):
    """Sixteen of each split are checked; four more images cost four reads, repeated ones and labels none."""
    loaded = data.load(digits_config, ("label",))
    assert len(decoded) <= 32
    decoded.clear()
    for _ in range(2):
        batch = loaded.train.take([1001, 1000, 1003, 1003])
        np.testing.assert_array_equal(batch.images, digits.train.images[[1001, 1000, 1003, 1003]])
        np.testing.assert_array_equal(
            batch.condition["label"], digits.train.condition["label"][[1001, 1000, 1003, 1003]]
        )
    assert len(decoded) == 3
    assert len(loaded.train.condition["label"]) == 1500
    assert len(decoded) == 3
    np.testing.assert_array_equal(loaded.train.images, digits.train.images)
    assert len(decoded) == 1500 - FIRST_IMAGES


def test_choosing_a_class_decodes_no_image_of_another(digits_config, make_config, decoded):
    data.load(make_config(data_dir=digits_config.data.data_dir, label=3))
    assert len(decoded) <= 2 * FIRST_IMAGES


def test_a_split_is_decoded_before_training_where_that_is_asked_for(digits_config, decoded):
    loaded = data.load(digits_config, whole=True)
    assert len(decoded) == 1797
    next(loaded.train.batches(0, 8))
    assert len(decoded) == 1797


def test_other_shapes_channels_and_levels_are_refused(digits, digits_config, make_config):
    def changed(**fields):
        return refusal(make_config(data_dir=digits_config.data.data_dir, **fields))

    assert "shape (8, 8, 1), but data.image_size=32" in changed(image_size=32)
    assert "1 channels, but data.num_channels=3" in changed(num_channels=3)
    assert "17 grey levels, but data.num_levels=256" in changed(num_levels=256)
    assert "17 grey levels, but data.num_levels=None" in changed(num_levels=0)
    for other in (5, 34, 1):
        assert "give 17, or a divisor of it" in changed(num_levels=other)
    assert "data.in_memory='maybe' is unknown" in changed(in_memory="maybe")


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_a_pixel_above_the_stated_levels_is_refused(photographs, in_memory):
    fields = {"num_levels": 2, "stored_levels": 2, "in_memory": in_memory}
    assert "pixel of level" in refusal(photographs(**fields))


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_images_are_reduced_to_a_divisor_of_their_levels(photographs, in_memory):
    """8-bit images at five bits keep the five highest bits: the last three binary digits are dropped."""
    eight = data.load(photographs(in_memory=in_memory))
    five = data.load(photographs(in_memory=in_memory, num_levels=32))
    assert (eight.num_levels, five.num_levels) == (256, 32)
    for name in ("train", "test"):
        whole, reduced = getattr(eight, name), getattr(five, name)
        indices = range(whole.num_images)
        bits = np.unpackbits(whole.take(indices).images[..., None], axis=-1)
        expected = np.packbits(bits[..., :5], axis=-1)[..., 0] >> 3
        np.testing.assert_array_equal(reduced.take(indices).images, expected)
        assert reduced.take(indices).images.dtype == np.uint8
        batch, of_whole = (next(split.batches(0, 2, 1)).images for split in (reduced, whole))
        np.testing.assert_array_equal(batch, of_whole >> 3)


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_resized_digits_keep_their_levels(digits_config, make_config, in_memory):
    """Of 17, as their builder says: larger digits have white pixels and none above."""
    fields = {"data_dir": digits_config.data.data_dir, "resize": True, "image_size": 16}
    test = data.load(make_config(**fields, in_memory=in_memory)).test
    assert test.take(range(test.num_images)).images.max() == 16


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_levels_are_those_of_stored_images_not_of_resized_ones(photographs, in_memory):
    """Each image is of one level, up to 39, to which no filter adds any; three levels are one too few for 3."""
    fields = {"resize": True, "in_memory": in_memory}
    data.load(photographs(num_levels=40, stored_levels=40, **fields), whole=True)
    message = refusal(photographs(num_levels=3, stored_levels=3, **fields))
    assert "a pixel of level" in message
    assert "3 grey levels are expected, 0 to 2; correct data.stored_levels" in message


def test_a_reduction_to_black_is_refused(photographs):
    """Files with levels 0 to 39, read as 8-bit images at one bit, are surely a mistake of the user."""
    message = refusal(photographs(num_levels=2, in_memory="yes"))
    assert "no pixel of level 128 of 256 or more" in message
    assert "set data.stored_levels=2" in message


def test_files_may_hold_fewer_levels_than_eight_bits(photographs):
    loaded = data.load(photographs(num_levels=40, stored_levels=40, in_memory="yes"))
    assert loaded.num_levels == 40
    assert "give 256, or a divisor" in refusal(photographs(num_levels=40))


def test_images_of_different_sizes_need_resize(photographs):
    assert "data.resize=True" in refusal(photographs(resize=False))


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_one_split_is_cut_and_images_are_resized(photographs, in_memory):
    loaded = data.load(photographs(in_memory=in_memory))
    assert (loaded.train.num_images, loaded.test.num_images) == (38, 2)
    images = np.concatenate(
        [loaded.train.take(range(38)).images, loaded.test.take(range(2)).images]
    )
    assert images.shape == (40, 6, 6, 3)
    # Every image is of one level, its index; so none is lost, doubled, or in both splits.
    assert (images == images[:, :1, :1, :1]).all()
    assert sorted(images[:, 0, 0, 0]) == list(range(40))


def test_a_crop_larger_than_an_image_is_refused(photographs):
    assert "data.crop_size=15" in refusal(photographs(crop_size=15))


def test_a_dataset_that_needs_tensorflow_says_which_command_to_run(photographs):
    message = refusal(photographs(name="needs_tensorflow"))
    assert "TFDS needs tensorflow to prepare 'needs_tensorflow'" in message
    assert (
        "pip install tensorflow && python -m score_sde.data.prepare needs_tensorflow --data_dir"
        in message
    )


def test_lsun_needs_another_package_and_says_which(photographs, monkeypatch):
    def without_tensorflow_io(self):
        raise ModuleNotFoundError("No module named 'tensorflow_io'")

    monkeypatch.setattr(NeedsTensorFlow, "_generate_examples", without_tensorflow_io)
    assert "pip install tensorflow_io &&" in refusal(photographs(name="needs_tensorflow"))


def test_an_unknown_name_is_refused(make_config, tmp_path):
    assert "'imagenette_of_cats' is not known" in refusal(
        make_config(name="imagenette_of_cats", data_dir=str(tmp_path))
    )


def test_the_command_line_prints_the_error_only(tmp_path):
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "score_sde.data.prepare",
        "nothing_like_it",
        "--data_dir",
    ]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: data.name='nothing_like_it'")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["folder", "arrays", "huggingface", "mixture"])
def test_what_is_read_as_it_is_needs_no_preparing(name, capsys):
    assert prepare.main([name]) == 0
    assert capsys.readouterr().out == f"{name}: there is nothing to prepare\n"


def mixture_config(make_config, **fields):
    return make_config(name="mixture", image_size=16, num_channels=3, num_levels=0, **fields)


def test_the_mixture_has_the_stated_moments(make_config):
    loaded = data.load(mixture_config(make_config))
    assert (loaded.train.num_images, loaded.test.num_images, loaded.num_levels) == (2048, 256, None)
    assert loaded.train.shape == (16, 16, 3)
    x = loaded.train.images
    assert x.dtype == np.float32
    # Mean .3(-1) + .7(.6) = .12; E x^2 = .3(.04 + 1) + .7(.09 + .36) = .627. 1.6 million draws: errors
    # of 0.0006 (x) and 0.0004 (x^2); four of each.
    assert abs(x.mean() - 0.12) < 0.0025
    assert abs((x.astype(np.float64) ** 2).mean() - 0.627) < 0.002
    # P(x < -.4): .3 Phi(3) + .7 Phi(-10/3) = .29990.
    assert abs((x < -0.4).mean() - 0.29990) < 0.0015
    # Independent coordinates.
    flat = x.reshape(2048, -1)
    assert abs(np.corrcoef(flat[:, 0], flat[:, 1])[0, 1]) < 0.1
    np.testing.assert_array_equal(data.load(mixture_config(make_config)).train.images, x)


def test_the_mixture_takes_other_parameters(make_config):
    fields = {"mixture_weights": (1.0,), "mixture_means": (5.0,), "mixture_variances": (0.25,)}
    x = data.load(mixture_config(make_config, **fields)).train.images
    assert (x.mean(), x.std()) == pytest.approx((5.0, 0.5), abs=0.003)
    for wrong in (
        {"mixture_weights": (0.5, 0.4)},
        {"mixture_weights": (np.nan, 0.5)},
        {"mixture_means": (np.nan, 0.5)},
        {"mixture_variances": (np.inf, 0.5)},
    ):
        assert "weights that sum to 1" in refusal(mixture_config(make_config, **wrong))


def test_the_mixture_has_no_levels(make_config):
    config = mixture_config(make_config)
    config.data.num_levels = 256
    assert "real values (data.num_levels=None), but data.num_levels=256" in refusal(config)


def test_one_class_of_the_digits(make_config):
    """About a tenth of the images are of each class, in the order of the split."""
    whole = data.load(make_config(), ("label",))
    one = data.load(make_config(label=3), ("label",))
    for split, full in ((one.train, whole.train), (one.test, whole.test)):
        assert 0.08 < split.num_images / full.num_images < 0.12
        np.testing.assert_array_equal(split.condition["label"], 3)
        expected = full.images[full.condition["label"] == 3]
        np.testing.assert_array_equal(split.images, expected)
    with pytest.raises(UserError, match="no such training images, only of 0, 1, 2"):
        data.load(make_config(label=10))
    with pytest.raises(UserError, match=r"has no label; give .* or use none \(data.label=-1"):
        data.load(make_config(name="mixture", label=0, num_levels=0))


class Numbers(Photographs, skip_registration=True):
    """Nothing to look at."""

    def _info(self):
        features = tfds.features.FeaturesDict({"photo": tfds.features.Scalar(np.int64)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _generate_examples(self):
        yield 0, {"photo": 3}


class NoTrainSplit(Photographs, skip_registration=True):
    def _split_generators(self, dl_manager):
        return {"test": self._generate_examples()}


class Broken(Photographs, skip_registration=True):
    def __init__(self, **options):
        raise ValueError("no such version")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Numbers, "has no feature that is an 8-bit image"),
        (NoTrainSplit, "has no split 'train', only test"),
        (Broken, "TFDS cannot open 'other' in .*: no such version"),
    ],
)
def test_datasets_of_another_kind_are_refused(photographs, monkeypatch, kind, words):
    monkeypatch.setitem(builders.BUILDERS, "other", f"{__name__}:{kind.__name__}")
    assert re.search(words, refusal(photographs(name="other")))


@pytest.mark.parametrize(
    ("kind", "said"), [(WithNames, "b'George'"), (WithSeveral, r"\[.*1.*0.*\]")]
)
def test_labels_that_are_no_integers_are_refused_where_they_are_read(
    photographs, monkeypatch, kind, said
):
    monkeypatch.setitem(builders.BUILDERS, "other", f"{__name__}:{kind.__name__}")
    config = photographs(name="other")
    assert data.load(config, classes=("yak", "ant")).train.num_images == 38
    for conditions, label in ((("label",), -1), ((), 1)):
        config.data.label = label
        with pytest.raises(data.DatasetError, match=f"has the label {said}, but a class is an"):
            data.load(config, conditions)


def test_images_whose_labels_are_withheld_are_not_tested_on(photographs, monkeypatch, capsys):
    monkeypatch.setitem(builders.BUILDERS, "withheld", f"{__name__}:LabelsWithheld")
    loaded = data.load(photographs(name="withheld"), ("label",))
    for split, number, level in ((loaded.train, 8, 20), (loaded.test, 12, 30)):
        batch = split.take(range(split.num_images))
        assert len(batch.images) == number
        np.testing.assert_array_equal(batch.images, level)
        np.testing.assert_array_equal(batch.condition["label"], 1)
    assert loaded.contents().ignored == {"records of test": 4}
    line = "withheld: the images of test have no labels; validation is the test split"
    assert line in capsys.readouterr().err


def test_records_that_are_no_images_are_refused_in_words(photographs, monkeypatch):
    monkeypatch.setitem(builders.BUILDERS, "damaged", f"{__name__}:Damaged")
    message = refusal(photographs(name="damaged"))
    assert message.startswith("an image of 'damaged' cannot be used as an image: ")
    assert "\n" not in message


def test_a_dataset_whose_files_are_gone_is_refused(photographs, tmp_path):
    data.load(photographs())
    for path in tmp_path.rglob("*.array_record*"):
        path.unlink()
    assert "photographs" in refusal(photographs())


DRAWN = pytest.mark.parametrize(
    ("module", "fields"),
    [
        (mixture, {"num_levels": 0}),
        (shapes, {"num_levels": 2, "num_channels": 2}),
        (captions, {"num_levels": 2, "num_channels": 3, "image_size": 16}),
    ],
)


@DRAWN
def test_what_is_drawn_is_known_by_its_numbers(make_config, monkeypatch, module, fields):
    """Another version of NumPy may draw other numbers, as another seed does."""
    config = make_config(name=module.__name__.rpartition(".")[2], **fields)
    known = data.load(config).fingerprint
    assert data.load(config).fingerprint == known
    monkeypatch.setattr(module, "DATA_SEED", 1)
    assert data.load(config).fingerprint.hash != known.hash


@DRAWN
@pytest.mark.parametrize(
    ("field", "value"), [("resize", True), ("crop_size", 6), ("pad", 1), ("in_memory", "no")]
)
def test_options_of_stored_images_are_refused_for_drawn_ones(
    make_config, module, fields, field, value
):
    name = module.__name__.rpartition(".")[2]
    config = make_config(name=name, **fields)
    data.load(config)
    config.data[field] = value
    message = refusal(config)
    assert message.startswith(f"data.{field}={value} has no effect with data.name='{name}'")
    assert message.endswith(f"leave out data.{field}")
