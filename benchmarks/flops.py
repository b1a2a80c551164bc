"""Count the floating-point operations of a function: those of convolutions and matrix products, which are nearly all of them.

A multiply-add counts as two operations, as in the usual figures of utilization; norms, activations and sums are not
counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def matrix_flops(f: Callable[..., Any], *arguments: Any) -> int:
    """Operations of one call with arguments of these shapes; nothing is computed. The body of a scan counts once per iteration.

    Raises:
      ValueError: f has a while loop, whose length is not known in advance.
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
            # Among the branches for different platforms the last is the default.
            return _flops(equation.params["branches"][-1].jaxpr)
        case "while":
            raise ValueError("a loop of unknown length: its operations cannot be counted")
    times = equation.params["length"] if equation.primitive.name == "scan" else 1
    return times * sum(map(_flops, _inner(equation)))


def _size(variable: Any) -> int:
    return math.prod(variable.aval.shape)


def _inner(equation: Any) -> Iterator[Any]:
    """Yield the jaxprs inside an equation: of a call, a scan or a custom derivative."""
    for value in equation.params.values():
        program = getattr(value, "jaxpr", value)
        if hasattr(program, "eqns"):
            yield program
