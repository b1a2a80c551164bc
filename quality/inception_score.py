"""The Inception score: how certain a classifier is about each image, and how even its classes are (Salimans et al. 2016)."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from score_sde.quality.estimate import Estimate, mean_of


def inception_score(logits: np.ndarray, splits: int = 10) -> Estimate:
    """The mean over parts of exp(mean over images of KL(p(class | image) | p(class))), and the standard error of that mean.

    The parts are consecutive and as equal in size as possible. p(class) is the mean of each part, so that the score grows with
    the size of the parts. Papers report the standard deviation over parts instead, which is sqrt(splits) times as large.

    Args:
      logits: (n, classes), of images in random order, with n at least `splits`.
      splits: number of parts, 10 in papers; with one part the error is NaN.
    """
    count = len(logits)
    if not 1 <= splits <= count:
        raise ValueError(
            f"an Inception score of {count} images in {splits} parts: expected one image each"
        )
    log_p = log_softmax(np.asarray(logits, np.float64), axis=1)
    ends = [i * count // splits for i in range(splits + 1)]
    scores = [part_score(log_p[start:end]) for start, end in zip(ends, ends[1:], strict=False)]
    return mean_of(np.array(scores))


def part_score(log_p: np.ndarray) -> float:
    """The score of one part, from log p(class | image) (n, classes)."""
    p = np.exp(log_p)
    log_mean = np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
    return float(np.exp(np.mean(np.sum(p * (log_p - log_mean), axis=1))))
