"""The explanations in the table of --mode likelihood: for the SDE at eps, and for a chain at time 0."""

import re

import numpy as np
import pytest

from score_sde.configs.digits import digits_config
from score_sde.likelihood.bits_per_dim import BitsPerDim, Measured
from score_sde.likelihood.table import table

FALSE_OF_A_CHAIN = ("eps=", "decoder=", "SDE", "at time eps")


def text(ode, **changes):
    config = digits_config("vp")
    config.likelihood.ode = ode
    config.update_from_flattened_dict({name.replace("__", "."): of for name, of in changes.items()})
    values = np.ones((1, 2))
    one, continuous = Measured(values, values, values), config.training.continuous
    integers = not continuous and not config.data.uniform_dequantization
    return table(
        config, BitsPerDim(one if ode else None, one, None, 1.0, not continuous, integers), 6
    )


def test_of_the_sde_at_eps():
    found = text(True)
    for words in (
        "17 levels, uniform dequantization",
        "eps=1e-05, decoder=none",
        "bound on the SDE",
    ):
        assert words in found
    assert "-log p of the images at time eps=1e-05 under the reverse SDE" in found
    assert "chain" not in found
    assert "gap" in found


@pytest.mark.parametrize("dequantized", [True, False])
def test_of_a_chain_at_time_0(dequantized):
    found = text(
        False,
        training__continuous=False,
        data__uniform_dequantization=dequantized,
        likelihood__chain_levels="50",
    )
    assert not [words for words in FALSE_OF_A_CHAIN if words in found]
    assert ("uniform dequantization" in found) == dequantized
    assert (
        "chain of 1000 levels, of which chain_levels=50 are kept, with the ancestral variances"
        in found
    )
    of = "dequantized images" if dequantized else "integer images themselves"
    assert f"-log p of the {of} at time 0 under the chain" in found


def test_integer_costs_have_no_gap_to_a_density():
    found = text(True, training__continuous=False, data__uniform_dequantization=False)
    assert "gap" not in found
    assert "eps=1e-05" in found  # of the ODE
    assert "integer images themselves at time 0" in found


def test_variances_that_are_learnt_and_not_used_are_said():
    learnt = {"model__name": "dit", "model__learned_variance": True}
    assert "the learned variances are not used" in text(False, training__continuous=False, **learnt)
    assert "learned variances" not in text(False, training__continuous=False)


def test_every_number_stands_in_its_column():
    """By hand: spreads sqrt(7 / 3) and sqrt(13 / 3), between +-4.3027 of which the mean lies with 95 %; own errors of (3, 4, 0) / 10
    and (5, 12, 0); gaps 1, 2 and 3."""

    def of(bits, errors, evaluations):
        return Measured(*(np.array([values], float) for values in (bits, errors, evaluations)))

    ode = of((1, 2, 6), (0.3, 0.4, 0), (10, 20, 33))
    bound = of((2, 4, 9), (5, 12, 0), (4, 5, 9))
    found = table(digits_config("vp"), BitsPerDim(ode, bound, None, 1.0), 6)
    rows = [re.split(r"\s{2,}", line) for line in found.splitlines()]
    header = ["", "bits/dim", "+-", "95 % of means", "own error", "evaluations"]
    at = rows.index(header)
    assert rows[at + 1 : at + 4] == [
        ["probability-flow ODE", "3.0000", "1.5275", "-3.5724 .. 9.5724", "0.1667", "21.0"],
        ["bound on the SDE", "5.0000", "2.0817", "-3.9567 .. 13.9567", "4.3333", "6.0"],
        ["gap", "2.0000", "0.5774", ""],
    ]
