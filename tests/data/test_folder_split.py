"""The split of a folder without train/ and test/, a function of each file's name; and how the folder is recognized again."""

import hashlib

import PIL.Image
import pytest

from score_sde import data
from score_sde.data.folder import split_files
from score_sde.data.image_files import image_files
from tests.data.picture_folder import COLOURS, numbers


def least(names):
    """Those of the first 5 % of SHA-256's first 64 bits, and all in the order of these."""
    hashes = {name: hashlib.sha256(name.encode()).digest()[:8] for name in names}
    ordered = sorted(names, key=hashes.get)
    return [n for n in ordered if int.from_bytes(hashes[n], "big") < 0.05 * 2**64], ordered


def test_the_division_never_changes(folder, folder_config):
    """A run resumed after an upgrade must not train on images it held out before."""
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
    """For any hashes of their names: all low, all high, or mixed."""
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
