"""The modes and flags. Nothing heavy is imported here, so that help and completion are immediate."""

from __future__ import annotations

from collections.abc import Iterable

from absl import flags

from score_sde.compilation_cache import OFF
from score_sde.nearest import did_you_mean
from score_sde.samplers.names import SAMPLERS

# mode -> its module in modes/
MODES = {
    "data": "data",
    "train": "train",
    "replay": "replay",
    "sample": "sample",
    "interpolate": "interpolate",
    "restore": "restore",
    "dequantize": "dequantize",
    "likelihood": "likelihood",
    "classify": "classify",
    "evaluate": "evaluate",
    "tradeoff": "tradeoff",
    "import": "import_checkpoint",
    "export": "export_checkpoint",
    "merge": "merge",
    "list": "list_runs",
    "report": "report",
}
# Modes that only read folders and need neither a config nor JAX; their modules have only run(workdir).
QUICK = ("list",)

SHELLS = ("bash", "zsh", "fish")


class NameParser(flags.ArgumentParser[str]):
    """Parser of a flag whose value is one of these names."""

    def __init__(self, names: Iterable[str]):
        self.names = tuple(names)
        self.syntactic_help = "|".join(self.names)

    def parse(self, argument: str) -> str:
        if argument not in self.names:
            raise ValueError(
                f"choose one of {', '.join(self.names)}{did_you_mean(argument, self.names)}"
            )
        return argument

    def flag_type(self) -> str:
        return "name"


def defined_flags() -> flags.FlagValues:
    """All flags except those of single fields, not yet parsed."""
    values = flags.FlagValues()
    values.set_gnu_getopt()  # parse flags after other arguments, such as the values of fields, too

    def text(name: str, what: str) -> None:
        flags.DEFINE_string(name, None, what, flag_values=values)

    text(
        "config",
        "Configuration file, such as configs/vp_digits.py, or the config.json of a trained folder; default: that of --workdir. "
        "--config.FIELD=VALUE changes a field.",
    )

    def one_of(name: str, names: Iterable[str], what: str) -> None:
        flags.DEFINE(NameParser(names), name, None, what, values, flags.ArgumentSerializer())

    one_of("mode", MODES, f"What to do: {', '.join(MODES)}.")
    one_of(
        "sampler",
        SAMPLERS,
        "; ".join(f"{name}: {line}" for name, line in SAMPLERS.items())
        + "; default: config.sampling.sampler.",
    )
    text(
        "workdir", "Folder for results; default: runs/<config name>, or the folder of config.json."
    )
    text(
        "source",
        "With --mode import: the published weights, a PyTorch .pth or .pt, a Flax file, .safetensors or .npz.",
    )
    text(
        "compilation_cache",
        f"Folder in which compiled programs are kept for the next command, or {OFF}; default: $JAX_COMPILATION_CACHE_DIR, or "
        "score_sde/xla in your cache, ~/.cache.",
    )
    flags.DEFINE_integer(
        "cpu_devices",
        None,
        "Number of devices to split the CPU into, which share each batch; one for each core is often fastest: docs/speed.md. Default: one.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "json",
        False,
        "Print one JSON object with the results to stdout, and all else to stderr: docs/watching.md.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "version", False, "Print the version, and the commit of a checkout.", flag_values=values
    )
    one_of("completion", SHELLS, f"Print the script for completion by TAB in {', '.join(SHELLS)}.")
    flags.DEFINE_bool(
        "multi_host",
        False,
        "Join the other hosts of this job first: of SLURM, Kubernetes, MPI, a TPU pod, or as --coordinator_address, --num_processes and --process_id say. "
        "Start one process for each GPU under SLURM and Open MPI, elsewhere one for each host.",
        flag_values=values,
    )
    text(
        "coordinator_address",
        "With --multi_host: HOST:PORT of the process of index 0; default: $JAX_COORDINATOR_ADDRESS.",
    )
    for name, what in (
        ("num_processes", "how many processes there are; default: $JAX_NUM_PROCESSES."),
        ("process_id", "the index of this one, from 0 on; default: $JAX_PROCESS_ID."),
        ("join_timeout", "seconds to wait for the others; default: 300."),
    ):
        flags.DEFINE_integer(name, None, f"With --multi_host: {what}", flag_values=values)
    return values
