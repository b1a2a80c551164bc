"""A folder of image files: PNG is lossless, so every pixel that comes out is known."""

import hashlib
import io
import json
import os
from types import SimpleNamespace

import flax.linen as nn
import numpy as np
import PIL.Image
import pytest

from score_sde import data
from score_sde.configs.default import get_config
from score_sde.data.folder import split_files
from score_sde.data.image_files import image_files
from score_sde.errors import UserError
from score_sde.models.networks import NETWORKS
from score_sde.training.score_task import train

COLOURS = 40


@pytest.fixture
def folder(tmp_path):
    """Forty files of 8x8 pixels over three depths and two suffixes, file i of colour (i, 2 i, 255 - i)."""
    for i in range(COLOURS):
        save(tmp_path / ["", "a", "b/c"][i % 3] / f"{i:02d}{['.png', '.PNG'][i % 2]}", i)
    return tmp_path


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


def save(path, i, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, colour(i)).save(path)


def colour(i):
    return (i, 2 * i, 255 - i)


@pytest.fixture
def folder_config(make_config):
    def make(folder, **fields):
        common = {"name": "folder", "folder": str(folder), "num_channels": 3, "num_levels": 256}
        return make_config(**{**common, **fields})

    return make


def refusal(config):
    with pytest.raises(UserError) as caught:
        data.load(config)
    return str(caught.value)


def numbers(split):
    """Which files a split holds, in its order, from their colours; every pixel is looked at."""
    images = split.take(range(split.num_images)).images
    assert images.shape == (split.num_images, 8, 8, 3)
    assert images.dtype == np.uint8
    found = images[:, 0, 0, 0].tolist()
    for image, i in zip(images, found, strict=True):
        assert (image == colour(i)).all()
    return found


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_every_image_is_in_one_split(folder, folder_config, in_memory):
    loaded = data.load(folder_config(folder, in_memory=in_memory))
    assert (loaded.train.images is None) == (in_memory == "no")
    train, test = numbers(loaded.train), numbers(loaded.test)
    assert sorted(train + test) == list(range(COLOURS))
    assert loaded.num_levels == 256


def least(names):
    """Those of the first 5 % of SHA-256's first 64 bits, and all in the order of these."""
    hashes = {name: hashlib.sha256(name.encode()).digest()[:8] for name in names}
    ordered = sorted(names, key=hashes.get)
    return [n for n in ordered if int.from_bytes(hashes[n], "big") < 0.05 * 2**64], ordered


def test_the_division_never_changes(folder, folder_config):
    """A run that goes on after an upgrade must not train on what it held out."""
    loaded = data.load(folder_config(folder))
    names = {path.relative_to(folder).as_posix(): path for path in image_files(folder)}
    held_out, ordered = least(names)
    assert held_out == GOLDEN_TEST
    numbered = [int(PIL.Image.open(names[name]).getpixel((0, 0))[0]) for name in ordered]
    assert numbers(loaded.test) + numbers(loaded.train) == numbered


GOLDEN_TEST = ["06.png"]


@pytest.mark.parametrize("change", ["deleted", "added"])
def test_no_file_changes_sides_when_others_come_or_go(tmp_path, change):
    for i in range(400):
        (tmp_path / f"{i:03d}.png").touch()
    train, test = split_files(tmp_path)
    assert 10 <= len(test) <= 30  # 20 expected, give or take 4.4
    for i in range(0, 400, 7):
        (tmp_path / f"{i:03d}.png").unlink()
        if change == "added":
            (tmp_path / f"{i:03d}b.png").touch()
    after = split_files(tmp_path)
    for now, before in zip(after, (train, test), strict=True):
        stayed = [path for path in now if path in before]
        assert stayed == [path for path in before if path.exists()]
        assert set(now) - set(before) == {path for path in now if "b" in path.name}


