"""The image files under a folder: each once despite links, and none left out silently."""

import os

import pytest

from score_sde import data
from score_sde.data.image_files import image_files
from tests.data.picture_folder import numbers, refusal, save


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
    assert "test/copy.png are the same file" in message


@pytest.mark.parametrize("kind", ["pipe", "broken link", "circle"])
def test_what_is_named_as_an_image_but_is_no_file_is_refused(folder, folder_config, kind):
    path = folder / "a" / "strange.png"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "circle" else folder / "nothing.png")
    assert "strange.png has the name of an image but is not a file" in refusal(
        folder_config(folder)
    )


def test_a_folder_that_cannot_be_listed_is_refused(folder, monkeypatch):
    """It is not skipped silently, as by os.walk."""
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(data.DatasetError, match="/b cannot be listed: PermissionError"):
        image_files(folder)


def test_files_that_are_not_read_are_counted(folder, capsys, caplog):
    image_files(folder)
    assert not capsys.readouterr().err
    (folder / "a.bmp").touch()
    image_files(folder)
    assert capsys.readouterr().err == f"{folder}: 1 file is not read: 1 of .bmp\n"
    (folder / "a.bmp").unlink()
    for name in ("a.tif", "b/b.TIF", "c.gif", "README", ".hidden"):
        (folder / name).touch()
    image_files(folder)
    said = capsys.readouterr().err
    assert said == f"{folder}: 4 files are not read: 2 of .tif, 1 of no suffix, 1 of .gif\n"
    assert not caplog.messages


def test_what_lies_beside_train_and_test_is_counted(tmp_path, folder_config, capsys):
    """Images too; names with a leading dot are skipped as everywhere."""
    for name in ("train/0", "test/1", "2", "3", ".4", "val/5", "more/ant/6", "more/yak/7"):
        save(tmp_path / f"{name}.png", int(name[-1]))
    (tmp_path / "README.md").touch()
    (tmp_path / "train" / "labels.txt").touch()
    loaded = data.load(folder_config(tmp_path))
    assert numbers(loaded.train) + numbers(loaded.test) == [0, 1]
    there = "beside train/ and test/"
    others = {f".png {there}": 2, f".md {there}": 1, f"folders {there} (more/, val/)": 2}
    assert loaded.contents() == ({".png": 2}, {".txt": 1, **others})
    said = capsys.readouterr().err
    assert f"{tmp_path}: not read: " in said
    assert all(f"{n} {kind}" in said for kind, n in others.items())


def test_files_are_sorted_by_name_and_other_files_are_not_seen(tmp_path):
    for name in ("b.png", "a/z.JPG", "a.jpeg", "B.webp", ".hidden.png", "._a.jpeg", ".cache/c.png"):
        save(tmp_path / name, 0)
    (tmp_path / "notes.txt").write_text("not an image")
    found = [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)]
    assert found == ["B.webp", "a.jpeg", "a/z.JPG", "b.png"]
