"""Expectations over Gaussian data, noise and levels by product quadrature, in place of Monte Carlo."""

import itertools

import numpy as np


def gaussian_nodes(dimension, order=3):
    """Nodes (k, dimension) and weights (k,) of a standard normal; order 3 is exact for squares of squares' roots."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    grid = np.array(list(itertools.product(nodes, repeat=dimension)))
    products = np.array(list(itertools.product(weights / weights.sum(), repeat=dimension)))
    return grid, products.prod(axis=1)


def uniform_nodes(order):
    """Nodes and weights of [0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return 0.5 * (nodes + 1), 0.5 * weights


def product(*rules):
    """All combinations of the nodes of rules (nodes, weights): their arrays (k, ...), then the weights (k,)."""
    indices = np.indices([len(weights) for _, weights in rules]).reshape(len(rules), -1)
    nodes = [nodes[i] for (nodes, _), i in zip(rules, indices, strict=True)]
    weights = [weights[i] for (_, weights), i in zip(rules, indices, strict=True)]
    return *nodes, np.prod(weights, axis=0)