@pytest.mark.parametrize("n", range(2, 12))
def test_of_few_files_neither_split_is_empty(tmp_path, n):
    """Whatever their hashes: of many names, those whose hashes are all low, all high, or mixed."""
    names = sorted(
        (f"{i}.png" for i in range(1000)), key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    for chosen in (names[:n], names[-n:], [names[0], *names[-n + 1 :]]):
        folder = tmp_path / chosen[0] / chosen[-1]
        folder.mkdir(parents=True)
        for name in chosen:
            (folder / name).touch()
        train, test = ([path.name for path in part] for part in split_files(folder))
        assert test + train == chosen
        below = len(least(chosen)[0])
        assert len(test) == min(max(below, 1), n - 1)


def test_the_fingerprint_is_of_names_and_sizes(folder, folder_config):
    def fingerprint(**fields):
        return data.load(folder_config(folder, **fields)).fingerprint

    before = fingerprint()
    assert before == fingerprint(in_memory="no")
    assert before.num_images == COLOURS
    one = image_files(folder)[3]
    content = one.read_bytes()
    one.write_bytes(content + b"more")
    larger = fingerprint()
    one.rename(one.with_name("other.png"))
    renamed = fingerprint()
    one.with_name("other.png").unlink()
    gone = fingerprint()
    assert len({found.hash for found in (before, larger, renamed, gone)}) == 4
    assert gone.num_images == COLOURS - 1
    one.write_bytes(content)
    assert fingerprint() == before


def test_a_link_to_a_folder_above_or_in_a_circle_is_followed_once(folder, folder_config):
    plain = data.load(folder_config(folder))
    (folder / "a" / "again").symlink_to(folder)
    (folder / "a" / "x").symlink_to(folder / "b")
    (folder / "b" / "y").symlink_to(folder / "a")
    (folder / "0").symlink_to(folder / "b")  # sorted before what it leads to
    (folder / "second.png").symlink_to(folder / "00.png")
    linked = data.load(folder_config(folder))
    for split, before in ((linked.train, plain.train), (linked.test, plain.test)):
        assert numbers(split) == numbers(before)


def test_links_to_images_elsewhere_are_read(tmp_path, folder_config):
    for i in range(6):
        save(tmp_path / "elsewhere" / "class" / f"{i}.png", i)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "all").symlink_to(tmp_path / "elsewhere" / "class")
    (tmp_path / "links" / "one.png").symlink_to(tmp_path / "elsewhere" / "class" / "2.png")
    names = [str(path.relative_to(tmp_path / "links")) for path in image_files(tmp_path / "links")]
    assert names == [f"all/{i}.png" for i in range(6)]


def test_an_image_in_both_splits_is_refused(tmp_path, folder_config):
    for part, i in (("train", 0), ("train", 1), ("test", 2)):
        save(tmp_path / part / f"{i}.png", i)
    (tmp_path / "test" / "copy.png").symlink_to(tmp_path / "train" / "1.png")
    message = refusal(folder_config(tmp_path))
    assert "train/1.png and " in message
    assert "test/copy.png are one file" in message


@pytest.mark.parametrize("kind", ["pipe", "broken link", "circle"])
def test_what_is_named_as_an_image_but_is_no_file_is_refused(folder, folder_config, kind):
    path = folder / "a" / "strange.png"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "circle" else folder / "nothing.png")
    assert "strange.png is named as an image but is no file" in refusal(folder_config(folder))


def test_a_folder_that_cannot_be_listed_is_refused(folder, monkeypatch):
    """Not left out in silence, as os.walk does."""
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(data.DatasetError, match="/b cannot be listed: PermissionError"):
        image_files(folder)


def test_files_that_are_not_read_are_counted(folder, caplog):
    image_files(folder)
    assert not caplog.messages
    for name in ("a.tif", "b/b.TIF", "c.gif", "README", ".hidden"):
        (folder / name).touch()
    image_files(folder)
    (message,) = caplog.messages
    assert message.endswith("; 4 other files are not read: 2 of .tif, 1 of no suffix, 1 of .gif")


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


def test_files_are_sorted_by_name_and_other_files_are_not_seen(tmp_path):
    for name in ("b.png", "a/z.JPG", "a.jpeg", "B.webp", ".hidden.png", "._a.jpeg", ".cache/c.png"):
        save(tmp_path / name, 0)
    (tmp_path / "notes.txt").write_text("not an image")
    found = [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)]
    assert found == ["B.webp", "a.jpeg", "a/z.JPG", "b.png"]


def test_images_of_any_size_are_cropped_and_resized(tmp_path, folder_config):
    for i in range(10):
        save(tmp_path / f"{i}.png", i, size=(9 + i, 30 - i))
    loaded = data.load(folder_config(tmp_path, resize=True))
    assert sorted(numbers(loaded.train) + numbers(loaded.test)) == list(range(10))


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
    assert "read with data.name='folder' only, but data.name='digits'" in refusal(other)
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
    assert "a/wide.png has 8x9 pixels, but data.image_size=8" in message
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
    """One white image, the 21st to be read of 40: from memory it is found, on disk the first stand for all."""
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
