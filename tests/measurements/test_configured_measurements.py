"""The fields that each measurement of a config reads."""

import re

from score_sde.measurements.configured import MEASUREMENTS
from score_sde.measurements.options import MeasurementOptions


def test_each_measurement_reads_what_the_help_says():
    """The record contains the fields whose help names the measurement, as in `name=random, frequencies: ...`."""
    said = {name: set() for name in MEASUREMENTS}
    for field, of in MeasurementOptions.options().items():
        for name in re.findall(r"\w+", re.findall(r"^name=([^:]*):|$", of.metadata["what"])[0]):
            said[name].add(field)
    assert {name: set(kind.fields) for name, kind in MEASUREMENTS.items()} == said
