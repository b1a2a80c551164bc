"""A classifier from one generative model per class (Bayes' rule; Li et al. 2023 for bounds in place of likelihoods).

    P(k | x) = exp(-cost_k(x)) prior_k / sum over j of exp(-cost_j(x)) prior_j,

with cost_k = -ln p(x | class k), or a bound on it. If the costs of all classes are measured with the same noise, much of it cancels
in their differences.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, Num
from scipy.special import log_softmax


class Classified(NamedTuple):
    """P(class | image) of n images and k classes, and the most probable class of each image."""

    posterior: Float[np.ndarray, "n k"]
    predicted: Integer[np.ndarray, "n"]


def classify(costs: Float[np.ndarray, "k n"], prior: Float[np.ndarray, "k"]) -> Classified:
    """Apply Bayes' rule to costs -ln p(image | class) in nats, (k, n), with prior probabilities (k,) of the classes.

    Computed in log space, in float64.
    """
    log_posterior = log_softmax(np.log(prior)[None] - np.asarray(costs, np.float64).T, axis=1)
    return Classified(np.exp(log_posterior), np.argmax(log_posterior, axis=1))


class Accuracy(NamedTuple):
    """A fraction of correct predictions with its standard error."""

    value: float
    standard_error: float


def accuracy(predicted: Num[np.ndarray, "n"], labels: Num[np.ndarray, "n"]) -> Accuracy:
    """The fraction of correct predictions with the binomial standard error of Agresti and Coull (1998).

    The error is that of two more correct and two more wrong predictions, so that it is not 0 if all are correct.
    """
    right, n = int(np.sum(predicted == labels)), len(labels)
    share = (right + 2) / (n + 4)
    return Accuracy(right / n, math.sqrt(share * (1 - share) / (n + 4)))


def confusion(
    predicted: Num[np.ndarray, "n"], labels: Num[np.ndarray, "n"], num_classes: int
) -> Num[np.ndarray, "k k"]:
    """The number of images of class i (rows) that were predicted as class j (columns)."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts
