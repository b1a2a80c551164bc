"""Parsing of the command line: a wrong flag is answered by a one-line message, never by a traceback."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from score_sde import help, version
from score_sde.compilation_cache import check_cache
from score_sde.completion import script
from score_sde.config_file import load_config
from score_sde.cpu_devices import check_cpu_devices
from score_sde.errors import UserError
from score_sde.files import user_path
from score_sde.flag_table import MODES, QUICK, defined_flags
from score_sde.guesses import guessed, no_such_field, trained_like
from score_sde.hosts import Hosts
from score_sde.mode_help import HELP
from score_sde.options import value_of
from score_sde.unread import refuse_unread, unread_beside_images, unread_fields

RECORDED = "config.json"  # in a folder with a trained network
RECORDS = (RECORDED, "environment.jsonl", "metrics.jsonl", "results.jsonl")
WITH_SAMPLER = tuple(name for name, mode in HELP.items() if "sampler" in mode.flags)

FIELD = re.compile(r"--?(no)?config\.(?P<name>[^=]*)")
ILLEGAL = re.compile(r"flag --config\.(?P<name>[^=]*)=(?P<value>.*?): ", re.DOTALL)
TYPES = {
    int: "an integer, such as 1000",
    float: "a number, such as 0.1 or 1e-3",
    bool: "True or False",
}

# Renamed fields: old name -> new name.
RENAMED = {
    "sampling.guides": "sampling.start_images",
    "sampling.errors.num_levels": "sampling.errors.num_times",
}


class Options(NamedTuple):
    """The parsed command line; the config includes the changes made there and is locked."""

    config: Any
    mode: str
    workdir: Path
    hosts: Hosts | None
    """The job to join, with --multi_host."""
    source: Path | None
    """The file to import, with --mode import only."""
    compilation_cache: str | None
    """Folder for compiled programs: compilation_cache.py."""
    json: bool = False
    """Whether to write a single JSON object to stdout: json_output.py."""
    config_file: str | None = None
    """The value of --config as given."""
    cpu_devices: int | None = None
    """Number of devices to split the CPU into: cpu_devices.py."""
    note: str = ""
    """A note to print on fields that were given and are not read."""


def parse(argv: list[str], about: str) -> Options | None:
    """Parse argv; return None if help, the version or a completion script was requested and printed.

    Raises:
      UserError: an invalid command line.
    """
    values = defined_flags()
    with refused():
        argv = values.read_flags_from_files(argv)
    answer = help_in(argv, about, values)
    if answer is not None:
        print(answer)
        return None
    refuse_old_names(argv)
    with refused():
        rest = values(argv, known_only=True)
    refuse_unknown(rest, list(values))
    if values.version or values.completion is not None:
        print(version.in_words() if values.version else script(values.completion, values))
        return None
    if values.mode is None:
        raise UserError(f"--mode is missing: give one ({', '.join(MODES)}); see --help")
    if values.mode in QUICK:
        return quick(values, rest)
    if (values.mode == "import") != (values.source is not None):
        raise UserError(
            "--mode import needs --source=FILE, the published checkpoint to read"
            if values.source is None
            else f"--source={values.source} goes with --mode import only; leave it out"
        )
    if values.sampler is not None and values.mode not in WITH_SAMPLER:
        instead = (
            "name samplers with --config.tradeoff.samplers"
            if values.mode == "tradeoff"
            else "leave it out"
        )
        raise UserError(
            f"--sampler={values.sampler} goes with --mode {', '.join(WITH_SAMPLER)}, not with {values.mode}: {instead}"
        )
    check_cache(values.compilation_cache)
    check_cpu_devices(values.cpu_devices)
    hosts = hosts_of(values)
    name, workdir = places(values)
    config = changed(default_config() if name is None else load_config(name), rest, values.sampler)
    if values.sampler is not None:
        config.sampling.sampler = values.sampler
    elif values.mode == "interpolate" and "sampling.sampler" not in fields_of(rest):
        # The only sampler that can encode images.
        config.sampling.sampler = "ode"
    images = config.evaluation.images if values.mode == "evaluate" else ""
    refuse_unread(values.mode, images, fields_of(rest), values.sampler)
    source = None if values.source is None else user_path(values.source)
    return Options(
        config,
        values.mode,
        workdir,
        hosts,
        source,
        values.compilation_cache,
        values.json,
        values.config,
        values.cpu_devices,
        note_on_unread(values.mode, config, images, fields_of(rest)),
    )


def help_in(argv: list[str], about: str, values: flags.FlagValues) -> str | None:
    """The text for --help, --helpfull or an empty command line; None if a mode is to be run."""
    given = {argument.lstrip("-") for argument in argv[1:] if argument.startswith("-")}
    if len(argv) < 2:
        return help.next_steps()
    if "helpfull" in given:
        return help.in_full(about, values)
    if not given & {"help", "h"}:
        return None
    mode = help.mode_in(argv)
    if mode is None:
        return help.overview()
    with refused():
        values["mode"].parse(mode)
    return help.of_mode(mode)


def quick(values: flags.FlagValues, rest: list[str]) -> Options:
    """The options of a mode that only reads folders; refuse any flag but --workdir and --json."""
    beside = [
        name for name in values if values[name].present and name not in ("mode", "workdir", "json")
    ]
    for given in [*(f"--{name}" for name in beside), *rest[1:]]:
        raise UserError(
            f"{given} has no effect with --mode {values.mode}, which takes only --workdir=FOLDER and --json"
        )
    folder = user_path(values.workdir or "runs")
    return Options(None, values.mode, folder, None, None, None, values.json)


def places(values: flags.FlagValues) -> tuple[str | None, Path]:
    """The config file and the folder for results; if only one of them is given, the other is derived from it."""
    if values.workdir == "":
        raise UserError("--workdir is empty: give a folder, or leave it out for runs/<config name>")
    name, workdir = values.config, None if values.workdir is None else user_path(values.workdir)
    if name is None:
        if workdir is not None and values.mode == "report":  # which needs no config
            return None, workdir
        if workdir is None or not (workdir / RECORDED).exists():
            beside = (
                "" if workdir is None else f" ({workdir} has no {RECORDED} of an earlier training)"
            )
            guess = "" if workdir is None else trained_like(workdir, RECORDED)
            raise UserError(
                f"--config is missing: give one, as configs/vp_digits.py{beside}; see --help{guess}"
            )
        return str(workdir), workdir
    if workdir is None:
        path = user_path(name)
        recorded = path.parent if path.name == RECORDED else path
        trained = recorded.is_dir() and (recorded / RECORDED).exists()
        workdir = recorded if trained else Path("runs") / config_name(name)
    return name, workdir


def hosts_of(values: flags.FlagValues) -> Hosts | None:
    """The hosts of --multi_host, by the flags and otherwise the environment; None without --multi_host."""
    given: dict[str, Any] = {
        name: values[name].value for name in Hosts._fields if values[name].present
    }
    if values.multi_host:
        return Hosts(**given).completed(os.environ)
    for name, value in given.items():
        raise UserError(f"--{name}={value} goes with --multi_host only; add that, or leave it out")
    return None


def note_on_unread(mode: str, config: Any, images: str, given: list[str]) -> str:
    """A note on given fields that have no effect: those of sampling where no image is drawn, or of another sampler; "" for none."""
    if images:
        return unread_beside_images(images, given)
    return unread_fields(mode, given, config)


def default_config() -> ConfigDict:
    """The configuration with all fields at their defaults."""
    from score_sde.configs.default import get_config  # which imports JAX

    return get_config()


def refuse_old_names(argv: list[str]) -> None:
    """Refuse a renamed field, and give its new name."""
    for argument in argv:
        field = argument.lstrip("-").removeprefix("config.").partition("=")[0]
        if argument.startswith("-") and field in RENAMED:
            raise UserError(f"--config.{field} is now --config.{RENAMED[field]}")


def refuse_unknown(rest: list[str], known: list[str]) -> None:
    """Refuse arguments that are neither flags nor fields of the config with their values."""
    follows = False  # whether this argument is the value of a field given without =
    for argument in rest[1:]:
        field = FIELD.match(argument)
        if not field and not follows:
            kind = "flag" if argument.startswith("-") else "argument"
            guess = guessed(argument, known, MODES)
            raise UserError(f"unexpected {kind} {argument!r}; see --help{guess}")
        follows = bool(field) and "=" not in argument


def fields_of(rest: list[str]) -> list[str]:
    """Names of the fields set on the command line, in order."""
    return [field["name"] for field in filter(None, map(FIELD.match, rest[1:]))]


def changed(config: ConfigDict, rest: list[str], sampler: str | None = None) -> Any:
    """The config with the fields set on the command line, locked; `sampler` is that of --sampler, for suggestions."""
    values, tuples = flags.FlagValues(), set()
    for name in fields_of(rest):
        try:
            found = value_of(config, name)
        except (KeyError, TypeError):
            raise no_such_field(config, name, sampler) from None
        if name in tuples:  # config_flags would concatenate them
            raise UserError(f"--config.{name} is given twice; give it once, as --config.{name}=1,2")
        if isinstance(found, tuple):
            tuples.add(name)
        if isinstance(found, ConfigDict):
            inside = f"{name}.{next(iter(found))}"
            raise UserError(
                f"config.{name} is a section: set its fields one by one, as --config.{inside}=VALUE"
            )
    with refused():
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
        try:
            extra = values(rest)[1:]
        except flags.IllegalFlagValueError as error:
            raise of_another_type(config, error) from error
    if extra:
        raise UserError(f"unexpected argument {extra[0]!r}; flags begin with --, see --help")
    return values.config


def of_another_type(config: ConfigDict, error: flags.IllegalFlagValueError) -> Exception:
    """The error for a value that is not of its field's type, instead of Python's own."""
    found = ILLEGAL.match(str(error))
    kind = type(value_of(config, found["name"])) if found else None
    if found is None or kind not in TYPES:
        return error
    return UserError(f"--config.{found['name']}={found['value']}: expected {TYPES[kind]}")


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Turn errors of absl and config_flags about flags into a UserError of one line."""
    try:
        yield
    except Exception as error:
        raise UserError(one_line(error)) from error


def one_line(error: BaseException) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def config_name(config_file: str) -> str:
    """configs/vp_cifar.py:ddpmpp_deep -> vp_cifar-ddpmpp_deep."""
    file, _, variant = config_file.partition(":")
    return Path(file).stem + (f"-{variant}" if variant else "")


@contextlib.contextmanager
def prepared(workdir: Path) -> Iterator[None]:
    """Create the folder, and check now rather than after training that it is writable.

    A folder created here is removed again if the mode fails or is interrupted before anything is written to it.
    """
    there = workdir.exists()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be written to ({error.strerror}); give another folder"
        ) from error
    for name in RECORDS:
        if (workdir / name).exists() and not (workdir / name).is_file():
            raise UserError(
                f"--workdir={workdir} has a {name} that is not a file, although records are written to it; give another folder"
            )
    try:
        yield
    except BaseException:
        if not there:
            with contextlib.suppress(OSError):  # the folder is not empty
                workdir.rmdir()
        raise
