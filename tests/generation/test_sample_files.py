"""Files of samples: equal after an interruption, in either format, with a condition for each image."""

import dataclasses

import flax.struct
import numpy as np
import pytest
from PIL import Image

from score_sde.configs.digits import digits_config
from score_sde.configs.toy_mixture import get_config
from score_sde.errors import UserError
from score_sde.generation.conditions import build_conditions
from score_sde.generation.sample_files import ArrayFile, PictureFolder
from score_sde.models.score import WithoutCondition
from score_sde.modes import sample
from score_sde.sde_lib import build_sde
from score_sde.training.trained_score import LoadedScore
from tests.earlier_commands import as_of_version_0_9, check_of_both
from tests.limited import room_for


def batches(dtype, sizes=(4, 4, 3)):
    rng = np.random.default_rng(0)
    return [
        {"images": rng.integers(0, 17, (size, 2, 3, 1)).astype(dtype), "nfe": np.arange(size)}
        for size in sizes
    ]


def joined(parts, name):
    return np.concatenate([part[name] for part in parts])


def test_an_array_file_is_what_numpy_would_have_written(tmp_path):
    parts = batches(np.uint8)
    files = ArrayFile(tmp_path, {})
    for number, part in enumerate(parts):
        files.save(number, part)
    path = files.finish(tmp_path, "samples", len(parts))
    with np.load(path) as file:
        assert sorted(file) == ["images", "nfe"]
        for name in file:
            np.testing.assert_array_equal(file[name], joined(parts, name))
            assert file[name].dtype == parts[0][name].dtype
    assert [entry.name for entry in tmp_path.iterdir()] == ["samples.npz"]
    files.save(0, parts[0])
    assert files.finish(tmp_path, "samples", 1).name == "samples-2.npz"  # nothing is written over
    pictures = PictureFolder(tmp_path, {}, num_levels=17)
    pictures.save(0, parts[0])
    assert pictures.finish(tmp_path, "samples", 1).name == "samples-3"
    with np.load(path) as file:
        assert sorted(file) == ["images", "nfe"]


def test_pictures_are_named_by_index_and_hold_the_levels(tmp_path):
    parts = batches(np.uint8)
    files = PictureFolder(tmp_path, {}, num_levels=17)
    files.save(0, parts[0])
    again = PictureFolder(tmp_path, {}, num_levels=17)  # after an interruption
    np.testing.assert_array_equal(again.load(0)["images"], parts[0]["images"])
    assert again.load(1) is None
    for number in (1, 2):
        again.save(number, parts[number])
    folder = again.finish(tmp_path, "samples", 3, labels=np.arange(11) % 2)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{i:06d}.png" for i in range(11)]
    for i, image in enumerate(joined(parts, "images")):
        pixels = np.asarray(Image.open(folder / f"{i:06d}.png"))
        np.testing.assert_array_equal(pixels, np.round(image[..., 0].astype(float) * 255 / 16))
    with np.load(tmp_path / "samples.npz") as file:
        np.testing.assert_array_equal(file["nfe"], joined(parts, "nfe"))
        np.testing.assert_array_equal(file["labels"], np.arange(11) % 2)


@pytest.mark.parametrize("contents", [None, b"", b"\x89PNG half"])
def test_a_damaged_picture_is_named(tmp_path, contents):
    files = PictureFolder(tmp_path, {}, num_levels=17)
    files.save(0, batches(np.uint8)[0])
    files.path(2).unlink()
    if contents is not None:
        files.path(2).write_bytes(contents)
    with pytest.raises(UserError, match=r"000002.png, .*is damaged .*; remove the folder"):
        PictureFolder(tmp_path, {}, num_levels=17).load(0)


def test_pictures_and_arrays_without_room_are_not_there(tmp_path):
    for files in (PictureFolder(tmp_path, {}, num_levels=17), ArrayFile(tmp_path, {"of": 1})):
        with room_for(50), pytest.raises(UserError, match="cannot write"):
            files.save(0, batches(np.uint8)[0])
        assert not [path for path in files.folder.rglob("*") if path.is_file()]
    files.save(0, batches(np.uint8)[0])
    with room_for(50), pytest.raises(UserError, match="samples.npz"):
        files.finish(tmp_path, "samples", 1)
    assert [path.name for path in tmp_path.glob("samples*")] == []
    assert files.finish(tmp_path, "samples", 1).name == "samples.npz"


