"""What --mode restore says of restored images: nearness to the originals, fit to the measurements, calibration."""

import re

import numpy as np
import pytest
from scipy.stats import binom

from score_sde.configs.subvp_digits import get_config as digits_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.evaluation.calibration import PROJECTIONS
from score_sde.evaluation.similarity import ssim
from score_sde.measurements.configured import build_measurement
from score_sde.measurements.matrices import Matrix
from score_sde.measurements.measurement import Measurement
from score_sde.restoration.figures import (
    Restored,
    all_ranks,
    calibration,
    determined_figures,
    fit,
    nearness,
    reach,
)
from score_sde.restoration.observed import Observed
from score_sde.restoration.table import table
from score_sde.spaces import build_space

EVERY_FIGURE = ["mean", *(f"projection {k + 1}" for k in range(PROJECTIONS))]


def near(config, images, draws):
    """`nearness` of draws (n, L, h, w, c)."""
    observed = Observed(np.ones((len(images), 1)), originals=images)
    return nearness(build_space(config), observed, Restored(draws, np.ones(draws.shape[:2])))


def in_the_middle(levels):
    """Of the digits' 17 levels, on [-1, 1]."""
    return (2 * (levels + 0.5) / 17 - 1).astype(np.float32)


def test_nearness_is_of_the_stored_images():
    """A picture of levels, given back one and two levels too bright, and its mean one and a half: of 17 levels 20 log10(17 / off) dB."""
    images = np.full((2, 8, 8, 1), 7, np.uint8)
    draws = np.stack([in_the_middle(images + 1), in_the_middle(images + 2)], axis=1)
    found = near(digits_config(), images, draws)
    of_one, of_two = 20 * np.log10(17), 20 * np.log10(17 / 2)
    assert found["psnr_draw"] == pytest.approx((of_one + of_two) / 2, abs=1e-4)
    assert found["psnr_mean"] == pytest.approx(20 * np.log10(17 / 1.5), abs=1e-4)
    assert found["psnr_mean_error"] == pytest.approx(0.0, abs=1e-9)


def test_similarity_is_of_each_draw_and_of_the_mean():
    """Images of any levels and two draws of their own noise, which the mean has half of."""
    rng = np.random.default_rng(0)
    images = rng.integers(2, 15, size=(3, 8, 8, 1)).astype(np.uint8)
    off = rng.integers(-2, 3, size=(3, 2, 8, 8, 1))
    draws = in_the_middle(images[:, None] + off)
    found = near(digits_config(), images, draws)
    unit, unit_draws = (images + 0.5) / 17, (images[:, None] + off + 0.5) / 17
    of_draws = np.mean([ssim(unit_draws[:, k], unit) for k in range(2)], axis=0)
    of_mean = ssim(unit_draws.mean(axis=1), unit)
    for name, of_each in (("ssim_draw", of_draws), ("ssim_mean", of_mean)):
        assert found[name] == pytest.approx(of_each.mean(), abs=1e-5)
        error = of_each.std(ddof=1) / np.sqrt(3)
        assert found[f"{name}_error"] == pytest.approx(error, abs=1e-5)
    assert found["ssim_mean"] > found["ssim_draw"] + 0.01


def test_draws_are_cut_to_the_range():
    """White is half a level below the end of the range, which a draw is cut to: 20 log10(34) dB; the mean of both draws too."""
    images = np.full((2, 8, 8, 1), 16, np.uint8)
    white = in_the_middle(images)
    draws = np.stack([white + 2.0, white + 3.0], axis=1)
    found = near(digits_config(), images, draws)
    assert found["psnr_draw"] == pytest.approx(20 * np.log10(34), abs=1e-4)
    assert found["psnr_mean"] == pytest.approx(20 * np.log10(34), abs=1e-4)


@pytest.mark.parametrize("end", [-9.0, 9.0])
def test_a_pixel_far_out_of_the_range_is_told(end):
    """Nine times half the range from its middle, of one pixel of one draw, which PSNR takes for black or white."""
    space, draws = build_space(digits_config()), np.zeros((2, 3, 8, 8, 1), np.float32)
    draws[1, 2, 3, 3] = end
    assert reach(space, Restored(draws, None)) == {"largest_pixel": 9.0}
    uncentered = digits_config()
    uncentered.data.centered = False
    half = reach(build_space(uncentered), Restored(0.5 + draws / 2, None))
    assert half == {"largest_pixel": 9.0}
    assert reach(build_space(toy_config()), Restored(draws, None)) == {}


def test_the_table_warns_of_pixels_far_out_of_the_range():
    figures = {
        **dict.fromkeys(("images", "measured", "sampler"), "test"),
        "method": "mcg",
        "measurement": "box",
        "sigma_y": 0.0,
        "nfe": 9.0,
        "num_images": 2,
        "draws": 3,
        "jacobian_products": 0,
        "residual_draw": 0.0,
        "residual_draw_error": 0.5,
    }
    for largest, threshold, words in (
        (1.1, "none", ""),
        (2e5, "none", "warning: .* try sampling.threshold=static"),
        (1.6, "static", "warning: .* try more steps"),
    ):
        found = table({**figures, "largest_pixel": largest, "threshold": threshold})
        assert re.search(rf"largest pixel .* {largest:.5g}\n".replace("+", r"\+"), found)
        assert re.search(words, found)
        assert ("warning" in found) == bool(words)
    assert "residual" not in found
    assert "0 +- 0.5" in found
    assert "largest pixel" not in table(figures)


