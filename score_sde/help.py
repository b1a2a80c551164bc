"""Help texts of main.py, without importing JAX: next steps, a screen for each mode, and the full list."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from absl import flags

from score_sde import flag_table
from score_sde.fields import Field, known_fields
from score_sde.mode_help import HELP, ModeHelp
from score_sde.reports.lines import parsed

WIDTH = 100  # columns, or the width of the terminal if that is smaller
SHORT = {
    "config": "FILE.py, FILE.py:VARIANT, or a folder in which a network was trained",
    "workdir": "folder for results; default: runs/<config name>; if trained in, its config is used",
    "sampler": "pc, ode, sde, edm, ddim, unipc_3, ...; --helpfull explains each",
    "source": "the published weights: PyTorch's .pth or .pt, a Flax file, .safetensors or .npz",
    "json": "one JSON object with the results on stdout, everything else on stderr",
    "compilation_cache": "where compiled programs are kept, or off",
    "cpu_devices": "devices to split the CPU into; one for each core is often fastest",
    "multi_host": "join the other hosts of this job",
}
COMMON = ("config", "workdir", "json", "compilation_cache", "cpu_devices", "multi_host")


def width() -> int:
    """Width of the terminal in columns, at most WIDTH."""
    return min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)


def mode_in(argv: list[str]) -> str | None:
    """The value of the last --mode in argv, or None; other arguments are ignored."""
    found = None
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name.startswith("-") and name.lstrip("-") == "mode":
            found = value if equals else following
    return found or None


def next_steps(runs: Path = Path("runs")) -> str:
    """Text for `python main.py` without arguments: commands to run as they are, with the newest trained folder if any."""
    trained = newest_trained(runs)
    folder = "runs/subvp_digits" if trained is None else shlex.quote(str(trained))
    train = "--config configs/subvp_digits.py --mode train"
    lines = [
        (train, "8x8 digits, minutes on a CPU"),
        # No --sampler, since not every network works with every sampler: the config of the folder has one.
        (f"--workdir {folder} --mode sample", "then draw" if trained is None else "draw"),
        ("--mode list", "what is in runs/"),
        ("--help", "the modes; --mode sample --help: one; --helpfull: all"),
    ]
    longest = max(len(command) for command, _ in lines)
    return "\n".join(f"python main.py {command:<{longest}}  # {what}" for command, what in lines)


def newest_trained(runs: Path) -> Path | None:
    """The most recently trained folder with a checkpoint to sample from, or None."""
    try:
        found = [(path.stat().st_mtime, path.parent) for path in runs.glob("*/config.json")]
    except OSError:
        return None
    return next((folder for _, folder in sorted(found, reverse=True) if draws(folder)), None)


def draws(folder: Path) -> bool:
    """Whether a folder has a checkpoint that can be sampled from, so not one of a classifier."""
    try:
        steps = [path.name for path in (folder / "checkpoints").iterdir()]
        config = parsed((folder / "config.json").read_bytes()) or {}
    except OSError:
        return False
    training = config.get("training")
    classifies = isinstance(training, dict) and training.get("task") == "classifier"
    return any(map(str.isdecimal, steps)) and not classifies


def overview() -> str:
    """Text for --help without a mode: the list of modes and common flags."""
    longest = max(map(len, HELP))
    lines = [cut(f"  {name:<{longest}}  {mode.does}") for name, mode in HELP.items()]
    return "\n".join(
        [
            "Usage: python main.py --config FILE --mode MODE [--workdir FOLDER] [--config.FIELD=VALUE ...]",
            "",
            "Modes:",
            *lines,
            "",
            "Flags:",
            *flag_lines((*COMMON[:2], "sampler", *COMMON[2:])),
            "",
            "python main.py --mode MODE --help   the flags and fields of a mode",
            "python main.py --helpfull           every flag, sampler and field",
            "python main.py --version            the version, and the commit of a checkout",
            'eval "$(python main.py --completion bash)"   completion by TAB; zsh and fish too',
        ]
    )


def of_mode(name: str) -> str:
    """Text for --mode NAME --help: the flags of the mode, and its main fields with their defaults."""
    mode = HELP[name]
    lines = [cut(f"--mode {name}: {mode.does}"), f"  python main.py {mode.example}"]
    lines += ["", "Flags:", *flag_lines(flags_of(name, mode))]
    if mode.fields:
        lines += [
            "",
            "Fields, as --config.NAME=VALUE, with defaults; config files change some:",
        ]
        lines += field_lines(mode.fields)
    return "\n".join([*lines, "", "--helpfull: every flag, sampler and field, in full"])


def flags_of(name: str, mode: ModeHelp) -> tuple[str, ...]:
    """The flags that a mode reads."""
    if name in ("list", "report"):
        return ("workdir", "json")
    return (*COMMON[:2], *mode.flags, *COMMON[2:])


def flag_lines(names: Iterable[str]) -> list[str]:
    """A line of help for each flag."""
    return [cut(f"  --{name:<18} {SHORT[name]}") for name in names]


def field_lines(names: Iterable[str]) -> list[str]:
    """Lines of NAME=DEFAULT and meaning, cut to the width."""
    table = known_fields()
    shown = [(f"{name}={table[name].default}", table[name]) for name in names if name in table]
    longest = min(44, max((len(text) for text, _ in shown), default=0))
    return [cut(f"  {text:<{longest}}  {meaning(field)}") for text, field in shown]


def meaning(field: Field) -> str:
    """The allowed names of a field if it has any, otherwise its description."""
    names = " | ".join(field.choices)
    return (
        names
        if names and names != "True | False" and not field.what.startswith(names)
        else field.what
    )


def cut(line: str) -> str:
    """Shorten a line to the width after a whole word, ending in ... if anything is left out."""
    most = width()
    return line if len(line) <= most else line[: most - 3].rpartition(" ")[0].rstrip() + " ..."


def in_full(about: str, values: flags.FlagValues) -> str:
    """Text for --helpfull: every flag and field."""
    every = "\n".join(
        f"--config.{name}={field.default}\n    {field.what}"
        + (
            f"\n    one of {', '.join(field.choices)}"
            if field.choices and not in_meaning(field)
            else ""
        )
        for name, field in known_fields().items()
    )
    return (
        f"{about.strip()}\n\nFlags:\n{values.module_help(flag_table.__name__)}\n\nFields:\n{every}"
    )


def in_meaning(field: Field) -> bool:
    """Whether the description of a field names all its choices already."""
    return field.choices == ("True", "False") or all(name in field.what for name in field.choices)