@flax.struct.dataclass
class Shifting(WithoutCondition):
    """Scores of N(m, 1) data with m of the image's own, told by its label, or 0: any sampler shows what it was told."""

    condition: dict = flax.struct.field(default_factory=lambda: ())

    def given(self, condition):
        return Shifting(condition)

    def __call__(self, x, t):
        m = self.condition["label"][:, None, None, None] if self.condition else 0.0
        return m - x


def interrupted(monkeypatch, after):
    """The driver fails in its batch of this number; the calls of it are listed."""
    original, calls = sample.build_generator, []

    def build(*arguments):
        generator = original(*arguments)

        def run(*batch):
            calls.append(1)
            if len(calls) > after:
                raise KeyboardInterrupt
            return generator.run(*batch)

        return dataclasses.replace(generator, run=run)

    monkeypatch.setattr(sample, "build_generator", build)
    return calls


@pytest.mark.parametrize("save", ["npz", pytest.param("png", marks=pytest.mark.slow)])
def test_an_interrupted_command_goes_on_with_the_same_images(save, tmp_path, monkeypatch):
    config = digits_config("vp")
    config.sampling.update(sampler="ddim", num_images=10, batch_size=4, save=save)
    config.sampling.exponential.num_steps = 3
    monkeypatch.setattr(sample, "load_score_model", lambda *_: LoadedScore(Shifting(), 7))
    sde = build_sde(config)

    def images(folder):
        figures = sample.run(config, sde, folder)
        if save == "npz":
            return np.load(figures["arrays"])["images"], figures
        paths = sorted((folder / "samples" / figures["folder"].split("/")[-1]).iterdir())
        return np.stack([np.asarray(Image.open(path)) for path in paths]), figures

    whole, one = images(tmp_path / "whole")
    with monkeypatch.context() as patch:
        calls = interrupted(patch, after=2)
        with pytest.raises(KeyboardInterrupt):
            sample.run(config, sde, tmp_path / "cut")
    as_of_version_0_9(tmp_path / "cut")
    with monkeypatch.context() as patch:
        calls = interrupted(patch, after=99)
        resumed, other = images(tmp_path / "cut")
    assert len(calls) == 1  # of three batches two were there
    np.testing.assert_array_equal(resumed, whole)
    assert len(np.unique(whole.reshape(10, -1), axis=0)) == 10
    assert one["nfe"] == other["nfe"] == 4
    check_of_both(other)
    left = [path.name for path in (tmp_path / "cut" / "samples").iterdir()]
    assert not any("unfinished" in name for name in left)


