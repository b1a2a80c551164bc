"""The picture of likelihoods: any number of channels, single pixels, and only the images shown are read."""

import dataclasses

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from score_sde.data.splits import ImagesInMemory
from score_sde.likelihood.bits_per_dim import BitsPerDim, Measured
from score_sde.likelihood.picture import EXTREMES, extremes, save_likelihood_picture, shades


@dataclasses.dataclass(frozen=True)
class Asked(ImagesInMemory):
    """A split that notes which images it is asked for."""

    asked: list = dataclasses.field(default_factory=list)

    def take(self, indices):
        self.asked.extend(indices)
        return super().take(indices)


@pytest.mark.parametrize("shape", [(4, 4, 2), (1, 1, 1), (1, 3, 3), (2, 1, 5)])
def test_a_picture_of_images_of_any_shape_reads_those_that_it_shows(tmp_path, shape):
    number, rng = 3 * EXTREMES, np.random.default_rng(0)
    split = Asked(rng.integers(0, 4, (number, *shape), np.uint8))
    costs = rng.permutation(number)[None].astype(float)
    one = Measured(costs, np.zeros_like(costs), np.ones_like(costs))
    path = tmp_path / "a.png"
    save_likelihood_picture(path, BitsPerDim(one, None, None, 1.0), split, 4)
    assert matplotlib.image.imread(path).std() > 0
    shown = costs[0][split.asked]
    np.testing.assert_array_equal(shown[:EXTREMES], range(EXTREMES))
    np.testing.assert_array_equal(shown[EXTREMES:], range(number - 1, number - 1 - EXTREMES, -1))


def test_a_picture_that_is_not_finished_is_no_picture(tmp_path, monkeypatch):
    """While it is being written, and after a process is killed there, no file in the folder is named as pictures are."""
    named, savefig = [], Figure.savefig

    def watched(self, *args, **options):
        savefig(self, *args, **options)
        named.extend(tmp_path.glob("*.png"))

    monkeypatch.setattr(Figure, "savefig", watched)
    costs = np.arange(4.0)[None]
    one = Measured(costs, np.zeros_like(costs), np.ones_like(costs))
    split = ImagesInMemory(np.zeros((4, 2, 2, 1), np.uint8))
    save_likelihood_picture(tmp_path / "a.png", BitsPerDim(one, None, None, 1.0), split, 4)
    assert named == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_of_three_images_the_middle_one_is_not_shown():
    assert [[*side] for side in extremes(np.array([3.0, 1.0, 2.0]))] == [[1], [0]]
    assert [[*side] for side in extremes(np.array([3.0]))] == [[0], [0]]


def test_shades_are_of_all_levels_or_of_the_numbers_that_are_shown():
    """Two channels are red and green; level 3 of 0 ... 6 is half of white, even if no image has white."""
    two = np.array([3, 0], np.uint8).reshape(1, 1, 1, 2)
    np.testing.assert_array_equal(shades(two, 7), [[[[0.5, 0, 0]]]])
    grey = np.array([-2.0, 0.0, 6.0]).reshape(3, 1, 1, 1)
    np.testing.assert_array_equal(shades(grey, None).ravel(), [0, 0.25, 1])
    assert shades(grey, None).shape == (3, 1, 1)
    assert shades(np.zeros((1, 2, 2, 5)), None).shape == (1, 2, 2, 3)
