"""Images from folders of pictures and from files of any program: their levels and classes, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from score_sde import data
from score_sde.configs.subvp_digits import get_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.data.array_files import PART, check_real, read_images
from score_sde.data.splits import ImagesOnDisk
from score_sde.errors import UserError
from score_sde.evaluation.pictures import levels_of, shades
from score_sde.generation.sample_files import PictureFolder
from score_sde.quality.image_sets import image_set, known_by, of_split

IMAGES = np.random.default_rng(0).integers(0, 17, (30, 8, 8, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def splits():
    return data.load(get_config())


def of(given, splits, **of_data):
    config = get_config()
    config.evaluation.images = str(given)
    config.data.update(of_data)
    return image_set(config, splits, "images")


@pytest.mark.parametrize("num_levels", [2, 3, 17, 32, 100, 128, 255, 256])
def test_levels_come_back_from_shades(num_levels):
    levels = np.arange(num_levels).astype(np.uint8)
    np.testing.assert_array_equal(levels_of(shades(levels, num_levels), num_levels), levels)


def test_levels_that_divide_256_are_those_of_a_reduced_dataset():
    """The highest bits count: 7 of 256 levels is 0 of 32, though nearer to 1."""
    np.testing.assert_array_equal(levels_of(np.array([0, 7, 8, 255], np.uint8), 32), [0, 0, 1, 31])


def test_a_folder_of_our_samples(tmp_path, splits):
    files = PictureFolder(tmp_path, {}, 17)
    files.save(0, {"images": IMAGES, "nfe": np.zeros(30)})
    found = of(files.finish(tmp_path, "samples", 1), splits)
    assert found.num_images == 30
    np.testing.assert_array_equal(found.take([29, 3]), IMAGES[[29, 3]])
    assert found.first(7).num_images == 7
    assert found.first(0) is found
    assert found.first(31) is found
    with pytest.raises(UserError, match="has no label"):
        found.labels()


def test_classes_of_a_folder_of_our_samples_stand_beside_it(tmp_path, splits, monkeypatch):
    """Matched by the numbers in file names, since 10 sorts before 9 if their lengths differ."""
    labels = np.random.default_rng(1).integers(0, 10, 30)
    files = PictureFolder(tmp_path, {}, 17)
    files.save(0, {"images": IMAGES, "nfe": np.zeros(30)})
    folder = files.finish(tmp_path, "samples", 1, labels=labels)
    np.testing.assert_array_equal(of(folder, splits).labels(), labels)
    monkeypatch.chdir(folder)
    np.testing.assert_array_equal(of(".", splits).labels(), labels)
    for path in folder.iterdir():
        path.rename(folder / f"{int(path.stem)}.png")
    found, images = (
        of(folder, splits),
        {image.tobytes(): k for image, k in zip(IMAGES, labels, strict=True)},
    )
    assert [images[image.tobytes()] for image in found.take(range(30))] == found.labels().tolist()
    (folder / "29.png").rename(folder / "31.png")
    with pytest.raises(UserError, match=r"labels of the pictures 000000.png to 000029.png"):
        of(folder, splits).labels()


class Counted:
    """Records of images with labels, as of a dataset whose labels are stored with them."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 90

    def __getitems__(self, rows):
        self.read += rows
        return [{"image": IMAGES[row % 30], "label": row % 5} for row in rows]


def test_labels_are_read_once_and_of_no_other_images():
    source = Counted()
    split = ImagesOnDisk(source, lambda record: record["image"], (8, 8, 1), "here")
    some = of_split(split, 40)
    np.testing.assert_array_equal(some.labels(), np.arange(40) % 5)
    assert some.strata is some.strata is not None
    np.testing.assert_array_equal(some.labels(), np.arange(40) % 5)
    assert sorted(source.read) == list(range(40))
    assert of_split(split).num_images == of_split(split, 100).num_images == 90
    np.testing.assert_array_equal(of_split(split).labels(), np.arange(90) % 5)


def picture(path, levels):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(shades(levels, 17)[..., 0]).save(path)


