"""Curves agree with their axes: values are read back from the drawing."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from score_sde.reports.chart import MOST_POINTS, chart, short, thinned, ticks


def drawing(html):
    """Labels of the two axes with their places, and the places of each curve's points."""
    svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", html)[0])
    labels = [
        (one.get("text-anchor"), float(one.get("x")), float(one.get("y")), one.text)
        for one in svg.iter("text")
    ]
    lines = [
        [tuple(map(float, p.split(","))) for p in line.get("points").split()]
        for line in svg.iter("polyline")
    ]
    return labels, [np.array(line) for line in lines]


def value_of(label):
    factor = {"k": 1e3, "M": 1e6, "G": 1e9}.get(label[-1], 1)
    return factor * float(label.rstrip("kMG").replace(",", ""))


@pytest.mark.parametrize("log", [False, True])
def test_values_can_be_read_off_the_axes(log):
    steps = np.arange(1, 41) * 500.0
    values = 1000 * np.exp(-steps / 2500) if log else 3 + np.sin(steps / 3000)
    html = chart("A title", {"a curve": list(zip(steps, values, strict=True))}, may_be_log=log)
    labels, (places,) = drawing(html)
    assert ("log scale" in html) == log
    across = [(x, value_of(label)) for anchor, x, y, label in labels if anchor == "middle"]
    # A label stands four units below its line.
    up = [(y - 4, value_of(label)) for anchor, x, y, label in labels if anchor == "end"]
    assert len(across) >= 3
    assert len(up) >= 3
    read = np.interp(places[:, 0], *np.array(across).T, left=np.nan, right=np.nan)
    np.testing.assert_allclose(read[~np.isnan(read)], steps[~np.isnan(read)], atol=60)
    y, v = np.array(sorted(up)).T
    assert (np.diff(v) < 0).all()  # the greater stand higher, and the later to the right
    assert (np.diff(np.array(sorted(across))[:, 1]) > 0).all()
    read = np.interp(places[:, 1], y, np.log(v) if log else v, left=np.nan, right=np.nan)
    inside = ~np.isnan(read)
    assert inside.sum() > 10
    np.testing.assert_allclose(read[inside], (np.log(values) if log else values)[inside], atol=0.02)


def test_a_long_curve_keeps_its_peaks():
    points = [(float(i), 1.0) for i in range(10_000)]
    points[1234], points[7777] = (1234.0, 9.0), (7777.0, -3.0)
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS
    assert {(1234.0, 9.0), (7777.0, -3.0)} <= set(kept)
    assert kept == sorted(kept)
    assert thinned(points[:MOST_POINTS]) == points[:MOST_POINTS]


def test_a_long_curve_is_drawn_from_its_first_step_to_its_last_value():
    """Which the legend states, though smaller and greater ones are next to it."""
    rng = np.random.default_rng(0)
    points = [(float(i), 2.0 + (-1) ** i * rng.uniform(0.5, 1.5)) for i in range(10_000)]
    points[0], points[-1] = (0.0, 2.0), (9999.0, 2.125)
    kept = thinned(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert len(kept) <= MOST_POINTS
    assert "<b>2.125</b>" in chart("A title", {"a curve": points})


@pytest.mark.parametrize(
    "points",
    [
        [(5.0, 2.0)],
        [(5.0, 0.0)],
        [(5.0, 0.0), (6.0, 5e-324)],
        [(5.0, 1e-290), (6.0, 1e290)],
        [(1.0, -1e299), (1.0, 1e299)],
    ],
)
def test_curves_of_a_point_or_of_any_size_are_drawn(points):
    _, (places,) = drawing(chart("A title", {"a curve": points}))
    assert np.isfinite(places).all()
    assert (places >= 0).all()
    assert (places[:, 0] <= 380).all()
    assert (places[:, 1] <= 220).all()


def test_nothing_is_no_chart():
    assert chart("A title", {"a curve": []}) == ""


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.13, 0.19, [0.14, 0.16, 0.18]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round(low, high, expected):
    np.testing.assert_allclose(ticks(low, high), expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.13244, "0.1324"),
        (1300, "1,300"),
        (52_000, "52k"),
        (1.3e6, "1.3M"),
        (2e-5, "2e-05"),
        (0, "0"),
        (-1.5, "-1.5"),
        (1e20, "1e+20"),
    ],
)
def test_numbers_are_short(value, expected):
    assert short(value) == expected
