"""Floating-point operations of a function: those of its convolutions and matrix products, which are nearly all of them.

A multiplication and an addition count as two, as in the utilisation figures of the field; norms, activations and sums
are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def matrix_flops(f: Callable[..., Any], *arguments: Any) -> int:
    """Of one call with arguments of these shapes; nothing is computed. A loop's body counts once for each turn of a scan.

    Raises:
      ValueError: f has a loop whose length depends on what it computes.
    """
    return _flops(jax.make_jaxpr(f)(*arguments).jaxpr)


def _flops(jaxpr: Any) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    match equation.primitive.name:
        case "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            return 2 * _size(equation.outvars[0]) * math.prod(shape[axis] for axis in contracted)
        case "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            output_features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            return 2 * _size(equation.outvars[0]) * math.prod(kernel) // output_features
        case "cond":
            # Of forms for each platform the last is the default.
            return _flops(equation.params["branches"][-1].jaxpr)
        case "while":
            raise ValueError("a loop of unknown length: its operations cannot be counted")
    times = equation.params["length"] if equation.primitive.name == "scan" else 1
    return times * sum(map(_flops, _inner(equation)))


def _size(variable: Any) -> int:
    return math.prod(variable.aval.shape)


def _inner(equation: Any) -> Iterator[Any]:
    """The programs within an equation: of a call, a scan, a custom derivative."""
    for value in equation.params.values():
        program = getattr(value, "jaxpr", value)
        if hasattr(program, "eqns"):
            yield program