def test_the_error_of_real_numbers_is_pooled_over_draws():
    """Draws 3 and 4 off: sqrt((9 + 16) / 2), and their mean 3.5; of a second image nothing, so that errors are half of the first's."""
    images = np.zeros((2, 2, 2, 1), np.float32)
    draws = np.zeros((2, 2, 2, 2, 1), np.float32)
    draws[0, 0], draws[0, 1] = 3.0, 4.0
    config = toy_config()
    config.data.image_size = 2
    found = near(config, images, draws)
    halves = {"rms_draw": np.sqrt(12.5) / 2, "rms_mean": 1.75}
    assert found == pytest.approx(halves | {f"{name}_error": of for name, of in halves.items()})


def test_fit_is_of_the_draws_the_mean_and_the_original():
    """Distances of two draws, their mean and the original, of two images: (a + b) / 2 with the error |a - b| / 2."""
    of = np.array([[1.0, 2.0, 10.0, 100.0], [3.0, 6.0, 20.0, 300.0]])
    expected = {"draw": (3.0, 1.5), "mean": (15.0, 5.0), "original": (200.0, 100.0)}
    found = fit(Observed(np.ones((2, 1)), x=np.ones((2, 1))), of)
    assert found == pytest.approx(
        {
            f"residual_{name}{what}": value
            for name, both in expected.items()
            for what, value in zip(("", "_error"), both, strict=True)
        }
    )
    assert "residual_original" not in fit(Observed(np.ones((2, 1))), of)


def test_ranks_are_of_the_originals_among_their_draws():
    """Two draws on either side of each original, along one direction: along any other two are below it and two above. Of the distances to y
    those of the originals, in the last column, exceed all draws', and those of the means, in the column before, none."""
    rng = np.random.default_rng(0)
    x, direction = 10.0 * rng.normal(size=(2, 2, 2, 1)), rng.normal(size=(2, 2, 1))
    steps = np.array([-2.0, -1.0, 1.0, 2.0]).reshape(4, 1, 1, 1)
    restored = Restored(x[:, None] + steps * direction, np.ones((2, 4)))
    of = np.array([[1.0, 2.0, 3.0, 4.0, 0.0, 9.0], [4.0, 3.0, 2.0, 1.0, 0.0, 9.0]])
    measurement = Measurement.of(Matrix.of(np.ones((1, 4)), (2, 2, 1)), 1.0)
    ranks = all_ranks(measurement, Observed(np.ones((2, 1)), x=x), restored, of, 0)
    np.testing.assert_array_equal(ranks.pop("residual"), [4, 4])
    del ranks["coverage"]
    assert len(ranks) == 1 + PROJECTIONS
    for name, found in ranks.items():
        np.testing.assert_array_equal(found, [2, 2], err_msg=name)


def test_figures_left_out_have_no_ranks():
    rng = np.random.default_rng(0)
    restored = Restored(rng.normal(size=(2, 4, 2, 2, 1)), np.ones((2, 4)))
    observed = Observed(np.ones((2, 1)), x=rng.normal(size=(2, 2, 2, 1)))
    measurement = Measurement.of(Matrix.of(np.ones((1, 4)), (2, 2, 1)), 0.0)
    left_out = ["mean", "projection 2"]
    ranks = all_ranks(measurement, observed, restored, np.ones((2, 6)), 0, left_out)
    rest = {f"projection {k + 1}" for k in range(PROJECTIONS)} - {"projection 2"}
    assert ranks.keys() == rest | {"coverage"}


@pytest.mark.parametrize(
    ("fields", "determined"),
    [
        ({"name": "box_mean", "factor": 2}, ["mean"]),
        ({"name": "grey"}, ["mean"]),
        # The frequency 0 is the lowest.
        ({"name": "frequencies", "fraction": 0.3}, ["mean"]),
        ({"name": "box", "box": (2, 2)}, []),
        ({"name": "random", "fraction": 0.5}, []),
        ({"name": "half"}, []),
        ({"name": "random", "fraction": 1.0}, EVERY_FIGURE),
    ],
)
def test_figures_that_a_measurement_determines(fields, determined):
    """Means of blocks, of channels and the frequency 0 give the mean of all pixels; known pixels do not, unless all are known."""
    section = digits_config().restore.measurement
    section.update(fields)
    measurement = build_measurement(section, (8, 8, 3), 0)
    assert determined_figures(measurement, 0) == determined


def test_calibration_is_told_of_all_figures_together():
    """Bonferroni: of two figures twice the lesser p-value; TARP apart."""
    ranks = {"a": np.arange(200) % 5, "b": np.zeros(200, int), "coverage": np.arange(200) % 5}
    found = calibration(ranks, 4)
    assert found["ranks_worst"] == "b"
    assert found["ranks_p_value"] == 2 * found["ranks_p_values"]["b"]
    assert found["coverage_p_value"] == 1.0
    assert (found["coverage_50"], found["coverage_50_credibility"]) == (0.4, 0.4)


def test_coverage_is_told_with_its_band():
    """Among four draws the nearest to 50 and 90 % are 40 and 80 %. A band that holds at all four credibilities at once is no narrower than
    the binomial's 99 % at one of them, and no wider than Bonferroni's 99.75 %, but for a rank's share."""
    counts = [100, 40, 30, 20, 10]
    found = calibration({"a": np.arange(200) % 5, "coverage": np.repeat(np.arange(5), counts)}, 4)
    for name, credibility, coverage in (("50", 0.4, 0.7), ("90", 0.8, 0.95)):
        assert found[f"coverage_{name}_credibility"] == pytest.approx(credibility)
        assert found[f"coverage_{name}"] == pytest.approx(coverage)
        (low, high), one = found[f"coverage_{name}_band"], 1 / 200
        of_one, of_all = (
            np.array(binom.interval(share, 200, credibility)) / 200 for share in (0.99, 0.9975)
        )
        assert of_all[0] - one <= low <= of_one[0] + one
        assert of_one[1] - one <= high <= of_all[1] + one
        assert not low <= coverage <= high
