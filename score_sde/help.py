"""What main.py says of itself, without JAX: what to do next, a screen for each mode, and everything."""

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

WIDTH = 100  # columns, or the terminal's where that is narrower
SHORT = {
    "config": "FILE.py, FILE.py:VARIANT, or a folder in which a network was trained",
    "workdir": "folder for results; default: runs/<config name>; if trained in, --config is its own",
    "sampler": "pc, ode, sde, edm, ddim, unipc_3, ...; --helpfull says what each is",
    "source": "the published checkpoint, a PyTorch .pth or a Flax file",
    "json": "one JSON object with the results on stdout, everything else on stderr",
    "compilation_cache": "where compiled programs are kept, or off",
    "cpu_devices": "devices to make of the CPU; one for each core is often fastest",
    "multi_host": "join the other hosts of this job",
}
COMMON = ("config", "workdir", "json", "compilation_cache", "cpu_devices", "multi_host")


def width() -> int:
    """Columns of the terminal, at most WIDTH."""
    return min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)


def mode_in(argv: list[str]) -> str | None:
    """The last --mode, whatever else is beside it."""
    found = None
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name.startswith("-") and name.lstrip("-") == "mode":
            found = value if equals else following
    return found or None


def next_steps(runs: Path = Path("runs")) -> str:
    """For `python main.py` alone: commands that work as they stand, with the newest trained folder if there is one."""
    trained = newest_trained(runs)
    folder = "runs/subvp_digits" if trained is None else shlex.quote(str(trained))
    train = "--config configs/subvp_digits.py --mode train"
    lines = [
        (train, "8x8 digits, minutes on a CPU"),
        # Without a sampler, as not every network takes each: the folder has one of its own.
        (f"--workdir {folder} --mode sample", "then draw" if trained is None else "draw"),
        ("--mode list", "what is in runs/"),
        ("--help", "the modes; --mode sample --help: one; --helpfull: all"),
    ]
    longest = max(len(command) for command, _ in lines)
    return "\n".join(f"python main.py {command:<{longest}}  # {what}" for command, what in lines)


def newest_trained(runs: Path) -> Path | None:
    """The folder whose training was recorded last, of those with a checkpoint to draw from."""
    try:
        found = [(path.stat().st_mtime, path.parent) for path in runs.glob("*/config.json")]
    except OSError:
        return None
    return next((folder for _, folder in sorted(found, reverse=True) if draws(folder)), None)


def draws(folder: Path) -> bool:
    """Whether it has a checkpoint, and not of a classifier."""
    try:
        steps = [path.name for path in (folder / "checkpoints").iterdir()]
        config = parsed((folder / "config.json").read_bytes()) or {}
    except OSError:
        return False
    training = config.get("training")
    classifies = isinstance(training, dict) and training.get("task") == "classifier"
    return any(map(str.isdecimal, steps)) and not classifies


def overview() -> str:
    """For --help alone: the modes."""
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
    """For --mode NAME --help: its flags, and the fields that matter most with their defaults."""
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
    """A line for each flag."""
    return [cut(f"  --{name:<18} {SHORT[name]}") for name in names]


def field_lines(names: Iterable[str]) -> list[str]:
    """NAME=DEFAULT beside the meaning, as far as a line goes."""
    table = known_fields()
    shown = [(f"{name}={table[name].default}", table[name]) for name in names if name in table]
    longest = min(44, max((len(text) for text, _ in shown), default=0))
    return [cut(f"  {text:<{longest}}  {meaning(field)}") for text, field in shown]


def meaning(field: Field) -> str:
    """The names to choose from where there are some and few enough for the line, else the words."""
    names = " | ".join(field.choices)
    return (
        names
        if names and names != "True | False" and not field.what.startswith(names)
        else field.what
    )


def cut(line: str) -> str:
    """After the last word that the screen has room for, with ... where there was more."""
    most = width()
    return line if len(line) <= most else line[: most - 3].rpartition(" ")[0].rstrip() + " ..."


def in_full(about: str, values: flags.FlagValues) -> str:
    """For --helpfull."""
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
    """Whether the meaning has the names already."""
    return field.choices == ("True", "False") or all(name in field.what for name in field.choices)
