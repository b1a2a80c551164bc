"""A folder of image files: PNG is lossless, so every pixel that is read is known."""

import io
import json
from types import SimpleNamespace

import flax.linen as nn
import numpy as np
import PIL.Image
import pytest

from score_sde import data
from score_sde.configs.default import get_config
from score_sde.data.folder import split_files
from score_sde.models.networks import NETWORKS
from score_sde.training.score_task import train
from tests.data.picture_folder import COLOURS, numbers, refusal, save

CLASSES = {"walrus": (0, 1, 5), "ant": (2, 3), "yak": (4, 6, 7, 8, 9)}


@pytest.fixture(params=["together", "divided"])
def classes(tmp_path, request):
    """A folder for each class, in or out of train/ and test/, with files at two depths."""
    for name, images in CLASSES.items():
        for i in images:
            # Of class yak, no image is in train/.
            part = "test" if name == "yak" or i % 3 == 2 else "train"
            parent = tmp_path / part if request.param == "divided" else tmp_path
            save(parent / name / ["train", "young"][i % 2] / f"{i}.png", i)
    return tmp_path


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_an_images_class_is_the_first_folder_below_the_root(classes, folder_config, in_memory):
    loaded = data.load(folder_config(classes, in_memory=in_memory), ("label",))
    assert loaded.class_names == ("ant", "walrus", "yak")
    for split in (loaded.train, loaded.test):
        batch = split.take(range(split.num_images))
        for image, label in zip(batch.images, batch.condition["label"], strict=True):
            assert image[0, 0, 0] in CLASSES[loaded.class_names[label]]
        np.testing.assert_array_equal(batch.condition["label"], split.condition["label"])


@pytest.mark.parametrize("classes", ["divided"], indirect=True)
def test_one_class_of_a_folder(classes, folder_config):
    walrus = data.load(folder_config(classes, label=1))
    for split in (walrus.train, walrus.test):
        assert set(numbers(split)) < set(CLASSES["walrus"])
        assert split.condition == ()


def test_a_model_of_fewer_classes_is_refused(classes, folder_config):
    config = folder_config(classes)
    for num_classes in (0, 3, 4):
        config.model = SimpleNamespace(num_classes=num_classes)
        data.load(config, ("label",))
    config.model.num_classes = 2
    data.load(config)
    with pytest.raises(data.DatasetError, match="has labels 0 to 2, but model.num_classes=2"):
        data.load(config, ("label",))


def test_an_image_of_no_class_is_named(folder, folder_config):
    assert data.load(folder_config(folder)).class_names is None
    with pytest.raises(data.DatasetError, match=r"/\d\d\.(png|PNG) has no label; give"):
        data.load(folder_config(folder), ("label",))


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_every_image_is_in_one_split(folder, folder_config, in_memory):
    loaded = data.load(folder_config(folder, in_memory=in_memory))
    assert (loaded.train.images is None) == (in_memory == "no")
    train, test = numbers(loaded.train), numbers(loaded.test)
    assert sorted(train + test) == list(range(COLOURS))
    assert loaded.num_levels == 256


@pytest.mark.parametrize("num_channels", [2, 4])
def test_files_have_one_channel_or_three(folder, folder_config, num_channels):
    assert "have 1, grey, or 3, RGB" in refusal(folder_config(folder, num_channels=num_channels))


@pytest.mark.parametrize(
    ("field", "value"), [("crop_size", -1), ("stored_levels", 512), ("num_channels", 0)]
)
def test_values_out_of_range_are_refused_in_a_script_too(folder, folder_config, field, value):
    message = refusal(folder_config(folder, resize=True, **{field: value}))
    assert message.startswith(f"data.{field}={value}: expected ")


def test_disk_and_memory_give_the_same_batches(folder, folder_config):
    memory, disk = (
        data.load(folder_config(folder, in_memory=where)).train for where in ("yes", "no")
    )
    streams = [split.batches(seed=5, batch_size=16, start_step=1) for split in (memory, disk)]
    for step in range(1, 5):
        first, second = (next(stream) for stream in streams)
        np.testing.assert_array_equal(first.images, second.images)
        expected = memory.images[data.batch_indices(5, step, 16, memory.num_images)]
        np.testing.assert_array_equal(first.images, expected)


def test_subfolders_train_and_test_are_the_splits(tmp_path, folder_config):
    for i in range(6):
        save(tmp_path / ("test" if i in (2, 5) else "train") / "class" / f"{i}.webp.png", i)
    save(tmp_path / "elsewhere.png", 9)
    loaded = data.load(folder_config(tmp_path))
    assert sorted(numbers(loaded.train)) == [0, 1, 3, 4]
    assert sorted(numbers(loaded.test)) == [2, 5]


def test_half_a_division_is_refused(tmp_path, folder_config):
    save(tmp_path / "train" / "0.png", 0)
    assert "has train/ but no test/; add it, or name" in refusal(folder_config(tmp_path))


