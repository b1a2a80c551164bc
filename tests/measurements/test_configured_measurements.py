"""The fields that each measurement of a config reads."""

import re

import numpy as np

from score_sde.configs.default import get_config
from score_sde.measurements.configured import MEASUREMENTS, build_measurement
from score_sde.measurements.options import MeasurementOptions


def test_each_measurement_reads_what_the_help_says():
    """The record contains the fields whose help names the measurement, as in `name=random, frequencies: ...`."""
    said = {name: set() for name in MEASUREMENTS}
    for field, of in MeasurementOptions.options().items():
        for name in re.findall(r"\w+", re.findall(r"^name=([^:]*):|$", of.metadata["what"])[0]):
            said[name].add(field)
    assert {name: set(kind.fields) for name, kind in MEASUREMENTS.items()} == said


def test_the_box_has_half_of_either_side():
    """Of four rows and eight columns the middle two and four; what is inside is not known, hence 0 in the pseudo-inverse's image."""
    options = get_config().restore.measurement
    assert (options.name, tuple(options.box)) == ("box", ())
    linear = build_measurement(options, (4, 8, 1), 0).linear
    known = linear.pseudo_inverse(linear(np.ones((1, 4, 8, 1), np.float32)))[0, :, :, 0]
    expected = np.ones((4, 8))
    expected[1:3, 2:6] = 0
    np.testing.assert_array_equal(known, expected)