def test_paths_that_cannot_be_made_lose_no_samples(tmp_path, monkeypatch):
    """Repeating the command draws nothing again."""
    config = get_config()
    config.sampling.update(sampler="ddim", num_images=8, batch_size=4, path_images=2)
    config.sampling.exponential.num_steps = 3
    sde = build_sde(config)
    with monkeypatch.context() as patch:
        patch.setattr(sample, "trajectory", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            sample.run(config, sde, tmp_path)
    assert [path.name for path in (tmp_path / "samples").glob("*.npz")] == []
    calls = interrupted(monkeypatch, after=0)
    figures = sample.run(config, sde, tmp_path)
    assert calls == []
    with np.load(figures["arrays"]) as drawn, np.load(figures["path"]) as paths:
        assert len(drawn["images"]) == 8
        assert paths["states"].shape[1] == 2


def test_another_seed_does_not_go_on_with_them(tmp_path, monkeypatch):
    config = get_config()
    config.sampling.update(sampler="ddim", num_images=8, batch_size=4)
    config.sampling.exponential.num_steps = 3
    sde = build_sde(config)
    with monkeypatch.context() as patch:
        interrupted(patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            sample.run(config, sde, tmp_path)
    config.seed = 1
    with monkeypatch.context() as patch:
        calls = interrupted(patch, after=99)
        sample.run(config, sde, tmp_path)
    assert len(calls) == 2


def conditional(labels=()):
    config = digits_config("vp")
    config.model.num_classes = 3
    config.sampling.update(sampler="ode", num_images=8, batch_size=4, labels=labels)
    config.sampling.ode.update(steps="grid", num_steps=4)
    return config


IN_TURN = [((), [0, 1, 2, 0, 1, 2, 0, 1]), ((2,), [2] * 8), ((2, 0), [2, 0] * 4)]


@pytest.mark.parametrize(("labels", "told"), IN_TURN)
def test_labels_in_turn(labels, told):
    """All classes, one, or a list."""
    found = build_conditions(conditional(labels))(np.arange(8))["label"]
    np.testing.assert_array_equal(found, told)


def test_labels_are_told_in_turn():
    """All classes over four devices; the noise of the start is removed by a second run."""
    told = IN_TURN[0][1]
    config = conditional()
    sde = build_sde(config)
    generator = sample.build_generator(config, sde, (8, 8, 1))
    x = generator(Shifting(), 8, seed=0, show=False).x
    config.model.num_classes = 0
    config.sampling.labels = ()
    plain = sample.build_generator(config, sde, (8, 8, 1))(Shifting(), 8, seed=0, show=False).x
    shift = (x - plain).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(shift / shift[np.argmax(told)] * max(told), told, atol=1e-4)


def test_files_say_of_which_class_each_image_is(tmp_path, monkeypatch):
    """The images confirm it: those of class 1 are brighter than all of class 0."""
    config = conditional((1, 0))
    config.sampling.update(num_images=9)
    monkeypatch.setattr(sample, "load_score_model", lambda *_: LoadedScore(Shifting(), 7))
    with np.load(sample.run(config, build_sde(config), tmp_path)["arrays"]) as file:
        np.testing.assert_array_equal(file["labels"], [1, 0] * 4 + [1])
        brightness = file["images"].mean(axis=(1, 2, 3))
        assert brightness[file["labels"] == 0].max() < brightness[file["labels"] == 1].min()


def test_an_array_file_has_what_makes_its_levels_the_shades_of_pictures(tmp_path, monkeypatch):
    """As other programs would make them, from the file alone."""
    config = conditional()
    monkeypatch.setattr(sample, "load_score_model", lambda *_: LoadedScore(Shifting(), 7))
    sde, images = build_sde(config), []
    for config.sampling.save in ("npz", "png"):
        images.append(sample.run(config, sde, tmp_path / config.sampling.save))
    with np.load(images[0]["arrays"]) as file:
        shades = np.round(file["images"] * (255 / (file["num_levels"] - 1)))
    pictures = sorted((tmp_path / "png" / "samples").glob("*/*.png"))
    read = [np.asarray(Image.open(path))[..., None] for path in pictures]
    np.testing.assert_array_equal(read, shades)
    assert shades.max() == 255


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": (3,)}, r"sampling.labels=\(3,\): expected classes from 0 to 2"),
        ({"save": "tiff"}, "sampling.save='tiff' is unknown; choose one of npz, png"),
        ({"labels": (0,), "num_classes": 0}, "with a model that is not conditioned on classes"),
        ({"save": "png", "num_levels": 1024}, "such files hold 2 to 256 levels"),
        ({"save": "png", "num_channels": 2}, "num_channels=2: such files hold one"),
        ({"save": "png", "num_channels": 5}, "num_channels=5: such files hold one"),
    ],
)
def test_what_cannot_work_is_refused(changes, words):
    config = conditional()
    config.model.num_classes = changes.pop("num_classes", 3)
    config.data.num_levels = changes.pop("num_levels", 17)
    config.data.num_channels = changes.pop("num_channels", 1)
    config.sampling.update(changes)
    with pytest.raises(UserError, match=words):
        sample.check(config, build_sde(config))
