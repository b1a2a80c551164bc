"""Figures computed by other programs for stored features (tests/golden/peers/metrics_*.npz)."""

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "golden" / "peers"


@pytest.fixture(scope="module", params=["d16", "d64"])
def golden(request):
    with np.load(FOLDER / f"metrics_{request.param}.npz") as file:
        return dict(file)


def sets(golden):
    """Generated and real."""
    return golden["features_1"].astype(np.float64), golden["features_2"].astype(np.float64)
