"""python -m tests.endurance: kill, signal, damage and starve training runs, and compare the results bit for bit.

    python -m tests.endurance [--kills 50] [--signals 20] [--damages 20] [--disks 5] [--seed 0]

Each run is `main.py --mode train` of a small network on the digits, in its own process. After each disturbance the same command is
repeated until it succeeds; then all arrays of the last checkpoint must equal those of an undisturbed run. A run that fails may print
one line, but no traceback. The exit status is 1 if anything else is found.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from score_sde.training.checkpoints import Checkpoints, saved_steps
from score_sde.training.recorded_config import read_config
from score_sde.training.score_task import build_score_task
from score_sde.training.start import state_shapes

REPOSITORY = Path(__file__).parents[1]
STEPS = 40
SETTINGS = [
    "model.nf=8", "model.ch_mult=(1,)", "model.num_res_blocks=1", "model.attn_resolutions=()",
    "training.batch_size=8", "training.log_freq=4", "training.eval_freq=0", "training.snapshot_freq=0",
    "training.checkpoint_freq=5", "training.keep_checkpoints=0",
]  # fmt: skip
LIMIT = 300  # seconds after which a process has hung
# SIGINT is ignored in what a shell has put behind, and what that starts would inherit it.
BEGIN = """
import os, resource, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
room, *command = sys.argv[1:]
if room:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
os.execv(sys.executable, [sys.executable, *command])
"""
INTERRUPTED = {0, 130, 143, -signal.SIGINT, -signal.SIGTERM}  # a shell's, and those of the system


class Found(Exception):
    """What must not be."""


class Runs:
    """Runs in folders of their own under one, which share what JAX has compiled."""

    def __init__(self, folder: Path, seed: int):
        self.folder = folder
        self.random = random.Random(seed)
        self.count = 0
        self.whole = self.finished(self.new())  # compiles for all
        self.expected = digest(self.whole)
        begun = time.monotonic()
        self.check(self.new())
        self.seconds = time.monotonic() - begun

    def new(self, source: Path | None = None) -> Path:
        self.count += 1
        path = self.folder / str(self.count)
        if source is not None:
            shutil.copytree(source, path)
        return path

    def start(self, workdir: Path, room: int | None = None) -> subprocess.Popen[str]:
        """The command; with `room`, none of its files can grow beyond so many bytes."""
        settings = [f"--config.{setting}" for setting in [*SETTINGS, f"training.n_iters={STEPS}"]]
        command = [
            "main.py",
            "--config=configs/vp_digits.py",
            "--mode=train",
            f"--workdir={workdir}",
        ]
        return subprocess.Popen(
            [sys.executable, "-c", BEGIN, str(room or ""), *command, *settings],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "JAX_PLATFORMS": "cpu",
                "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str], statuses: set[int]) -> str:
        """What it said, once it has ended as it may."""
        try:
            _, said = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Found(f"no end within {LIMIT} s") from None
        if "Traceback" in said:
            raise Found(f"a traceback:\n{said}")
        if process.returncode not in statuses:
            raise Found(f"exit status {process.returncode}:\n{said}")
        return said

    def finished(self, workdir: Path) -> Path:
        self.end(self.start(workdir), {0})
        return workdir

    def check(self, workdir: Path) -> None:
        """Give the command once more, and compare."""
        if digest(self.finished(workdir)) != self.expected:
            raise Found(f"the arrays of {workdir} are not those of a run that nobody disturbed")

    def moment(self) -> float:
        """A time within an undisturbed run."""
        return self.random.uniform(0, self.seconds)

    def kill(self) -> None:
        workdir = self.new()
        process = self.start(workdir)
        time.sleep(self.moment())
        process.kill()
        self.end(process, {0, -signal.SIGKILL})
        self.check(workdir)

    def interrupt(self) -> None:
        workdir = self.new()
        process = self.start(workdir)
        time.sleep(self.moment())
        process.send_signal(self.random.choice([signal.SIGINT, signal.SIGTERM]))
        self.end(process, INTERRUPTED)
        self.check(workdir)

    def damage(self) -> None:
        """A bit, the end, or all of a file of the newest checkpoint."""
        workdir = self.new(self.whole)
        newest = workdir / "checkpoints" / str(STEPS)
        path = self.random.choice(sorted(p for p in newest.rglob("*") if p.is_file()))
        contents = bytearray(path.read_bytes())
        how = self.random.choice(["bit", "end", "all"])
        if how == "bit" and contents:
            contents[self.random.randrange(len(contents))] ^= 1 << self.random.randrange(8)
            path.write_bytes(contents)
        elif how == "end":
            path.write_bytes(contents[: len(contents) // 2])
        else:
            path.unlink()
        self.check(workdir)

    def starve(self) -> None:
        """A disk that is full from some size of a file on; then there is room again."""
        workdir = self.new()
        room = int(10 ** self.random.uniform(0, 5.5))
        said = self.end(self.start(workdir, room), {0, 2})
        last = said.strip().splitlines()[-1] if said.strip() else ""
        if not last:
            raise Found(f"nothing is said of a disk that is full at {room} bytes")
        self.check(workdir)


def digest(workdir: Path) -> str:
    """Of all arrays of the last checkpoint, which must be that of the last step."""
    task = build_score_task(read_config(workdir))
    steps = saved_steps(workdir / "checkpoints")
    if steps[-1:] != [STEPS]:
        raise Found(f"{workdir} ends with the checkpoints {steps}")
    with Checkpoints(workdir) as checkpoints:
        state = checkpoints.restore(state_shapes(task), STEPS)
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(state)):
        found.update(f"{jax.tree_util.keystr(path)} {np.shape(leaf)}".encode())
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def endure(counts: dict[str, int], seed: int) -> list[str]:
    """What was found that must not be."""
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder), seed)
        ways: dict[str, Callable[[], None]] = {
            "kills": runs.kill,
            "signals": runs.interrupt,
            "damages": runs.damage,
            "disks": runs.starve,
        }
        cases = [name for name, count in counts.items() for _ in range(count)]
        for number, name in enumerate(tqdm(cases, unit="run")):
            try:
                ways[name]()
            except Found as found:
                problems.append(f"{name} {number}: {found}")
                tqdm.write(problems[-1])
            else:
                shutil.rmtree(runs.folder / str(runs.count))
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, count in (("kills", 50), ("signals", 20), ("damages", 20), ("disks", 5)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    counts = vars(parser.parse_args())
    seed = counts.pop("seed")
    problems = endure(counts, seed)
    print(
        f"{sum(counts.values())} runs disturbed ({counts}, seed {seed}): {len(problems)} problems"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
