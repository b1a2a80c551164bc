"""Anomaly detection: the area under the ROC curve of a scalar score, with its standard error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Num


class Auc(NamedTuple):
    """P(an anomaly scores above a normal image), ties counted as 1/2, and its standard error over both samples."""

    value: float
    standard_error: float


def auc(normal: Num[np.ndarray, "m"], anomalous: Num[np.ndarray, "n"]) -> Auc:
    """The AUC of scores that are higher for anomalies, such as bits/dim.

    The standard error is that of DeLong et al. (1988): the placement of an image is the fraction of the other sample that it
    is ranked correctly against, and the variance of the AUC is that of the two mean placements.

    Raises:
      ValueError: fewer than two scores of either kind.
    """
    from scipy.stats import (
        rankdata,
    )  # takes half a second to import, so only where anomalies are scored

    m, n = len(normal), len(anomalous)
    if min(m, n) < 2:
        raise ValueError(f"{m} normal images and {n} anomalies: expected two or more of each")
    both = rankdata(np.concatenate([normal, anomalous]))
    below = (both[m:] - rankdata(anomalous)) / m  # fraction of normal images below each anomaly
    above = 1.0 - (both[:m] - rankdata(normal)) / n
    variance = below.var(ddof=1) / n + above.var(ddof=1) / m
    return Auc(float(below.mean()), float(np.sqrt(variance)))
