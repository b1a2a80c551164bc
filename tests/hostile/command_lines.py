"""Random nonsensical command lines: flags, fields of the config, and values for them."""

import random

from score_sde.configs.default import get_config
from score_sde.flag_table import MODES
from score_sde.options import value_of
from score_sde.samplers.names import SAMPLERS

CONFIGS = (
    "configs/vp_digits.py",
    "configs/subvp_digits.py:likelihood",
    "configs/toy_mixture.py",
    "configs/toy_mixture.py:ve",
    "configs/ve_cifar.py:ncsnpp_discrete",
)
NO_CONFIGS = (
    "", ":", ".", "/", "~", "~nobody/x.py", "/dev/null", "/dev/zero", "configs", "none.py", "README.md", "configs/vp_digits.py:x",
    "configs/vp_digits.py:", "config.json", "docs/digits.png", "\x1b[2J", "a" * 5000, "\udcff.py", "configs/default.py", "pyproject.toml",
)  # fmt: skip
NUMBERS = (
    "0", "1", "-1", "2", "3", "7", "8", "64", "1000", "65537", "2147483647", "2147483648", "4294967296", "9223372036854775808", "1" + "0" * 40,
    "9" * 5000, "0x" + "f" * 6000, "1e3", "0.5", "1e-9", "1e-320", "1e30", "1e308", "1e400", "nan", "inf", "-inf", "-0.0", "1e12", "1_0", "١",
)  # fmt: skip
TEXTS = (
    "", " ", "x", "none", "None", "True", "false", "{}", "[]", "()", "(1,", "1,2", "1,2.5", "(1,'a')", "((1,2),3)", "{'name': 3}", "{'a': {}}",
    "[[[[1]]]]", "(" * 300, "'", '"', "\\", "\x00"[:0], "\x1b[31m", "\n", "\udc80", "ä", "a" * 3000, "~", "~/x", "~nobody", "/", "/dev/zero", ".",
    "/proc/self/mem", "README.md", "docs/digits.png", "tests/golden/tiny_checkpoint.pth", "tests/golden/sde_vp_default.npz", "train", "test",
    "lambda: 0", "__import__('os')", "%s%n", "-5", "--", "nan,inf", "1e999,2", "0,0", "-1,-1", "1,2,3,4,5,6,7,8,9", "True,False",
)  # fmt: skip
FLAGS = (
    "--multi_host", "--nomulti_host", "--coordinator_address", "--num_processes", "--process_id", "--join_timeout", "--cpu_devices", "--workdir", "--source",
    "--flagfile", "--undefok", "--help", "--helpfull", "--version", "--config.", "--config..", "--config.seed[0]", "--config.model.ch_mult[0]",
    "--config.lock", "--config.__class__", "--config.data.name.x", "--noconfig.model.fir", "--config.nothing", "--", "-", "---", "--=", "--mode.x",
    "extra", "--v", "--logtostderr", "--pdb", "--only_check_args", "--run_with_pdb",
)  # fmt: skip


def fields(config, prefix=""):
    for name, value in config.items():
        yield prefix + name
        if hasattr(value, "items"):
            yield from fields(value, f"{prefix}{name}.")


DEFAULTS = get_config()
FIELDS = sorted(fields(DEFAULTS))


def value(draw):
    return draw.choice(NUMBERS if draw.random() < 0.5 else TEXTS)


def likely(draw, name):
    """What somebody might give: a multiple of the default, or the default of another field of its kind."""
    default = value_of(DEFAULTS, name)
    if isinstance(default, bool):
        return str(not default)
    if isinstance(default, int | float):
        return str(type(default)(default * draw.choice((0.25, 0.5, 2, 3, 10))))
    alike = [other for other in FIELDS if type(value_of(DEFAULTS, other)) is type(default)]
    return str(value_of(DEFAULTS, draw.choice(alike)))


def changed(draw, name):
    """A field with its value, now and then misspelt."""
    if draw.random() < 0.5:
        return [f"--config.{name}={likely(draw, name)}"]
    if draw.random() < 0.05:
        place = draw.randrange(len(name))
        name = name[:place] + draw.choice(("", ".", "x", "[0]")) + name[place + 1 :]
    return (
        [f"--config.{name}={value(draw)}"]
        if draw.random() < 0.9
        else [f"--config.{name}", value(draw)]
    )


def command_line(seed, workdir):
    """The arguments of this seed; they write nowhere but below `workdir`."""
    draw = random.Random(seed)
    line = []
    if draw.random() < 0.95:
        line.append("--config=" + draw.choice(CONFIGS if draw.random() < 0.9 else NO_CONFIGS))
    if draw.random() < 0.97:
        line.append("--mode=" + (draw.choice(list(MODES)) if draw.random() < 0.95 else value(draw)))
    if draw.random() < 0.3:
        line.append(f"--sampler={draw.choice([*SAMPLERS, value(draw)])}")
    for _ in range(draw.choice((0, 1, 1, 2, 2, 3, 5))):
        line += changed(draw, draw.choice(FIELDS))
    if draw.random() < 0.15:
        flag = draw.choice(FLAGS)
        line.append(f"{flag}={value(draw)}" if draw.random() < 0.5 else flag)
    if line[1:2] == ["--mode=import"] or draw.random() < 0.02:
        line.append(f"--source={value(draw)}")
    if draw.random() < 0.1:
        draw.shuffle(line)
    return [*line, f"--workdir={workdir}"]
