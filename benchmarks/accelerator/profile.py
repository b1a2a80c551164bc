"""Profile of a training step on a GPU: the time of its kernels by kind."""

from __future__ import annotations

import collections
import gzip
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks.accelerator.ours import TrainingSteps
from benchmarks.accelerator.setting import Row, Setting

STEPS = 3
SHOWN = 20
LIBRARY = {
    "fprop": "convolution",
    "dgrad": "convolution, gradient in its input",
    "wgrad": "convolution, gradient in its kernel",
    "gemm": "matrix product",
    "nvjet": "matrix product",
}
"""Kinds of cuDNN and cuBLAS kernels by a part of their name."""


def profile(setting: Setting) -> Iterator[Row]:
    """Yield milliseconds per step by kind of kernel, the longest first, from a trace by JAX; nothing without a GPU."""
    batch, config = setting.batch(128), setting.config(dtype="bfloat16")
    steps = TrainingSteps(config, batch)
    steps(2)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            steps(STEPS)
        (trace,) = Path(folder).rglob("perfetto_trace.json.gz")
        with gzip.open(trace, "rt") as file:
            found = kernels(json.load(file))
    for name, microseconds in found.most_common(SHOWN):
        each = microseconds / STEPS / 1e3
        yield Row("profile", name, "kernel", "bfloat16", batch, each, "ms")
    if found:
        whole = found.total() / STEPS / 1e3
        yield Row("profile", "all kernels", "kernel", "bfloat16", batch, whole, "ms")


def kernels(trace: dict[str, Any]) -> collections.Counter[str]:
    """Sum the microseconds of each kind of kernel over the streams of the GPUs."""
    events = trace["traceEvents"]
    gpus = {
        event["pid"]
        for event in events
        if event.get("name") == "process_name" and "GPU" in event["args"]["name"]
    }
    streams = {
        (event["pid"], event["tid"])
        for event in events
        if event.get("name") == "thread_name"
        and event["pid"] in gpus
        and event["args"]["name"].startswith("Stream")
    }
    found: collections.Counter[str] = collections.Counter()
    for event in events:
        if event.get("ph") == "X" and (event["pid"], event["tid"]) in streams:
            found[kind(event["name"])] += event["dur"]
    return found


def kind(kernel: str) -> str:
    """The kind of a library kernel; else the name of the kernel without trailing numbers."""
    for part, what in LIBRARY.items():
        if part in kernel:
            return what
    return kernel.rstrip("0123456789_.")
