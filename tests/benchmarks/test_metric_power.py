"""The power of figures: in closed form for shifted normal numbers; that faults are as named; and a run on digits."""

import json
import math

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks import metric_power
from benchmarks.fault_figures import NEARER, figures_of
from benchmarks.fault_images import FAULTS, Pool, Sizes, blurred, deal, noisy
from benchmarks.power import HONEST, Figures, Plan, Power, limits, needed, powers
from score_sde.errors import UserError
from score_sde.features.extractors import Features

SHIFT = 0.3


def shifted(fault, n, rng):
    """The mean of n normal numbers of variance 1, which have a mean of SHIFT where there is a fault."""
    mean = rng.normal(0.0 if fault == HONEST else SHIFT, n**-0.5)
    return Figures({"mean": mean}, {"z": mean * n**0.5})


@pytest.fixture(scope="module")
def found():
    plan = Plan((25, 50, 100, 200), honest=7999, faulty=4000)
    return {(p.figure, p.fault, p.n): p for p in powers(shifted, ("shift",), plan, lambda n: None)}


@pytest.mark.parametrize("figure", ["mean", "z"])
@pytest.mark.parametrize("n", [25, 50, 100])
def test_the_power_of_a_two_sided_test_of_a_shift(found, figure, n):
    """Phi(s - 1.96) + Phi(-s - 1.96), s = shift sqrt(n). Four errors: of 4,000 repetitions, and where limits come from 8,000 honest numbers of these too,
    which are off by 0.03 in s. One of the six fails by chance once in 3,000 seeds."""
    s, known = SHIFT * n**0.5, norm.isf(0.025)
    expected = norm.cdf(s - known) + norm.cdf(-s - known)
    measured = found[figure, "shift", n]
    assert measured.power == pytest.approx(expected, abs={"mean": 0.06, "z": 0.032}[figure])
    assert measured.error == pytest.approx(math.sqrt(expected * (1 - expected) / 4000), rel=0.05)


def test_false_alarms_of_a_figure_with_an_error_of_its_own(found):
    """5 % within four errors of 8,000 repetitions: 1 in 4,000 seeds fails for one of four."""
    for n in (25, 50, 100, 200):
        assert found["z", HONEST, n].power == pytest.approx(0.05, abs=4 * 0.0024)
    assert ("mean", HONEST, 25) not in found


def test_all_repetitions_draw_their_own_numbers():
    """Faulty samples drawn like the honest ones would differ from them by the fault alone."""
    drawn = []

    def trial(fault, n, rng):
        drawn.append(rng.random())
        return Figures({}, {"z": 0.0})

    list(powers(trial, ("one", "another"), Plan((25, 50), honest=3, faulty=3), lambda n: None))
    assert len(set(drawn)) == len(drawn) == 2 * 3 * 3


def test_the_samples_that_a_shift_needs(found):
    """90 % needs ((1.96 + 1.28) / shift)^2 = 117; linear interpolation of the curved power is ten per cent off."""
    expected = ((norm.isf(0.025) + norm.isf(0.1)) / SHIFT) ** 2
    power = {n: found["z", "shift", n].power for n in (25, 50, 100, 200)}
    assert needed(power, 0.9) == pytest.approx(expected, rel=0.15)


def test_limits_leave_out_as_many_at_either_end():
    """With 199 figures the limit is the fifth: a new one lies outside with probability 10 / 200."""
    honest = np.random.default_rng(0).permutation(np.arange(1.0, 200.0))
    assert limits(honest, 0.05) == (5.0, 195.0)
    assert limits(honest[:39], 0.05) == (honest[:39].min(), honest[:39].max())
    with pytest.raises(ValueError, match="38 honest repetitions: a false alarm of 0.05 takes 39"):
        limits(honest[:38], 0.05)


@pytest.mark.parametrize(
    ("power", "n"),
    [
        ({100: 0.8, 400: 1.0}, 200.0),
        ({100: 0.9, 400: 1.0}, 100.0),
        ({100: 0.2, 400: 0.89}, math.inf),
        ({50: 0.8, 100: 0.95, 200: 0.8, 800: 1.0}, 400.0),  # from where on it stays
    ],
)
def test_samples_needed_are_between_two_numbers_that_were_tried(power, n):
    assert needed(power, 0.9) == pytest.approx(n)


@pytest.fixture
def pool():
    """Features that are an image's own number."""
    labels = np.arange(300) % 3
    return Pool({HONEST: Features(np.arange(300.0)[:, None], None)}, labels)


def test_samples_are_chosen_as_the_fault_says(pool):
    rng = np.random.default_rng(0)
    dealt = deal(300, Sizes(60, 40, ()), rng)
    assert [len(part) for part in dealt] == [60, 40, 200]
    assert np.array_equal(np.sort(np.concatenate(dealt)), np.arange(300))
    chosen = {name: fault.choice(dealt, pool, 100, rng) for name, fault in FAULTS.items()}
    assert {len(rows) for rows in chosen.values()} == {100}
    copies = {name: int(np.isin(rows, dealt.reference).sum()) for name, rows in chosen.items()}
    assert sorted(copies.values()) == [0, 0, 0, 10, 100]
    assert (copies["all copies"], copies["1 in 10 a copy"]) == (100, 10)
    assert len(np.unique(pool.labels[chosen["a class missing"]])) == 2
    assert not np.isin(np.concatenate(list(chosen.values())), dealt.held_out).any()


def test_images_are_changed_as_the_fault_says():
    """A point is spread over four pixels; noise has 5 of 255 shades where it is not clipped, of 17 levels with what rounding adds, 1 / 12."""
    rng = np.random.default_rng(0)
    point = np.zeros((1, 4, 4, 1))
    point[0, 2, 2] = 200
    expected = np.zeros((4, 4))
    expected[1:3, 1:3] = 50
    np.testing.assert_array_equal(blurred(point, 255, rng)[0, :, :, 0], expected)
    np.testing.assert_array_equal(blurred(np.full((1, 4, 4, 1), 9.0), 255, rng), 9)
    grey = np.full((1, 200, 200, 1), 128)
    assert noisy(grey, 255, rng).std() == pytest.approx(math.hypot(5, 12**-0.5), rel=0.02)
    white = np.full((1, 200, 200, 1), 16)
    assert noisy(white, 16, rng).max() == 16
    assert 0.05 < (noisy(white, 16, rng) < 16).mean() < 0.06  # beyond half a level, 1.59 deviations


def test_figures_of_copies_and_of_honest_rows():
    """A copy is nearer to its image than any other is; what is dealt like the held-out images is as near, within four errors."""
    rng = np.random.default_rng(0)
    reference, held_out, honest = rng.normal(size=(3, 200, 4))
    copied = figures_of(Features(reference[:100], None), reference, held_out, rng)
    assert copied.compared["nearer than held-out"] == 1.0
    found = figures_of(Features(honest, None), reference, held_out, rng)
    assert abs(found.in_errors[NEARER]) < 4


def page_in(folder):
    page = folder / "page.md"
    page.write_text("<!-- results: metric_power.json digits/pixels -->\n<!-- end of results -->\n")
    return page


def test_table_and_picture_of_given_powers(monkeypatch, tmp_path):
    """One figure detects every fault from 200 samples on, one with any number, one never; and they are read back."""
    given = {"KID": (0.5, 0.9, 1.0), "MIND": (0.95, 1.0, 1.0), "precision": (0.0, 0.1, 0.1)}
    powers_given = [
        Power(name, fault, n, power, 0.01)
        for name, rising in given.items()
        for fault in FAULTS
        for n, power in zip((50, 200, 800), rising, strict=True)
    ]
    alarms = [Power("KID", HONEST, n, share, 0.01) for n, share in ((50, 0.04), (800, 0.06))]
    monkeypatch.setattr(metric_power, "measure", lambda name, options: powers_given + alarms)
    page = page_in(tmp_path)
    found = metric_power.main(["--sets", "digits/pixels", "--out", str(tmp_path)])
    assert found["digits/pixels"].powers == powers_given + alarms
    lines = page.read_text().splitlines()
    for row in (
        "| KID | " + "200 | " * len(FAULTS) + "4% to 6% |",
        "| MIND | " + "≤ 50 | " * len(FAULTS) + " |",
        "| precision | " + "> 800 (10%) | " * len(FAULTS) + " |",
    ):
        assert row in lines
    assert metric_power.main(["--redraw", "--out", str(tmp_path)]) == found
    assert (tmp_path / "metric_power.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_run_on_digits(tmp_path):
    """Fifty samples suffice to detect blurred digits and copies; stored results are read back for table and picture."""
    arguments, page = ["--out", str(tmp_path)], page_in(tmp_path)
    options = ["--sets", "digits/pixels", "--honest", "39", "--faulty", "2", "--largest", "50"]
    found = metric_power.main([*options, *arguments])
    rows = {line.split(" | ")[0][2:]: line.split(" | ")[1:] for line in page.read_text().splitlines() if line.startswith("| ")}  # fmt: skip
    names = list(FAULTS)
    assert rows["Frechet distance"][names.index("blur, 2x2")] == "≤ 50"
    assert rows["nearer than held-out"][names.index("all copies")] == "≤ 50"
    assert rows["KID"][names.index("1 in 10 a copy")].startswith("> 50 (")
    assert (
        "500 training and 300 held-out images, 39 honest repetitions, 2 of each" in page.read_text()
    )
    stored = json.loads((tmp_path / "metric_power.json").read_text())
    assert stored["sets"]["digits/pixels"]["measured"]["honest"] == 39
    assert metric_power.main(["--redraw", *arguments]) == found
    assert (tmp_path / "metric_power.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--sets digits/none", "--sets 'digits/none': expected IMAGES/FEATURES, of digits, mnist5k"),
        ("--sets faces/pixels", "--sets 'faces/pixels': expected"),
        ("--honest 38", "--honest=38 .* take 39 honest"),
        ("--faulty 0", "a power one of a fault"),
        ("--largest 49", "the fewest samples are 50"),
        ("--redraw --out {}", "there is no .*metric_power.json; leave it out"),
    ],
)  # fmt: skip
def test_mistakes_are_refused(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        metric_power.main(options.format(tmp_path).split())