def test_classes_of_a_folder_are_the_datas_by_name(tmp_path, splits):
    """Some classes are missing; JPEG is read as well as PNG."""
    picture(tmp_path / "3" / "a.png", IMAGES[0])
    picture(tmp_path / "7" / "b.png", IMAGES[1])
    picture(tmp_path / "7" / "c.jpg", IMAGES[2])
    found = of(tmp_path, splits)
    np.testing.assert_array_equal(found.labels(), [3, 7, 7])
    np.testing.assert_array_equal(found.take([0, 1]), IMAGES[:2])
    picture(tmp_path / "cats" / "d.png", IMAGES[3])
    with pytest.raises(
        UserError, match="its folder 'cats' is no class of the data, which has 0, 1"
    ):
        of(tmp_path, splits).labels()


@pytest.mark.parametrize("crop_size", [0, 6, 12])
def test_of_pictures_that_have_the_size_nothing_is_cropped(tmp_path, splits, crop_size):
    """Our own samples of a cropped dataset, for example; other images are cropped, here to a center of one level."""
    picture(tmp_path / "a.png", IMAGES[0])
    framed = np.full((16, 16, 1), 3, np.uint8)
    middle = (16 - crop_size) // 2 if crop_size else 0
    framed[middle : 16 - middle, middle : 16 - middle] = 11
    picture(tmp_path / "b.png", framed)
    for stored_levels in (17, 256):  # of the data; pictures have 256 shades
        fields = {"resize": True, "crop_size": crop_size, "stored_levels": stored_levels}
        found = of(tmp_path, splits, **fields).take([0, 1])
        np.testing.assert_array_equal(found[0], IMAGES[0])
        assert (found[1] == 11).all()


def test_levels_in_place_of_shades_are_refused(tmp_path, splits):
    """But pictures with dark shades are accepted if any pixel is bright."""
    for i in range(20):
        Image.fromarray(IMAGES[i, ..., 0]).save(tmp_path / f"{i:02d}.png")
    with pytest.raises(UserError, match=r"no pixel of its pictures is 17 or more.*255 \* v / 16\)"):
        of(tmp_path, splits, stored_levels=17)
    picture(tmp_path / "99.png", IMAGES[20])
    found = of(tmp_path, splits, stored_levels=17)
    np.testing.assert_array_equal(found.take([20]), IMAGES[[20]])


def test_a_split_is_known_by_its_images(tmp_path, monkeypatch):
    """A folder of the same name in the current directory does not take its place."""
    monkeypatch.chdir(tmp_path)
    config = toy_config()
    before = known_by(config, "test")
    (tmp_path / "test").mkdir()
    assert known_by(config, "test") == before
    config.data.mixture_means = tuple(mean + 1 for mean in config.data.mixture_means)
    assert known_by(config, "test") != before


def test_a_split_is_known_by_what_comes_with_its_images_too(tmp_path):
    """Changed pairs or labels are detected if they are used, even if the files are known."""
    config, path = get_config(), tmp_path / "a.npz"
    config.data.update(name="arrays", file=str(path), num_levels=256)
    config.model.update(num_classes=2, condition_channels=1)

    def known(conditions, paired=0, label=0):
        pairs, labels = np.full((30, 8, 8, 1), paired, np.uint8), np.full(30, label)
        np.savez(path, images=IMAGES, paired=pairs, labels=labels)
        _, some = known_by(config, "test", conditions)
        return some

    both = ("label", "paired")
    assert known(both, paired=1) != known(both) != known(both, label=1)
    assert known((), paired=1, label=1) == known(()) != known(both) == known(both)


def test_a_file_of_another_program(tmp_path, splits):
    """np.savez names an unnamed array arr_0."""
    np.savez(tmp_path / "x.npz", IMAGES, labels=np.arange(30) % 10)
    found = of(tmp_path / "x.npz", splits)
    np.testing.assert_array_equal(found.take(range(4, 6)), IMAGES[4:6])
    np.testing.assert_array_equal(found.first(12).labels(), np.arange(12) % 10)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, "has no `labels`"),
        ({"labels": np.zeros(3, int)}, "3 labels for 30 images"),
        (
            {"labels": np.arange(30) % 11},
            "labels from 0 to 10: expected classes 0 to 9 of the data",
        ),
        ({"labels": np.arange(30) % 10 - 1}, "labels from -1 to 8: expected classes 0 to 9"),
    ],
)
def test_labels_that_are_not_there(tmp_path, splits, labels, words):
    np.savez(tmp_path / "x.npz", images=IMAGES, **labels)
    with pytest.raises(UserError, match=words):
        of(tmp_path / "x.npz", splits).labels()


