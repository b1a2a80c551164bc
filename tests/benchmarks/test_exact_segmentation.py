"""The posterior of masks given a picture, against rejection sampling of pairs of masks."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from benchmarks import exact_segmentation
from benchmarks.exact_segmentation import counted, posterior
from benchmarks.segmentation import held_out
from score_sde.configs.vp_shapes import get_config
from score_sde.data.shapes import discs, draw, squares
from score_sde.errors import UserError

SIDES = (8, 8)
FALSE_ALARM = 1e-4


@pytest.fixture(scope="module")
def masks():
    rng = np.random.default_rng(0)
    return [counted(shape, rng, 200_000, SIDES) for shape in (discs, squares)]


def pairs(seed):
    """Classes (n, 64), drawn together."""
    classes, _ = draw(np.random.default_rng(seed), 200_000, SIDES)
    return classes.reshape(len(classes), -1).astype(np.uint8)


def most_open_picture():
    """What is covered where the second commonest masks are commonest."""
    of_picture: dict[bytes, Counter[bytes]] = {}
    for mask in pairs(1):
        of_picture.setdefault((mask > 0).tobytes(), Counter())[mask.tobytes()] += 1
    second = {key: sorted(of.values())[-2] for key, of in of_picture.items() if len(of) > 1}
    return np.frombuffer(max(second, key=second.__getitem__), bool)


def test_the_posterior_is_what_rejection_keeps(masks):
    """The accepted pairs are independent of those that chose the picture; the frequencies of the masks have far smaller errors."""
    covered, drawn = most_open_picture(), pairs(2)
    kept = Counter(mask.tobytes() for mask in drawn[((drawn > 0) == covered).all(axis=1)])
    found, weights = posterior(covered, *masks)
    expected: Counter[bytes] = Counter()
    for mask, weight in zip(found.astype(np.uint8), weights, strict=True):
        expected[mask.tobytes()] += weight
    assert set(kept) <= set(expected)
    count = kept.total()
    likely = [mask for mask, weight in expected.items() if weight * count > 5]
    observed = np.array([kept[mask] for mask in likely])
    shares = np.array([expected[mask] for mask in likely])
    assert (count > 200, len(likely) > 1, shares.sum() > 0.95) == (True, True, True)
    test = stats.chisquare(observed, observed.sum() * shares / shares.sum())
    assert test.pvalue > FALSE_ALARM


def test_masks_are_counted(masks):
    of_discs, of_squares = masks
    assert of_discs.shares.sum() == pytest.approx(1.0, abs=1e-12)
    # Sides of 2 (8 / 7) to 4 pixels: of 2, 3 or 4, and rarely of 5.
    assert set(np.unique(np.sqrt(of_squares.covered.sum(axis=1)))) <= {2, 3, 4, 5} | {
        np.sqrt(a * b) for a in (2, 3, 4) for b in (2, 3, 4)
    }
    assert len(np.unique(of_discs.covered, axis=0)) == len(of_discs.covered)


def test_a_picture_that_nothing_covers_is_refused(masks):
    with pytest.raises(UserError, match="more --masks"):
        posterior(np.ones(64, bool), *masks)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--images", "0"], "--images 0: expected 1 to 256"),
        (["--masks", "0"], "--masks 0: expected 1"),
    ],
)
def test_senseless_numbers_are_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        exact_segmentation.main(arguments)


def test_other_images_are_refused():
    config = get_config()
    config.data.name = "digits"
    with pytest.raises(UserError, match="data.name='digits': expected one of shapes"):
        held_out(config, 3)


@pytest.mark.slow
def test_the_command(capsys):
    found = exact_segmentation.main(["--images", "3"])
    assert "one draw: intersection over union  background 1.0000" in capsys.readouterr().out
    assert found["most probable"]["square"] > 0.9
