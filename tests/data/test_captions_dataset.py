"""Captioned shapes: pictures match their captions, checked independently; and the encoding of texts."""

import numpy as np
import pytest
from scipy.stats import chi2

from score_sde import data
from score_sde.configs.vp_captions import get_config
from score_sde.data.builders import DatasetError
from score_sde.data.captions import CAPTIONS, WORDS, draw
from score_sde.data.text import numbers
from score_sde.errors import ConfigError
from score_sde.evaluation.captions import agreement, said, seen
from score_sde.generation.conditions import build_conditions

PICTURE = """
.rrrr.........rr
.rrrr........rrr
.rrrr..........r
.rrrr...........
......rr........
.......r........
"""


@pytest.fixture(scope="module")
def drawn():
    return draw(np.random.default_rng(1), 360, 16)


def picture(text):
    rows = text.split()
    return np.array([[[of == c for c in "rgb"] for of in row] for row in rows]).astype(np.uint8)


def test_pixels_are_those_that_the_caption_says(drawn):
    """By pixel sums: a square with a side of 4 or 5 fills 16 or 25, a disc without the corners 12 or 21; other channels are 0."""
    images, captions = drawn
    areas = {"square": (16, 25), "squares": (16, 25), "disc": (12, 21), "discs": (12, 21)}
    for image, caption in zip(images, captions, strict=True):
        number, colour, shape = CAPTIONS[caption].split()
        count, channel = (
            1 + ["one", "two", "three"].index(number),
            ["red", "green", "blue"].index(colour),
        )
        small, large = areas[shape]
        lit = image.sum(axis=(0, 1))
        assert lit[channel] in {small * (count - k) + large * k for k in range(count + 1)}
        assert lit.sum() == lit[channel]


def evenly(places, count):
    """Chi-square test of numbers that are equally probable, or less scattered than independent ones, with a false alarm in 10^5."""
    expected = len(places) / count
    found = np.square(np.bincount(places, minlength=count) - expected).sum() / expected
    return found < chi2.isf(1e-5, count - 1)


def test_objects_are_anywhere(drawn):
    """In any quarter, and there at any offset from its corner: up to 3 pixels for a side of 4, and 2 for one of 5."""
    quarters, offsets = [], {4: [], 5: []}
    for image in drawn[0]:
        for quarter in range(4):
            top, left = 8 * (quarter // 2), 8 * (quarter % 2)
            rows, columns, _ = np.nonzero(image[top : top + 8, left : left + 8])
            if len(rows):
                quarters.append(quarter)
                side = int(rows.max() - rows.min()) + 1
                offsets[side] += [(rows.min(), columns.min())]
    assert evenly(quarters, 4)
    for side, of in offsets.items():
        for along in np.transpose(of):
            assert evenly(along, 8 - side)


def test_captions_are_equally_probable(drawn):
    """Chi-square test of 18 classes, with a false alarm in 10^5."""
    counts = np.bincount(drawn[1], minlength=18)
    assert np.square(counts - 20).sum() / 20 < chi2.isf(1e-5, 17)


def test_real_images_are_counted_without_error(drawn):
    images, captions = drawn
    texts = numbers(CAPTIONS, WORDS, "")[captions]
    assert {name: of.value for name, of in agreement(images, texts).items()} == dict.fromkeys(
        ("text_right", "text_number", "text_colour", "text_shape"), 1.0
    )
    assert agreement(images, texts)["text_right"].error > 0
    # Six captions further the number is another, and nothing else.
    wrong = numbers(CAPTIONS, WORDS, "")[(captions + 6) % 18]
    found = {name: of.value for name, of in agreement(images, wrong).items()}
    assert found == {"text_right": 0.0, "text_number": 0.0, "text_colour": 1.0, "text_shape": 1.0}


def test_what_is_seen_on_a_picture():
    """Of three objects one is a square and two match no shape; objects that touch at a corner count as one."""
    assert seen(picture(PICTURE)) == (3, "red", "")
    assert seen(picture("r.. .rr .rr")) == (1, "red", "")
    assert seen(picture("rrr.. rrr.. rrr..")) == (1, "red", "square")
    assert seen(picture(".g. ggg .g.")) == (1, "green", "disc")
    assert seen(picture("rr... rr... ...bb ...bb")) == (2, "", "square")
    assert seen(np.ones((2, 2, 3), np.uint8)) == (1, "", "square")
    assert seen(np.zeros((4, 4, 3), np.uint8)) == (0, "", "")


def test_what_a_text_says():
    assert said([2, 4, 9]) == (2, "red", "square")
    assert said([6, 0, 0]) == (0, "blue", "")


def test_the_dataset_has_its_texts():
    config = get_config()
    splits = data.load(config, ("text",))
    batch = splits.test.take(range(256))
    assert batch.images.shape == (256, 16, 16, 3)
    assert agreement(batch.images, batch.condition["text"])["text_right"].value == 1.0


def test_texts_become_numbers():
    np.testing.assert_array_equal(
        numbers(["two Red squares", " blue "], WORDS, ""), [[2, 4, 9], [6, 0, 0]]
    )


def test_samples_are_told_texts_in_turn():
    config = get_config()
    config.sampling.text = "two red squares,blue"
    told = build_conditions(config)(np.arange(3))["text"]
    np.testing.assert_array_equal(told, [[2, 4, 9], [6, 0, 0], [2, 4, 9]])
    config.sampling.text = ""
    assert len(np.unique(build_conditions(config)(np.arange(18))["text"], axis=0)) == 18


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "two read squares",
            "sampling.text='two read squares': .* 'read'; the nearest is 'red'; it knows one, two, three, red, .*discs",
        ),
        ("two red cubes", "does not know 'cubes'; the nearest is"),
        ("two red squares,,", "a text without words"),
    ],
)
def test_texts_that_it_cannot_read_are_refused(text, message):
    config = get_config()
    config.sampling.text = text
    with pytest.raises(ConfigError, match=message):
        build_conditions(config)


def test_no_text_for_a_network_of_other_words_is_refused():
    config = get_config()
    config.model.words = "red green"
    with pytest.raises(ConfigError, match="text='' means the captions .*give texts of these"):
        build_conditions(config)


def test_a_text_for_a_network_without_words_is_refused():
    config = get_config()
    config.model.words, config.sampling.text = "", "two red squares"
    with pytest.raises(ConfigError, match="with a model that is not conditioned on texts"):
        build_conditions(config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model.words": "red green"}, "whose words are one two three .* in this order"),
        ({"data.name": "shapes", "data.num_channels": 2}, "the dataset has no captions"),
        ({"data.image_size": 8}, "images of 8x8 pixels .*set data.image_size=16"),
        ({"data.num_channels": 1}, "num_channels=1: expected square images"),
    ],
)
def test_datasets_that_do_not_fit_are_refused(fields, message):
    config = get_config()
    config.update_from_flattened_dict(fields)
    with pytest.raises(DatasetError, match=message):
        data.load(config, ("text",)).train.take(range(2))
