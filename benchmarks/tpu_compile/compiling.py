"""Devices that compile programs instead of running them.

They are passed to the project's own functions, so the compiled programs are those of an actual run: calling a mapped function
compiles it for the shapes of its arguments, reports the result of the compiler, and returns the shapes of the function's results.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.tpu_compile.collectives import Sent, collectives
from score_sde.devices import Devices, Mapped
from score_sde.devices.mapped import Flag, Function, Places, Shares


class Memory(NamedTuple):
    """Bytes per chip, including the padding of tiles."""

    arguments: int
    outputs: int
    aliased: int
    """Outputs that reuse the memory of donated arguments."""
    temporaries: int
    code: int

    @property
    def needed(self) -> int:
        """Total memory needed at once."""
        return self.arguments + self.outputs - self.aliased + self.temporaries + self.code


class Program(NamedTuple):
    """The compiler's report on one program. A loop of unknown length counts as one iteration."""

    name: str
    seconds: float
    """Compilation time."""
    memory: Memory
    flops: float
    """Floating-point operations per chip, as counted by XLA."""
    bytes_accessed: float
    optimal_seconds: float | None
    """XLA's internal estimate of the run time, not a measurement."""
    collectives: dict[str, Sent]


def program(name: str, lowered: Any) -> Program:
    """Compile a lowered program and return the compiler's report."""
    began = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - began
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    return Program(
        name,
        seconds,
        Memory(
            memory.argument_size_in_bytes,
            memory.output_size_in_bytes,
            memory.alias_size_in_bytes,
            memory.temp_size_in_bytes,
            memory.generated_code_size_in_bytes,
        ),
        cost.get("flops", 0.0),
        cost.get("bytes accessed", 0.0),
        cost.get("optimal_seconds"),
        collectives(compiled.as_text()),
    )


class Compiled(Mapped):
    """A mapped function that is compiled instead of called."""

    def __init__(self, name: str, mapped: Mapped, report: Callable[[Program], None]):
        super().__init__(mapped.run, *mapped.beside)
        self.name, self.report = name, report
        self.known: dict[Any, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        key = (tree, *((np.shape(leaf), str(jax.dtypes.result_type(leaf))) for leaf in leaves))
        if key not in self.known:
            lowered = self.lower(*arguments)
            self.report(program(self.name, lowered))
            self.known[key] = shapes(lowered.out_info)
        return self.known[key]


def shapes(tree: Any) -> Any:
    """Replace the arrays of a tree by their shapes and dtypes."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


@dataclasses.dataclass(frozen=True)
class CompilingDevices(Devices):
    """Compiling stand-in for the devices of `way`, which determines how they share a batch."""

    way: Devices = dataclasses.field(kw_only=True)
    report: Callable[[Program], None] = dataclasses.field(kw_only=True)

    def data_parallel(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = True, donate: Places = ()
    ) -> Mapped:
        run = self.way.data_parallel(f, mapped, out_mapped, donate)
        return Compiled(f.__name__, run, self.report)

    def program(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = False, donate: Places = ()
    ) -> Mapped:
        return Compiled(f.__name__, self.way.program(f, mapped, out_mapped, donate), self.report)

    def joined(
        self, f: Function, arguments: tuple[Any, ...], mapped: tuple[Flag, ...], like: Any
    ) -> Shares:
        return self.way.joined(f, arguments, mapped, like)

    def split(self, tree: Any) -> Any:
        """The shapes of mapped arguments, from those of the rows of all hosts."""
        count = len(self.devices)

        def split(leaf: Any) -> jax.ShapeDtypeStruct:
            rows = leaf.shape[0]
            lead = (rows,) if self.way.batch_axes == 1 else (count, rows // count)
            return jax.ShapeDtypeStruct((*lead, *leaf.shape[1:]), leaf.dtype)

        return jax.tree.map(split, tree)
