"""Documented commands, reduced so that all can be run; or the reason why one is not run.

A command is run unless a rule of NOT_RUN matches it. Counts are limited to those of AT_MOST for any configuration; networks
that a page assumes to be trained are trained first, by the documented command that trains into the folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from score_sde.command_line import config_name, parse
from score_sde.flag_table import QUICK
from score_sde.models.networks import NETWORKS
from score_sde.training.trained_score import EXACT
from tests.documented_commands import MAIN, ROOT, Command, commands

NOT_RUN = (
    (r"--source[ =]|\.pth?\b", "reads published weights, which have to be fetched"),
    (r"--multi_host", "needs several hosts; tests/generation/test_two_hosts.py joins two"),
    (r"(adm|edm2)_imagenet|edm_ffhq|(vp|ve)_256|ve_1024|ve_celeba|/adm64", "a network for 64 to 1,024 pixels compiles for many minutes; tests/configs/ builds each"),
    (r"=FILE\b", "FILE stands for a file of the reader's"),
    (r"benchmarks\.metric_power.*alexnet", "reads published weights, which have to be fetched"),
    (r"benchmarks\.tpu_compile", "needs libtpu; tests/benchmarks/test_tpu_compile.py runs it where it is"),
    (r"benchmarks\.accelerator|benchmarks\.beside_pytorch", "times a machine, in minutes that it is told; tests/benchmarks/test_accelerator.py and test_beside_pytorch.py run them for moments"),
    (r"tests\.(hostile|mutants)", "a test itself, of hours; tests/hostile/test_hostile.py and tests/mutants/test_catalogue.py run parts"),
)  # fmt: skip
"""Expressions, and why a command in which one is found is not run."""

AT_MOST = {
    "training.n_iters": 2,
    "training.batch_size": 8,
    "training.log_freq": 1,
    "training.eval_freq": 1,
    "training.checkpoint_freq": 1,
    "training.snapshot_freq": 2,
    "training.snapshot_size": 4,
    "training.snapshot_steps": 4,
    "training.quality_freq": 1,
    "training.quality_images": 20,
    "training.quality_steps": 4,
    "training.replay_step": 1,
    "training.ema.save_freq": 1,
    "optim.warmup": 1,
    "optim.decay_after": 1,
    "model.nf": 32,
    "model.num_res_blocks": 2,
    "model.width": 128,
    "model.depth": 4,
    "model.num_heads": 4,
    "sampling.num_images": 20,
    "sampling.batch_size": 20,
    "sampling.errors.num_images": 20,
    "sampling.pc.num_steps": 4,
    "sampling.ode.num_steps": 4,
    "sampling.sde.num_steps": 4,
    "sampling.exponential.num_steps": 4,
    "sampling.edm.num_steps": 4,
    "sampling.guidance.worse_step": 1,
    "interpolation.frames": 3,
    "restore.num_images": 2,
    "restore.draws": 2,
    "likelihood.num_images": 2,
    "likelihood.bound_draws": 2,
    "likelihood.num_probes": 2,
    "dequantizer.n_iters": 2,
    "dequantizer.checkpoint_freq": 1,
    "dequantizer.num_images": 2,
}
AT_LEAST = {
    f"{section}.{name}": 0.1
    for section in ("sampling.ode", "sampling.sde", "sampling.exponential", "likelihood")
    for name in ("rtol", "atol")
}
"""Tolerances: an untrained network's path is no easy one."""
ALL = ("likelihood.num_images", "dequantizer.num_images")
"""Fields whose 0 means all images."""
TRADEOFF = ["--config.tradeoff.samplers=ddim, dopri5 adaptive", "--config.tradeoff.evaluations=(5,)", "--config.tradeoff.tolerances=(0.1,)"]  # fmt: skip
"""In place of every sampler at every budget."""
OF_MODULES = {
    "--block": ["0"], "--repeats": ["1"], "--rounds": ["1"], "--steps": ["2"], "--updates": ["2"], "--samples": ["20"], "--gradients": ["2"],
    "--num_images": ["2"], "--images": ["2"], "--draws": ["1"], "--honest": ["39"], "--faulty": ["2"], "--largest": ["50"],
    "--batches": ["1", "2"], "--resolutions": ["8", "16"], "--tolerances": ["1", "2"], "--devices": ["2"], "--quick": [],
    "--seconds": ["1"], "--only": ["fast"],
}  # fmt: skip
"""Flags of benchmarks, with values that are done soon."""
DIGITS = "--config configs/subvp_digits.py --mode train --workdir"
LORA = "--config.training.init_from=runs/base --config.training.lora.rank=4"
SUPPOSED = {
    "runs/demo": f"{DIGITS} runs/demo",  # by make demo
    "runs/a": f"{DIGITS.replace('subvp', 'vp')} runs/a",
    "runs/b": f"{DIGITS.replace('subvp', 'vp')} runs/b",
    "runs/sevens": f"{DIGITS} runs/sevens {LORA} --config.data.label=7",  # as runs/threes
    "runs/faces": "--config examples/own_images.py --config.data.folder=pictures/ --mode train --workdir runs/faces",
}
"""Folders that the documents name and do not train."""
FOLDER = re.compile(r"\bruns/[\w-]+")
STEP = re.compile(r"_\d+\.npz$")  # of what was exported after so many updates
NEW = ("import", "merge")  # modes that refuse a folder with checkpoints
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
"""Compiling takes most of the time of two updates, and less so."""
TWO = " --xla_force_host_platform_device_count=2"
LONGEST = 1200  # seconds, of a command on a busy machine


