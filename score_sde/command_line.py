"""The command line, read and refused in words: a wrong flag is answered in a line, never with a traceback."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import config_flags

from score_sde.errors import UserError
from score_sde.samplers.names import SAMPLERS

# Each with its file in modes/.
MODES = {
    "data": "data",
    "train": "train",
    "replay": "replay",
    "sample": "sample",
    "interpolate": "interpolate",
    "dequantize": "dequantize",
    "likelihood": "likelihood",
    "classify": "classify",
    "import": "import_checkpoint",
    "export": "export_checkpoint",
    "report": "report",
}


# Fields that had another name once.
RENAMED = {
    "sampling.guides": "sampling.start_images",
    "sampling.errors.num_levels": "sampling.errors.num_times",
}


class Options(NamedTuple):
    """What was asked for; the config has the command line's changes in it and is locked."""

    config: Any
    mode: str
    workdir: Path
    multi_host: bool
    source: Path | None
    """The file to import; with mode import and no other."""


def defined_flags(argv: list[str]) -> flags.FlagValues:
    """The flags there are, not yet parsed; config_flags looks into argv for the fields to override."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config",
        None,
        "Configuration file, as configs/vp_digits.py.",
        flag_values=values,
        sys_argv=argv,
    )
    flags.DEFINE_enum("mode", None, list(MODES), "What to do.", flag_values=values)
    flags.DEFINE_enum(
        "sampler",
        None,
        list(SAMPLERS),
        "; ".join(f"{name}: {line}" for name, line in SAMPLERS.items())
        + "; default: config.sampling.sampler.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "workdir", None, "Folder for results; default: runs/<config name>.", flag_values=values
    )
    flags.DEFINE_string(
        "source",
        None,
        "With --mode import: the published checkpoint, a PyTorch .pth or a Flax file.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "multi_host",
        False,
        "Join the other hosts of this job first (SLURM, Kubernetes, TPU pods, MPI).",
        flag_values=values,
    )
    return values


def parse(argv: list[str], about: str) -> Options | None:
    """The options in argv, or None when help was asked for and given.

    Raises:
      UserError: anything on the command line that cannot be meant.
    """
    values = defined_flags(argv)
    if {"--help", "-h", "-help"} & set(argv):
        print(about.strip() + "\n\nFlags:\n" + values.module_help(__name__))
        return None
    refuse_old_names(argv)
    extra = read_flags(values, argv)
    if extra:
        raise UserError(f"unexpected argument {extra[0]!r}; flags begin with --, see --help")
    of_folder = values.mode == "report" and values.workdir is not None  # it needs no config
    for name in ("config", "mode"):
        if values[name].value is None and not (of_folder and name == "config"):
            known = f" ({', '.join(MODES)})" if name == "mode" else ", as configs/vp_digits.py"
            raise UserError(f"--{name} is missing: give one{known}; see --help")
    if (values.mode == "import") != (values.source is not None):
        raise UserError(
            "--mode import needs --source=FILE, the published checkpoint to read"
            if values.source is None
            else f"--source={values.source} goes with --mode import only; leave it out"
        )
    config = default_config() if values["config"].value is None else values.config
    if values.sampler is not None:
        config.sampling.sampler = values.sampler
    elif values.mode == "interpolate":  # the one sampler that encodes
        config.sampling.sampler = "ode"
    workdir = Path(
        values.workdir
        or Path("runs") / config_name(config_flags.get_config_filename(values["config"]))
    ).expanduser()
    source = None if values.source is None else Path(values.source)
    return Options(config, values.mode, workdir, values.multi_host, source)


def default_config() -> Any:
    from score_sde.configs.default import get_config  # and with it JAX

    return get_config().lock()


def refuse_old_names(argv: list[str]) -> None:
    for argument in argv:
        field = argument.lstrip("-").removeprefix("config.").partition("=")[0]
        if argument.startswith("-") and field in RENAMED:
            raise UserError(f"--config.{field} is now --config.{RENAMED[field]}")


def read_flags(values: flags.FlagValues, argv: list[str]) -> list[str]:
    """Parse the flags; returns the arguments that are none."""
    try:
        extra = values(argv)[1:]
        if values["config"].value is not None:
            # config_flags keeps a file's failure to load until something is asked of the config.
            _ = values.config.is_locked
        return extra
    except AttributeError as error:  # config_flags: a field that the config does not have
        if "get_config" in str(error):
            raise UserError(
                "the file given to --config is no configuration: it has no get_config()"
            ) from error
        raise UserError(f"no such field in the config: {one_line(error)}") from error
    except OSError as error:  # config_flags: the file itself
        reason = one_line(error).rsplit("] ", 1)[-1]
        raise UserError(f"cannot read the config file given to --config: {reason}") from error
    except (flags.Error, TypeError, ValueError, SyntaxError) as error:
        raise UserError(one_line(error)) from error


def one_line(error: BaseException) -> str:
    """An error's text without the traceback and the layers of quotes that config_flags wraps it in."""
    text = str(error).replace("\\n", "\n").replace("\\'", "'").strip()
    if text[:1] in "\"'" and text[:1] == text[-1:]:
        text = text.strip("\"'")
    if "Traceback" in text:
        flag = re.match(r"flag --(\S+?):? ", text + " ")
        last = text.strip().splitlines()[-1]
        if "takes 0 positional arguments" in last:
            last = "this configuration has no variants: leave out what follows the colon"
        return (f"--{flag.group(1).removesuffix(':')}: " if flag else "") + last.split(
            "Error: ", 1
        )[-1]
    return " ".join(text.split())


def config_name(config_file: str) -> str:
    """configs/vp_cifar.py:ddpmpp_deep -> vp_cifar-ddpmpp_deep."""
    file, _, variant = config_file.partition(":")
    return Path(file).stem + (f"-{variant}" if variant else "")


def prepare_workdir(workdir: Path) -> None:
    """Make the folder, and find out now rather than after training whether it can be written to."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be written to ({error.strerror}); give another folder"
        ) from error