def test_labels_of_named_classes_are_the_datas_by_name(tmp_path, splits):
    """As --mode sample writes those of a network or classifier of other numbers; unused names may be any."""
    names = np.asarray(["ox", "7", "3"])
    np.savez(tmp_path / "x.npz", images=IMAGES[:3], labels=[1, 2, 2], class_names=names)
    np.testing.assert_array_equal(of(tmp_path / "x.npz", splits).labels(), [7, 3, 3])
    for labels, words in (
        ([0, 1, 2], "class 'ox' is no class"),
        ([1, 2, 3], "from 1 to 3: expected classes 0 to 2 of its class_names"),
    ):
        np.savez(tmp_path / "x.npz", images=IMAGES[:3], labels=labels, class_names=names)
        with pytest.raises(UserError, match=words):
            of(tmp_path / "x.npz", splits).labels()


@pytest.mark.parametrize(
    "names",
    [np.asarray(["ox", "7"], object), np.arange(10), np.asarray("7"), np.asarray([b"7", b"3"])],
    ids=["objects", "integers", "one text", "bytes"],
)
def test_class_names_of_other_programs_are_no_names(tmp_path, splits, names):
    """The labels are numbers of the data, as without them."""
    labels = np.arange(30) % 3
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=labels, class_names=names)
    found = of(tmp_path / "x.npz", splits)
    np.testing.assert_array_equal(found.labels(), labels)
    assert found.strata is not None


def test_class_names_that_are_damaged_are_refused(tmp_path, splits):
    """The labels may be of any numbers then."""
    path, names = tmp_path / "x.npz", np.asarray(["class ox", "7"])
    np.savez(path, images=IMAGES, labels=np.arange(30) % 2, class_names=names)
    path.write_bytes(path.read_bytes().replace("ox".encode("utf-32-le"), "ax".encode("utf-32-le")))
    with pytest.raises(UserError, match="Bad CRC"):
        of(path, splits).labels()


def test_what_is_no_set_of_images_is_refused(tmp_path, splits):
    with pytest.raises(UserError, match="no image files"):
        of(tmp_path, splits)
    picture(tmp_path / "a.png", IMAGES[0])
    with pytest.raises(UserError, match=r"expected pictures of data.image_size, 16x16"):
        of(tmp_path, splits, image_size=16)
    with pytest.raises(UserError, match="which have 2 to 256 levels, and data.num_levels=0"):
        of(tmp_path, splits, num_levels=0)
    np.savez(tmp_path / "x.npz", images=IMAGES + 5)
    with pytest.raises(UserError, match="levels from 5 to 21, expected 0 to 16"):
        of(tmp_path / "x.npz", splits)


PAIR = np.zeros((), [("a", "i4"), ("b", "U3")])


@pytest.mark.parametrize(
    "stated",
    [9, np.arange(17), np.asarray("17"), PAIR],
    ids=["fewer", "an array", "a text", "a pair"],
)
def test_samples_of_other_levels_are_refused(tmp_path, splits, stated):
    """As --mode sample of another config writes them, though each of their levels is one of these data's."""
    np.savez(tmp_path / "x.npz", images=IMAGES, num_levels=np.asarray(17))
    np.testing.assert_array_equal(of(tmp_path / "x.npz", splits).take([1]), IMAGES[[1]])
    np.savez(tmp_path / "x.npz", images=IMAGES // 2, num_levels=stated)
    words = "images of num_levels=9, and data.num_levels=17" if isinstance(stated, int) else "17: "
    with pytest.raises(UserError, match=words):
        of(tmp_path / "x.npz", splits)


@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_numbers_of_the_other_byte_order_are_refused(tmp_path, dtype):
    """The message states what to do, and that works."""
    config, path = get_config(), str(tmp_path / "x.npz")
    array = IMAGES.astype(np.dtype(dtype).newbyteorder("S"))
    np.savez(path, images=array)
    with pytest.raises(
        UserError, match=r"non-native byte order .*array\.dtype\.newbyteorder\('='\)"
    ):
        read_images(config, "evaluation.images", path)
    np.savez(path, images=array.astype(array.dtype.newbyteorder("=")))
    _, found = read_images(config, "evaluation.images", path)
    np.testing.assert_array_equal(jnp.asarray(found), IMAGES)


def test_a_number_that_is_not_finite_is_found_in_any_part():
    array = np.zeros(PART + 2)
    check_real("x", array)
    array[-1] = np.nan
    with pytest.raises(UserError, match="not finite"):
        check_real("x", array)
