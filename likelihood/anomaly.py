"""How well a score tells anomalies from normal images: the area under the ROC curve, with its error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Num


class Auc(NamedTuple):
    """P(an anomaly scores above a normal image), ties by half, and its standard error over both samples."""

    value: float
    standard_error: float


def auc(normal: Num[np.ndarray, "m"], anomalous: Num[np.ndarray, "n"]) -> Auc:
    """The AUC of scores, higher for anomalies, such as bits/dim.

    The error is that of DeLong et al. (1988): an image's placement is the share of the other sample that it is on the
    right side of, and the variance of the AUC is that of the placements' means.

    Raises:
      ValueError: fewer than two of either.
    """
    from scipy.stats import (
        rankdata,
    )  # half a second, which likelihoods without anomalies need not wait

    m, n = len(normal), len(anomalous)
    if min(m, n) < 2:
        raise ValueError(f"{m} normal images and {n} anomalies: expected two or more of each")
    both = rankdata(np.concatenate([normal, anomalous]))
    below = (both[m:] - rankdata(anomalous)) / m  # of each anomaly, the normal images below it
    above = 1.0 - (both[:m] - rankdata(normal)) / n
    variance = below.var(ddof=1) / n + above.var(ddof=1) / m
    return Auc(float(below.mean()), float(np.sqrt(variance)))