def test_images_of_any_size_are_cropped_and_resized(tmp_path, folder_config):
    for i in range(10):
        save(tmp_path / f"{i}.png", i, size=(9 + i, 30 - i))
    loaded = data.load(folder_config(tmp_path, resize=True))
    assert sorted(numbers(loaded.train) + numbers(loaded.test)) == list(range(10))


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_early_check_of_sizes_is_of_pictures_as_they_are_decoded(
    tmp_path, folder_config, orientation
):
    """Images stored as 6x9, which orientation 6 turns into 9x6 and orientation 3 does not."""
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    for i in range(2):
        PIL.Image.new("RGB", (9, 6)).save(tmp_path / f"{i}.jpg", exif=tags)
    height, width = (9, 6) if orientation == 6 else (6, 9)
    loaded = data.load(folder_config(tmp_path, image_size=height, image_width=width))
    assert loaded.train.take([0]).images.shape == (1, height, width, 3)
    message = refusal(folder_config(tmp_path, image_size=width, image_width=height))
    assert f".jpg has {height}x{width} pixels" in message
    assert "cannot be used" not in message


def test_a_part_to_crop_is_refused_of_images_that_are_not_resized(folder, folder_config):
    assert "data.crop_size=6 is of images that are cropped and resized, and data.resize=False" in (
        refusal(folder_config(folder, crop_size=6))
    )


def test_jpeg_and_webp_are_read(tmp_path, folder_config):
    levels = np.linspace(40, 200, 64).astype(np.uint8).reshape(8, 8)
    for suffix in ("jpg", "webp"):
        PIL.Image.fromarray(levels).save(tmp_path / f"grey.{suffix}", quality=100)
    loaded = data.load(folder_config(tmp_path, num_channels=1))
    for split in (loaded.train, loaded.test):
        assert abs(split.take([0]).images[0, :, :, 0].astype(int) - levels).max() <= 4


def test_a_folder_that_is_not_there_is_refused(tmp_path, folder_config):
    assert "needs data.folder" in refusal(folder_config(""))
    other = folder_config(tmp_path, name="digits")
    assert (
        "read with data.name='folder' or 'huggingface' or 'idx' only, but data.name='digits'"
        in refusal(other)
    )
    assert "missing is not a folder" in refusal(folder_config(tmp_path / "missing"))
    assert "has no image files: none there or deeper ends in .png" in refusal(
        folder_config(tmp_path)
    )


def test_one_image_cannot_be_divided(tmp_path, folder_config):
    save(tmp_path / "0.png", 0)
    assert "has one image" in refusal(folder_config(tmp_path))


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_an_image_of_another_size_is_named(folder, folder_config, in_memory):
    save(folder / "a" / "wide.png", 1, size=(9, 8))
    message = refusal(folder_config(folder, in_memory=in_memory))
    assert "a/wide.png has 8x9 pixels, but data.image_size and data.image_width say 8x8" in message
    assert "data.resize=True" in message


@pytest.mark.parametrize("content", [b"", b"GIF89a, perhaps", "half"])
def test_an_unreadable_image_is_named(folder, folder_config, content):
    broken = folder / "b" / "broken.png"
    if content == "half":
        whole = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        PIL.Image.fromarray(noise).save(whole, "PNG")
        content = whole.getvalue()[:150]
    broken.write_bytes(content)
    with pytest.raises(data.DatasetError) as caught:
        data.load(folder_config(folder, in_memory="yes"), whole=True)
    message = str(caught.value)
    assert "b/broken.png cannot be used as an image" in message
    assert "\n" not in message
    assert "object at 0x" not in message


def test_an_image_lost_during_training_is_named(folder, folder_config):
    # Read ahead in other threads, whose errors must come out where the batch is asked for.
    train = data.load(folder_config(folder, in_memory="no")).train
    for record in train.records(range(train.num_images)):
        record["path"].unlink()
    with pytest.raises(data.DatasetError, match=r"\.(png|PNG) cannot be used as an image"):
        next(train.batches(0, 8))


class OneLayer(nn.Module):
    """The smallest thing that trains."""

    @classmethod
    def from_config(cls, config):
        return cls()

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        return nn.Dense(3)(x)


def test_a_dataset_is_not_black_because_its_first_images_are(tmp_path, folder_config):
    """One white image, read 21st of 40: found among images in memory; on disk only the first images are checked."""
    for i in range(80):
        save(tmp_path / ["train", "test"][i % 2] / f"{i}.png", i)
    for files in split_files(tmp_path):
        for i, path in enumerate(files):
            PIL.Image.new("RGB", (8, 8), "white" if i == 20 else "black").save(path)
    memory, disk = (folder_config(tmp_path, num_levels=2, in_memory=w) for w in ("yes", "no"))
    assert data.load(memory).train.images.sum() == 8 * 8 * 3
    assert "all of it would be black" in refusal(disk)


def test_training_from_disk_is_training_from_memory(folder, tmp_path_factory, monkeypatch):
    monkeypatch.setitem(NETWORKS, "one_layer", OneLayer)

    def losses(in_memory):
        config = get_config()
        config.data.update(
            name="folder", folder=str(folder), num_channels=3, random_flip=True, in_memory=in_memory
        )
        config.model.name = "one_layer"
        config.training.update(batch_size=8, n_iters=6, log_freq=1, eval_freq=3, snapshot_freq=0)
        workdir = tmp_path_factory.mktemp(in_memory)
        train(config, workdir)
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        return [line.get("loss", line.get("eval_loss")) for line in lines]

    from_disk = losses("no")
    assert len(from_disk) == 8
    assert from_disk == losses("yes")


def test_an_unknown_filter_is_refused(folder, folder_config):
    message = refusal(folder_config(folder, resample="lanczos"))
    assert "data.resample='lanczos' is unknown; choose one of bicubic, bilinear, box" in message
