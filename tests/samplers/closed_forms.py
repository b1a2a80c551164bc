"""The defining functions of the processes in NumPy, for recursions independent of the library.

f and g^2 are written from the stochastic differential equations (Song et al. 2021, Eq. 30-33), not derived.
"""

from typing import NamedTuple

import numpy as np
import pytest

from score_sde.sde_lib import VE, VP, SubVP

PROCESSES = [VP(), SubVP(), VE()]
SLOW_SUBVP = pytest.param(SubVP(), marks=pytest.mark.slow)
# Where a process costs seconds, sub-VP, between the other two in everything, is left to the slow run ...
QUICK_PROCESSES = [VP(), SLOW_SUBVP, VE()]
# ... and VE, too, where nothing of the code is its own.
FAST_VP = [VP(), SLOW_SUBVP, pytest.param(VE(), marks=pytest.mark.slow)]


class ClosedForm(NamedTuple):
    """At one time: x_t | x_0 ~ N(alpha x_0, sigma^2 I), dx = f x dt + g dw; and the prior's deviation."""

    alpha: float
    sigma: float
    f: float
    g_squared: float
    prior_std: float


def vp(t):
    beta, decay = 0.1 + 19.9 * t, np.exp(-0.1 * t - 9.95 * t**2)
    return ClosedForm(decay**0.5, (1 - decay) ** 0.5, -beta / 2, beta, 1.0)


def sub_vp(t):
    beta, decay = 0.1 + 19.9 * t, np.exp(-0.1 * t - 9.95 * t**2)
    return ClosedForm(decay**0.5, 1 - decay, -beta / 2, beta * (1 - decay**2), 1.0)


def ve(t):
    growth = 0.01 * 5000.0**t
    return ClosedForm(1.0, growth, 0.0, 2 * growth**2 * np.log(5000.0), 50.0)


FORMS = {VP(): vp, SubVP(): sub_vp, VE(): ve}


def closed_form(sde, t):
    """At a time or, but for what does not depend on it, at an array of times."""
    return FORMS[sde](t)
