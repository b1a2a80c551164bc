"""--mode evaluate: an exact score has distance 0, copies are detected, and every figure is for the stated images."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from score_sde import data, machine
from score_sde.configs.subvp_digits import get_config as digits_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.configs.vp_captions import get_config as captions_config
from score_sde.errors import UserError
from score_sde.evaluation.pictures import pillow_image, shades
from score_sde.features.extractors import Extractor, Features, build_extractor
from score_sde.generation.conditions import labels_of_samples
from score_sde.generation.generate import Generator
from score_sde.modes import evaluate
from score_sde.modes.evaluated_samples import Evaluated, drawn
from score_sde.quality.assessment import Assessment, Memory
from score_sde.quality.frechet import frechet_distance, variance_of
from score_sde.quality.image_sets import image_set
from score_sde.quality.moments import moments
from score_sde.quality.neighbours import Nearest
from score_sde.quality.reference import load_splits, open_reference
from score_sde.sde_lib import build_sde
from score_sde.training.recorded_config import record_config
from score_sde.training.trained_score import load_score_model
from score_sde.version import made_by
from tests.earlier_commands import as_of_version_0_9, check_of_both


def of_toy():
    config = toy_config()
    config.data.image_size = 2
    config.sampling.update(sampler="ddim", num_images=300, batch_size=100)
    config.sampling.exponential.num_steps = 40
    config.evaluation.num_reference = 500
    return config


def evaluated(config, folder):
    sde = build_sde(config)
    return evaluate.run(config, sde, folder, *evaluate.check(config, sde))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return folder, evaluated(of_toy(), folder)


def test_samples_of_the_exact_score_are_of_the_datas_law(toy):
    """Distance 0 within four errors; the Frechet distance itself exceeds 0 by its bias."""
    _, figures = toy
    for name, truth in (("frechet_limit", 0), ("kid", 0), ("nearer_than_held_out", 0.5)):
        assert abs(figures[name] - truth) < 4 * figures[f"{name}_error"], name
    assert figures["frechet"] > figures["frechet_limit"]
    assert (figures["nfe"], figures["num_images"], figures["num_reference"]) == (41, 300, 500)


def test_the_record_is_what_is_given_back(toy):
    folder, figures = toy
    record = json.loads((folder / "results.jsonl").read_text())
    assert record.pop("date")
    assert record == {**figures, **made_by()}
    assert (record["one_by_one"], record["truncate"]) == (False, False)
    assert [path.name for path in (folder / "evaluation").iterdir()] == ["nearest-ddim-seed42.npz"]


def test_ten_samples_of_each_start_image_tell_no_more_than_one(tmp_path, capsys):
    """Started with hardly any noise they are copies, so that the variance is that of 30 independent images: for the same moments 299/29
    times that which 300 would have; beside so many real images that these add little."""
    config = of_toy()
    config.evaluation.num_reference = 0
    start = data.load(config).test.take(np.arange(30)).images
    np.savez(tmp_path / "start.npz", images=start)
    config.sampling.update(
        eps=1e-4, t_start=2e-4, start_images=str(tmp_path / "start.npz"), noise_removal=False
    )
    config.sampling.exponential.num_steps = 2
    found = evaluated(config, tmp_path)
    copies = np.tile(start.reshape(30, 4), (10, 1))
    _, _, _, reference = open_reference(config, tmp_path)
    a, b = moments(copies), moments(reference.features)
    expected = 299 / 29 * variance_of(copies, a, b) + variance_of(reference.features, b, a)
    assert found["frechet_error"] == pytest.approx(np.sqrt(expected), rel=0.05)
    assert found["different_images"] == 30
    said = capsys.readouterr().out
    assert (
        "note: 300 samples take only 30 different condition or start images in turn: error" in said
    )


def test_an_interrupted_command_goes_on_with_its_samples(toy, tmp_path, monkeypatch):
    drawn, draw = [], Generator.draw

    def counted(self, *arguments):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(1)
        return draw(self, *arguments)

    monkeypatch.setattr(Generator, "draw", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluated(of_toy(), tmp_path)
    drawn.clear()
    found = evaluated(of_toy(), tmp_path)
    assert len(drawn) == 1  # of three batches
    same = {"frechet", "kid", "mind", "coverage", "nearer_than_held_out"}
    assert {name: found[name] for name in same} == {name: toy[1][name] for name in same}


def test_drawn_images_are_those_of_their_features(tmp_path):
    """Images are read in any order from the batches on disk."""
    config = of_toy()
    config.sampling.batch_size = 128
    extractor = build_extractor(config)
    sde = build_sde(config)
    loaded = load_score_model(config, sde, tmp_path)
    found, _ = drawn(config, sde, tmp_path, loaded, extractor, None)
    rows = np.array([299, 3, 127, 128, 256, 3])
    again = extractor.extract(found.images.take(rows)).of_images
    np.testing.assert_array_equal(again, found.features.of_images[rows])


def test_sorted_images_have_the_inception_score_of_shuffled_ones():
    """Ten classes that are predicted with certainty: the score is 10 for infinitely many images, to first order exp(-9/200) times that in
    parts of a hundred, and would be 1 in parts of one class each. The standard deviation over shuffles is .03."""
    config, extractor = digits_config(), build_extractor(digits_config())
    features = Features(np.zeros((1000, 1)), 30 * np.eye(10)[np.arange(1000) // 100])
    found = evaluate.other_figures(config, extractor, Evaluated(None, features, {}), None, None)
    assert found["inception_score"].value == pytest.approx(10 * np.exp(-9 / 200), abs=0.15)


def test_samples_stay_until_their_figures_are_recorded(tmp_path, monkeypatch):
    """A command whose last line could not be written does not draw again when repeated."""

    def fails(*_):
        raise UserError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "report", fails)
        with pytest.raises(UserError, match="no room"):
            evaluated(of_toy(), tmp_path)
    assert len(list((tmp_path / "evaluation").glob("unfinished-*/*.npz"))) == 3
    as_of_version_0_9(tmp_path)
    monkeypatch.setattr(Generator, "draw", lambda *_: pytest.fail("drawn again"))
    check_of_both(evaluated(of_toy(), tmp_path))


def test_the_first_real_images_are_those_that_count(tmp_path):
    """As many of them as are recorded."""
    _, splits, _, reference = open_reference(of_toy(), tmp_path)
    first = splits.train.take(np.arange(500)).images.reshape(500, 4)
    np.testing.assert_array_equal(reference.features, first)
    assert reference.num_images == 500


def test_too_few_samples_beside_a_law_are_not_drawn(tmp_path, monkeypatch):
    config = of_toy()
    np.savez(tmp_path / "law.npz", mu=np.zeros(4), sigma=np.eye(4))
    config.evaluation.update(reference=str(tmp_path / "law.npz"), num_reference=0)
    config.sampling.num_images = 19
    monkeypatch.setattr(evaluate, "drawn", lambda *_: pytest.fail("drawn"))
    with pytest.raises(UserError, match="19 images: a standard error needs 20"):
        evaluated(config, tmp_path)
    extractor, _, _, reference = open_reference(config, tmp_path)
    evaluate.refuse_early(config, extractor, reference, 20, lambda: pytest.fail("of no use here"))
    monkeypatch.setattr(machine, "memory_bytes", lambda: 4 * 8 * 4**2 - 1)
    with pytest.raises(UserError, match=r"features of 4 dimensions \(evaluation.features=pixels"):
        evaluate.refuse_early(config, extractor, reference, 20, lambda: np.zeros(20))


def test_one_held_out_image_tells_nothing_of_memory(digits, tmp_path, capsys):
    config, splits, images, _ = digits
    rows = np.arange(100, 200)
    arrays = splits.train.take(rows).images
    np.savez(tmp_path / "data.npz", images=arrays, test_images=arrays[:1])
    config.data.update(name="arrays", file=str(tmp_path / "data.npz"), stored_levels=17)
    found = evaluated(config, tmp_path)
    expected = frechet_distance(*(x.reshape(-1, 64) / 16 for x in (images, arrays)))
    assert found["frechet"] == pytest.approx(expected)
    assert "nearer_than_held_out" not in found
    assert "the data have one held-out image, too few to say" in capsys.readouterr().out


def test_samples_are_of_the_classes_that_they_were_told():
    config = digits_config()
    config.model.num_classes = 10
    config.sampling.update(num_images=5, labels=(7, 2))
    np.testing.assert_array_equal(labels_of_samples(config), [7, 2, 7, 2, 7])
    assert evaluate.wanted_labels(config, labels_of_samples(config)) == [2, 7]
    config.sampling.update(num_images=20, labels=())
    assert evaluate.wanted_labels(config, labels_of_samples(config)) == list(range(10))


@pytest.mark.parametrize("words", ["", captions_config().model.words])
def test_real_images_show_what_their_captions_say(words, tmp_path):
    """Whether or not the network is conditioned on texts."""
    config = captions_config()
    config.model.words, config.evaluation.images = words, "test"
    splits = load_splits(config, tmp_path)
    images = Evaluated(image_set(config, splits, "images"), Features(np.zeros((256, 1)), None), {})
    found = evaluate.other_figures(config, build_extractor(config), images, None, None)
    assert found["text_right"].value == 1.0


@pytest.fixture
def digits(tmp_path):
    """The config, a file with forty of the training images and a split of 8x8 digits."""
    config = digits_config()
    splits = data.load(config)
    rows = np.arange(7, 47)
    images = splits.train.take(rows).images
    np.savez(tmp_path / "copies.npz", images=images)
    config.evaluation.images = str(tmp_path / "copies.npz")
    return config, splits, images, rows


def test_nothing_is_left_of_a_picture_that_cannot_be_written(digits, tmp_path, monkeypatch):
    """Beside one of an earlier command, which stays."""
    config, splits, images, rows = digits
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "nearest-copies.npz-seed42.npz").write_bytes(b"earlier")

    def full(path, *_):
        raise UserError(f"cannot write {path}")

    monkeypatch.setattr(evaluate, "save_grid", full)
    kept = Memory(None, Nearest(np.zeros(40), rows))
    with pytest.raises(UserError, match="cannot write .*copies.npz-seed42-2.png"):
        evaluate.write(config, tmp_path, image_set(config, splits, "images"), splits, kept)
    (left,) = (tmp_path / "evaluation").iterdir()
    assert left.name == "nearest-copies.npz-seed42.npz"


def test_images_of_one_class_are_so_in_the_record(tmp_path):
    """Given images too; the network has no part in their figures."""
    config = digits_config()
    record_config(config, tmp_path, None)
    config.evaluation.images, config.data.label = "test", 3
    config.model.discrete_labels = "published_pc"
    found = evaluate.given(config, tmp_path, None, None, lambda *_: None)
    assert found.recorded == {"data.label": 3}


def test_copies_of_training_images_are_found_out(digits, tmp_path):
    config, _, _, rows = digits
    found = evaluated(config, tmp_path)
    assert found["nearer_than_held_out"] == 1.0
    with np.load(found["nearest"]) as arrays:
        np.testing.assert_array_equal(arrays["row"], rows)
        np.testing.assert_array_equal(arrays["distance"], 0.0)
    assert found["pairs"].endswith("nearest-copies.npz-seed42.png")


def test_few_real_images_take_the_work_of_few(digits, tmp_path, monkeypatch, capsys):
    """Copies among the first are found out by these alone, and it is said that no others would be."""
    config, _, _, rows = digits
    config.evaluation.num_reference = 50
    counts, extract = [], Extractor.extract_taken

    def counted(self, take, count, show=True):
        counts.append(count)
        return extract(self, take, count, show)

    monkeypatch.setattr(Extractor, "extract_taken", counted)
    found = evaluated(config, tmp_path)
    assert sorted(counts) == [40, 50, 50]  # the images, and the first of either split
    assert found["nearer_than_held_out"] == 1.0
    with np.load(found["nearest"]) as arrays:
        np.testing.assert_array_equal(arrays["row"], rows)
    assert "measured with the first 50 images of each split" in capsys.readouterr().out


def test_figures_are_of_levels_between_0_and_1(digits, tmp_path):
    config, splits, images, _ = digits
    config.evaluation.reference = "test"
    found = evaluated(config, tmp_path)
    train, test = (
        split.take(np.arange(split.num_images)).images.reshape(-1, 64) / 16
        for split in (splits.train, splits.test)
    )
    x = images.reshape(-1, 64) / 16
    assert found["frechet"] == pytest.approx(frechet_distance(x, test))
    assert found["num_reference"] == len(test)
    apart = np.sort(cdist(test, test), axis=1)[:, 5]  # itself is the first
    inside = (cdist(x, test) <= apart).any(axis=1)
    assert found["precision"] == pytest.approx(inside.mean())
    held_out, own = (cdist(rows, train).min(axis=1) for rows in (test, x))
    assert found["nearer_than_held_out"] == pytest.approx((own[:, None] < held_out).mean())


def test_a_folder_of_pictures_is_what_they_show(digits, tmp_path):
    """The same figures as for the .npz file with these levels."""
    config, _, images, _ = digits
    expected = evaluated(config, tmp_path)
    for i, image in enumerate(shades(images, 17)):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        pillow_image(image).save(tmp_path / "pictures" / f"{i:03}.png")
    config.evaluation.images = f"{tmp_path}/pictures/"
    found = evaluated(config, tmp_path)
    assert {name: found[name] for name in ("frechet", "kid", "nearer_than_held_out")} == {
        name: expected[name] for name in ("frechet", "kid", "nearer_than_held_out")
    }
    assert found["pairs"].endswith("nearest-pictures-seed42.png")


def test_a_reference_of_mean_and_covariance(digits, tmp_path, capsys):
    """The distance to the images behind the statistics, and no figure that these do not determine."""
    config, splits, images, _ = digits
    test = splits.test.take(np.arange(297)).images.reshape(-1, 64) / 16
    np.savez(tmp_path / "test.npz", mu=test.mean(axis=0), sigma=np.cov(test.T))
    config.evaluation.reference = str(tmp_path / "test.npz")
    found = evaluated(config, tmp_path)
    assert found["frechet"] == pytest.approx(frechet_distance(images.reshape(-1, 64) / 16, test))
    assert not {"kid", "precision", "mind", "nearer_than_held_out"} & found.keys()
    assert "errors are those of the images alone" in capsys.readouterr().out
    config.evaluation.num_reference = 100
    with pytest.raises(UserError, match="so evaluation.num_reference=100 has no effect"):
        evaluated(config, tmp_path)


def test_figures_of_each_class(tmp_path, capsys):
    """For files with labels: figures of two classes, each with its own images."""
    config = digits_config()
    splits = data.load(config, ("label",))
    sets = {}
    for name, split in (("images", splits.test), ("reference", splits.train)):
        batch = split.take(np.arange(297))
        some = np.isin(batch.condition["label"], (3, 5))
        sets[name] = batch.images[some], batch.condition["label"][some]
        np.savez(tmp_path / f"{name}.npz", images=sets[name][0], labels=sets[name][1])
        config.evaluation[name] = str(tmp_path / f"{name}.npz")
    config.evaluation.per_class = True
    found = evaluated(config, tmp_path)
    of_three = [images[labels == 3].reshape(-1, 64) / 16 for images, labels in sets.values()]
    assert found["classes"].keys() == {"3", "5"}
    assert found["classes"]["3"]["frechet"] == pytest.approx(frechet_distance(*of_three), rel=1e-5)
    singular = f"class 3: {len(of_three[0])} images in 64 dimensions: their covariance is singular"
    assert singular in capsys.readouterr().out
    config.evaluation.reference = str(tmp_path / "law.npz")
    np.savez(tmp_path / "law.npz", mu=np.zeros(64), sigma=np.eye(64))
    with pytest.raises(UserError, match="does not give the classes of its images"):
        evaluated(config, tmp_path)


def test_few_images_are_singular_and_too_few_are_refused(digits, tmp_path, capsys):
    config, _, images, _ = digits
    evaluated(config, tmp_path)
    assert "40 images in 64 dimensions: their covariance is singular" in capsys.readouterr().out
    np.savez(tmp_path / "copies.npz", images=images[:19])
    with pytest.raises(UserError, match="19 images and 1500 real ones: .* need 20 of each"):
        evaluated(config, tmp_path)


def test_it_is_said_that_mirrored_copies_are_not_recognized():
    """Only said if training mirrors images and the figure is there."""
    config, found = digits_config(), Assessment({}, ())
    figures = {"nearer_than_held_out": 0.5}
    assert evaluate.notes(config, figures, found) == []
    config.data.random_flip = True
    (note,) = evaluate.notes(config, figures, found)
    assert "mirrored copies are not recognized" in note
    assert evaluate.notes(config, {}, found) == []


def test_it_is_said_that_grey_images_are_repeated():
    """Only said for networks of RGB images."""
    config, found = digits_config(), Assessment({}, ())
    assert evaluate.notes(config, {}, found) == []
    config.evaluation.features = "alexnet"
    (note,) = evaluate.notes(config, {}, found)
    assert "grey ones are repeated to three channels" in note
    config.data.num_channels = 3
    assert evaluate.notes(config, {}, found) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"images": "none.npz"},
            "evaluation.images='none.npz': no such file or folder; give train",
        ),
        ({"reference": "none.npz"}, "evaluation.reference='none.npz': no such file or folder"),
        ({"reference": ""}, "evaluation.reference is empty"),
        ({"images": "train"}, "the two sets are identical"),
        (
            {"features": "vgg"},
            "evaluation.features='vgg': no such file; give pixels, classifier, alexnet, vgg16, or the weights of FID's",
        ),
        ({"per_class": True}, "samples of a model that is not conditioned on classes"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(fields, words):
    config = digits_config()
    config.evaluation.update(fields)
    with pytest.raises(UserError, match=words):
        evaluate.check(config, build_sde(config))


def test_too_few_samples_are_refused_before_they_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(Generator, "draw", lambda *_: pytest.fail("draws"))
    config = of_toy()
    config.sampling.num_images = 19
    with pytest.raises(UserError, match="19 images and 500 real ones: .* need 20 of each"):
        evaluated(config, tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"evaluation.images": "larger.npz"}, r"expected \(n, 8, 8, 1\)"),
        ({"evaluation.images": "of_no_class.npz", "evaluation.per_class": True}, "has no `labels`"),
        ({"evaluation.images": "few.npz"}, "19 images and 1500 real ones: .* need 20 of each"),
        ({}, "checkpoint"),
    ],
)
def test_what_can_be_refused_is_refused_before_features_are_made(
    fields, words, tmp_path, monkeypatch
):
    """Such as those of the many reference images by a large network."""
    monkeypatch.chdir(tmp_path)
    np.savez("larger.npz", images=np.zeros((30, 9, 9, 1), np.uint8))
    np.savez("of_no_class.npz", images=np.zeros((30, 8, 8, 1), np.uint8))
    np.savez("few.npz", images=np.zeros((19, 8, 8, 1), np.uint8))
    monkeypatch.setattr(Extractor, "extract_taken", lambda *_: pytest.fail("makes features"))
    config = digits_config()
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=words):
        evaluated(config, tmp_path)
