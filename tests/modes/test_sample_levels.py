"""Which integer image a sample becomes: the rule follows from the training, or is the published one."""

import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.modes.sample import levels


@pytest.mark.parametrize(
    ("dequantized", "truncate", "level"),
    # 0.1998 and 0.99 are levels 50.9 and 252.4 of [0, 255], and lie in the intervals of levels 51 and 253 of 256.
    [
        (False, False, [51, 252]),
        (True, False, [51, 253]),
        (False, True, [50, 252]),
        (True, True, [50, 252]),
    ],
)
def test_levels_follow_the_config(dequantized, truncate, level):
    config = get_config()
    config.data.centered = False
    config.data.uniform_dequantization = dequantized
    config.sampling.truncate = truncate
    np.testing.assert_array_equal(levels(config, jnp.array([[[[0.1998, 0.99]]]])), [[[level]]])
