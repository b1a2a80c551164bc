"""Sizes of the published networks, from their options (Song et al. 2021; counts of the published code)."""

import math

import pytest

from score_sde.foreign_weights.names import parameters
from score_sde.models.ddpm import DDPM
from score_sde.models.ncsnpp import NCSNpp

FIR_32 = {"fir": True, "progressive_input": "residual"}
FOURIER = {"embedding_type": "fourier", "scale_by_sigma": True, "centered": False}
PYRAMIDS = {"fir": True, "progressive": "output_skip", "progressive_input": "input_skip"}
WIDE = (1, 1, 2, 2, 2, 2, 2)

# name: (network, parameters with the Fourier frequencies, arrays, layers)
PUBLISHED = {
    "ve/cifar10_ncsnpp_continuous": (NCSNpp(32, **FIR_32, **FOURIER), 62_758_915, 571, 59),
    "vp/cifar10_ncsnpp_continuous": (NCSNpp(32, **FIR_32), 62_693_251, 570, 58),
    "ve/celeba_ncsnpp": (NCSNpp(64, **FIR_32, scale_by_sigma=True), 62_693_251, 570, 58),
    "ve/cifar10_ncsnpp_deep_continuous": (
        NCSNpp(32, num_res_blocks=8, **FIR_32, **FOURIER),
        107_587_075,
        963,
        95,
    ),
    "vp/cifar10_ncsnpp_deep_continuous": (
        NCSNpp(32, num_res_blocks=8, **FIR_32),
        107_521_411,
        962,
        94,
    ),
    "vp/cifar10_ddpmpp_continuous": (NCSNpp(32), 61_804_419, 564, 55),
    "vp/cifar10_ddpmpp_deep_continuous": (NCSNpp(32, num_res_blocks=8), 106_632_579, 956, 91),
    "vp/ddpm/cifar10": (DDPM(32, num_res_blocks=2), 35_218_947, 308, 37),
    "ve/church_ncsnpp_continuous (256 px)": (
        NCSNpp(256, ch_mult=WIDE, num_res_blocks=2, **PYRAMIDS, **FOURIER),
        65_574_549,
        645,
        77,
    ),
    "ve/ffhq_ncsnpp_continuous (1024 px)": (
        NCSNpp(
            1024,
            nf=16,
            ch_mult=(1, 2, 4, 8, 16, 32, 32, 32),
            num_res_blocks=1,
            **PYRAMIDS,
            **FOURIER,
        ),
        105_785_896,
        553,
        70,
    ),
    "vp/ddpm/church (256 px)": (
        DDPM(256, ch_mult=(1, 1, 2, 2, 4, 4), num_res_blocks=2),
        111_569_923,
        430,
        51,
    ),
}


# The smallest of each class, and one with FIR filters.
QUICK = ("vp/ddpm/cifar10", "vp/cifar10_ddpmpp_continuous", "ve/celeba_ncsnpp")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PUBLISHED],
)
def test_parameters_of_published_networks(name):
    network, count, arrays, layers = PUBLISHED[name]
    found = parameters(network)
    assert sum(math.prod(p.shape) for p in found) == count
    assert len(found) == arrays
    # The last layer is the last of the published list, which counts from 0.
    assert found[-1].name == f"all_modules.{layers - 1}.bias"
