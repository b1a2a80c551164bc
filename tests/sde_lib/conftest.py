"""Shared by the tests of the forward processes."""

import pytest

from score_sde.sde_lib import SDES, VE, VP, ShiftedCosine, SubVP

OTHERS = [VP(0.3, 12.0), SubVP(0.3, 12.0), VE(0.02, 90.0), ShiftedCosine(12.0, -10.0, -2.0)]
PROCESSES = [build() for build in SDES.values()] + OTHERS


@pytest.fixture(params=PROCESSES, ids=repr)
def sde(request):
    """Every registered process with its defaults, and other parameters of some."""
    return request.param