def reason(command: Command) -> str | None:
    """Why it is not run; None: it is."""
    return next((why for found, why in NOT_RUN if re.search(found, command.text)), None)


def copied_checkout(folder: Path) -> Path:
    """The checkout's files, and those that the documents suppose their reader to have."""
    left_out = shutil.ignore_patterns(".*", "runs", "build", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=left_out)
    rng = np.random.default_rng(0)
    for part in ("one", "two"):
        (folder / "pictures" / part).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / part / f"{i}.png")
    colours = rng.integers(256, size=(40, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(40) % 10
    np.savez(
        folder / "cifar10.npz",
        images=colours,
        labels=labels,
        test_images=colours,
        test_labels=labels,
    )
    np.savez(folder / "their_samples.npz", images=colours)
    register_example(folder)
    small = rng.integers(17, size=(40, 4, 4, 1), dtype=np.uint8)
    np.savez(folder / "small_digits.npz", images=small, test_images=small)
    return folder


def register_example(folder: Path) -> None:
    """Add the process that docs/tutorials/extending.md writes, as it says."""
    page = (folder / "docs" / "tutorials" / "extending.md").read_text()
    (example,) = re.findall(r"```python\n# sde_lib/straight.py.*?\n(.*?)```", page, flags=re.DOTALL)
    (folder / "sde_lib" / "straight.py").write_text(example)
    with open(folder / "sde_lib" / "__init__.py", "a") as file:
        file.write('from score_sde.sde_lib.straight import Straight\nSDES["straight"] = Straight\n')


def small(options: Any) -> list[str]:
    """Further arguments, with which a command of main.py is done soon."""
    config, found = options.config, []
    if (
        options.mode == "tradeoff" and not config.tradeoff.samplers
    ):  # else it names them, as a model without a score has to
        found += TRADEOFF
    of_network = NETWORKS.get(config.model.name)
    for name, most in AT_MOST.items():
        section, field = name.rsplit(".", 1)
        if section == "model" and (of_network is None or field not in of_network.options()):
            continue  # else a benchmark, whose config has the default, would not find the network that was trained
        value = config_value(config, name)
        if value is not None and (value > most or (value == 0 and name in ALL)):
            found.append(f"--config.{name}={most}")
    for name, least in AT_LEAST.items():
        if config_value(config, name) < least:
            found.append(f"--config.{name}={least}")
    if (
        config.training.keep_best_by == "frechet_limit"
    ):  # which needs several times as many images as features
        found.append("--config.training.quality_images=300")
    if config.data.name == "cifar10":
        found += ["--config.data.name=arrays", "--config.data.file=cifar10.npz"]
    return found


def config_value(config: Any, dotted: str) -> Any:
    """Of a field, None where a network of the config has no such field."""
    for name in dotted.split("."):
        config = config.get(name)
        if config is None:
            return None
    return config


def small_of_module(module: str) -> list[str]:
    """Further arguments of a benchmark, of flags that it has."""
    place = ROOT.joinpath(*module.split("."))
    files = place.glob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    text = "".join(file.read_text() for file in files)
    flags = {flag: values for flag, values in OF_MODULES.items() if f'"{flag}"' in text}
    return [part for flag, values in flags.items() for part in (flag, *values)]


def trainers(document: str) -> dict[str, tuple[str, ...]]:
    """Arguments of the command that trains into a folder, by the folder.

    It is the first that the document has, else the first of another document; else the configuration is trained that a command names
    with the folder.
    """
    found = {folder: tuple(text.split()) for folder, text in SUPPOSED.items()}
    ordered = sorted(commands(MAIN), key=lambda command: command.document != document)
    for training in (True, False):
        for command in ordered:
            given, flags = command.arguments, flags_of(command.arguments)
            if "--config" not in flags or reason(command):
                continue
            folder = flags.get("--workdir", f"runs/{config_name(flags['--config'])}")
            place = () if "--workdir" in flags else ("--workdir", folder)
            if not training:
                given, place = (
                    ("--config", flags["--config"], "--mode", "train"),
                    ("--workdir", folder),
                )
            if not training or flags.get("--mode") == "train":
                found.setdefault(folder, (*given, *place))
    return found


def flags_of(given: tuple[str, ...]) -> dict[str, str]:
    """What follows each flag, where it is not joined to it by =."""
    return dict(zip(given, given[1:], strict=False))


def without_tables(folder: Path, name: str) -> None:
    """Remove the tables of this file of results from the pages: a command of few rows makes only some of them again."""
    block = rf"<!-- results: {re.escape(name)}(?: \S+)? -->.*?<!-- end of results -->"
    for page in folder.glob("*.md"):
        page.write_text(re.sub(block, "", page.read_text(), flags=re.DOTALL))


class Reader(NamedTuple):
    """Of the documents, who has a checkout and does what they say."""

    checkout: Path
    programs: Path
    """Compiled, which commands share."""
    trainers: dict[str, tuple[str, ...]]

    def refused(self, command: Command) -> str | None:
        """The errors of a command, None where it has none."""
        if command.text.startswith(MAIN):
            return self.of_main(command.arguments)
        module, *rest = command.arguments
        for folder in FOLDER.findall(command.text):
            if folder in self.trainers and (error := self.trained(folder)):
                return error
        # Rows of the whole would not go with those of a few images.
        for file in (self.checkout / "docs").glob(f"{module.rpartition('.')[2]}.json*"):
            file.unlink()
            without_tables(self.checkout / "docs", file.name)
        return self.ended(["-m", module, *rest, *small_of_module(module)])

    def of_main(self, given: tuple[str, ...]) -> str | None:
        """The same, of main.py, with fewer images and updates."""
        given = tuple(STEP.sub("_2.npz", re.sub(r"^/.*", "runs", one)) for one in given)
        folder = flags_of(given).get("--workdir")
        mode = flags_of(given).get("--mode")
        if mode in QUICK or not {"--config", "--workdir"} & set(given):
            return self.ended(["main.py", *given])
        if "--config" not in given and (error := self.trained(folder)):
            return error
        with contextlib.chdir(self.checkout):
            options = parse(["main.py", *given], "")
        if mode in NEW:
            shutil.rmtree(self.checkout / options.workdir, ignore_errors=True)
        base = str(options.config.model.get("control_base"))
        needed = set(FOLDER.findall(" ".join((*given, base)))) - {str(options.workdir)}
        if mode not in (*NEW, "train", "data") and options.config.model.name != EXACT:
            needed.add(str(options.workdir))
        for name in sorted(needed):
            if error := self.trained(name):
                return error
        if "measured.npz" in str(given):
            self.measure(options.workdir)
        # Inception's convolutions of 299 x 299 pixels take minutes an image in a program that is not optimized.
        inception = mode == "evaluate" and options.config.data.num_channels == 3
        environment = {**ENVIRONMENT, "XLA_FLAGS": ""} if inception else ENVIRONMENT
        return self.ended(["main.py", *given, *small(options)], environment)

    def trained(self, folder: str | None) -> str | None:
        """Train into a folder that has no checkpoints yet."""
        if any((self.checkout / str(folder) / "checkpoints").glob("*")):
            return None
        if folder not in self.trainers:
            return f"{folder}: no command of the documents trains it; name one in SUPPOSED"
        return self.of_main(self.trainers[folder])

    def measure(self, workdir: Path) -> None:
        """The measurements of what was restored first, as a file of one's own."""
        file = min((self.checkout / workdir / "restored").glob("*.npz"), key=os.path.getmtime)
        with np.load(file) as restored:
            np.savez(self.checkout / "measured.npz", y=restored["y"])

    def ended(
        self, arguments: list[str], environment: Mapping[str, str] = ENVIRONMENT
    ) -> str | None:
        """Of Python, in the checkout."""
        words = f"python {shlex.join(arguments)}"
        flags = environment["XLA_FLAGS"] + (TWO if "--devices" in arguments else "")
        print(words, flush=True)
        try:
            ran = subprocess.run(
                [sys.executable, *arguments],
                cwd=self.checkout,
                env={
                    **os.environ,
                    **environment,
                    "XLA_FLAGS": flags,
                    "JAX_COMPILATION_CACHE_DIR": str(self.programs),
                },
                capture_output=True,
                text=True,
                timeout=LONGEST,
            )
        except subprocess.TimeoutExpired:
            return f"{words}\ntook more than {LONGEST} s"
        return None if ran.returncode == 0 else f"{words}\n{ran.stderr[-2000:]}"
