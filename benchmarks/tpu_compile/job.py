"""A compilation job: a stage of a configuration for a topology and a number of images per chip; and its records."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Self

import jax

from benchmarks.command import provenance
from benchmarks.tpu_compile import chips
from benchmarks.tpu_compile.compiling import CompilingDevices, Program
from benchmarks.tpu_compile.stages import SECTIONS, STAGES
from score_sde.command_line import changed
from score_sde.config_file import load_config
from score_sde.devices import DEVICES
from score_sde.errors import UserError
from score_sde.options import choose

CHIPS_OF_A_HOST = 8
"""Chips of one v5e host, by which the published batch is divided if no number of images per chip is given."""


@dataclasses.dataclass(frozen=True)
class Job:
    config: str
    stage: str
    topology: str
    per_chip: int = 0
    """Images per chip; 0: the config's batch divided by eight chips."""
    settings: tuple[str, ...] = ()
    """Changes NAME=VALUE of the config, parsed like main.py's --config.NAME=VALUE."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        return cls(**fields | {"settings": (*fields["settings"],)})

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    def in_full(self) -> Self:
        """The job with `per_chip` filled in."""
        batch = self._config()[SECTIONS[self.stage]].batch_size
        return dataclasses.replace(self, per_chip=self.per_chip or max(1, batch // CHIPS_OF_A_HOST))

    def _config(self) -> Any:
        given = [f"--config.{setting}" for setting in self.settings]
        return changed(load_config(self.config), ["", *given])

    def config_for(self, num_chips: int) -> Any:
        """The config with the batch size for `num_chips` chips."""
        config = self._config()
        config[SECTIONS[self.stage]].batch_size = self.per_chip * num_chips
        return config


def run(job: Job, out: Path) -> None:
    """Compile the programs of a job, and append a line to rows.jsonl for each as soon as it is compiled.

    The last line marks the job as done. A program that exceeds the memory of the chip is recorded with the compiler's message, and a
    configuration that the mode refuses with that of the UserError.
    """
    devices = chips.devices_of(job.topology)
    config = job.config_for(len(devices))
    facts = dataclasses.asdict(job) | {
        "chips": len(devices),
        "memory_of_chip": chips.chip_of(job.topology).memory,
        "data_parallel": config.data_parallel,
        "dtype": config.model.dtype,
        **versions(),
    }
    facts |= provenance("benchmarks.tpu_compile") | {"command": command(job)}

    def add(found: dict[str, Any]) -> None:
        with open(out / "rows.jsonl", "a") as file:
            file.write(json.dumps(found | facts) + "\n")

    def report(program: Program) -> None:
        add(as_row(program))
        print(program, flush=True)

    choose("data_parallel", config.data_parallel, DEVICES)
    way = DEVICES[config.data_parallel](devices)
    compiling = CompilingDevices(devices, way=way, report=report)
    try:
        with chips.refusals() as words:
            STAGES[job.stage](config, compiling)
    except UserError as error:
        add({"refused": str(error)})
    for line in words:
        add({"does_not_fit": line})
    add({"ended": True})


def versions() -> dict[str, str]:
    """Versions of the compiler."""
    return {"libtpu": chips.libtpu_version(), "jax": jax.__version__}


def as_row(program: Program) -> dict[str, Any]:
    row = program._asdict() | {
        "memory": program.memory._asdict() | {"needed": program.memory.needed}
    }
    return row | {
        "collectives": {kind: dataclasses.asdict(of) for kind, of in program.collectives.items()}
    }


def command(job: Job) -> str:
    words = [
        f"python -m benchmarks.tpu_compile --out DIR --configs {job.config} --stages {job.stage}",
        f"--topologies {job.topology} --per_chip {job.per_chip}",
        *(f"--set {setting}" for setting in job.settings),
    ]
    return " ".join(words)


def rows_of(rows: list[dict[str, Any]], job: Job) -> list[dict[str, Any]] | None:
    """The rows recorded for a job with this compiler; None if there are none or the job was interrupted."""
    fields = json.loads(job.to_json()) | versions()
    found = [row for row in rows if all(row[name] == value for name, value in fields.items())]
    return [row for row in found if "ended" not in row] if found and "ended" in found[-1] else None
