"""What the tests of the forward processes share."""

import pytest

from score_sde.sde_lib import SDES, VE, VP, SubVP

PROCESSES = [build() for build in SDES.values()] + [VP(0.3, 12.0), SubVP(0.3, 12.0), VE(0.02, 90.0)]


@pytest.fixture(params=PROCESSES, ids=repr)
def sde(request):
    """Every registered process with its defaults, and other parameters of the published three."""
    return request.param
