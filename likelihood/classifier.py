"""A classifier from one generative model for each class (Bayes' rule; Li et al. 2023 for bounds in place of likelihoods).

    P(k | x) = exp(-cost_k(x)) prior_k / sum over j of exp(-cost_j(x)) prior_j,

with cost_k = -ln p(x | class k), or a bound on it. Costs that were measured with the same noise for every class differ by less
noise than they have.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, Num
from scipy.special import log_softmax


class Classified(NamedTuple):
    """Of n images and k classes: P(class | image), and the most probable class."""

    posterior: Float[np.ndarray, "n k"]
    predicted: Integer[np.ndarray, "n"]


def classify(costs: Float[np.ndarray, "k n"], prior: Float[np.ndarray, "k"]) -> Classified:
    """Bayes' rule: P(k | image) of n images from costs (k, n), -ln p(image | k) in nats, and the classes' prior probabilities (k,).

    Computed through logarithms, in float64.
    """
    log_posterior = log_softmax(np.log(prior)[None] - np.asarray(costs, np.float64).T, axis=1)
    return Classified(np.exp(log_posterior), np.argmax(log_posterior, axis=1))


class Accuracy(NamedTuple):
    """A share of right answers with its standard error."""

    value: float
    standard_error: float


def accuracy(predicted: Num[np.ndarray, "n"], labels: Num[np.ndarray, "n"]) -> Accuracy:
    """The share of right answers with its binomial error, that of Agresti and Coull (1998).

    Two right and two wrong answers are added for the error, so that it is not 0 where all are right.
    """
    right, n = int(np.sum(predicted == labels)), len(labels)
    share = (right + 2) / (n + 4)
    return Accuracy(right / n, math.sqrt(share * (1 - share) / (n + 4)))


def confusion(
    predicted: Num[np.ndarray, "n"], labels: Num[np.ndarray, "n"], num_classes: int
) -> Num[np.ndarray, "k k"]:
    """How many images of class i (rows) were taken for class j."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts
