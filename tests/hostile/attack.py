"""Run a hostile command line or file: expected is a result or a message, within a time limit, and never a traceback."""

import contextlib
import importlib
import io
import json
import shutil
import signal
import sys
import traceback
from pathlib import Path

import jax
import numpy as np
import PIL.Image

import main
from score_sde import data
from score_sde.configs.default import get_config
from score_sde.configs.digits import digits_config
from score_sde.errors import UserError
from score_sde.flag_table import MODES
from score_sde.foreign_weights import checkpoint_file
from score_sde.generation.start_images import load_start_images
from score_sde.models.networks import build_network
from score_sde.modes.likelihood import read_anomalies
from score_sde.results import report
from score_sde.spaces import build_space
from score_sde.training.checkpoints import Checkpoints, restore_ema
from score_sde.training.optimizer import build_optimizer
from score_sde.training.record import Record
from score_sde.training.recorded_config import record_config
from score_sde.training.state import init_params, init_state
from score_sde.unfinished import UnfinishedFolder
from tests.foreign_weights.tiny_run import GOLDEN, TINY, config_from_json
from tests.hostile.damage import damaged

SECONDS = 100  # for one answer; on an idle machine the slowest takes four


class NoAnswer(BaseException):
    """Not an Exception, which the code under attack may turn into words."""


@contextlib.contextmanager
def within(seconds):
    def stop(number, frame):
        raise NoAnswer(f"no answer in {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def no_mode_runs():
    """Only the parsing and the checks: what would compile gives nothing instead."""
    modules = [importlib.import_module(f"score_sde.modes.{name}") for name in MODES.values()]
    before = [module.run for module in modules]
    for module in modules:
        module.run = lambda *arguments, **named: {}
    try:
        yield
    finally:
        for module, run in zip(modules, before, strict=True):
            module.run = run


def refused_badly(arguments):
    """What is wrong with the answer to a command line; None if nothing is."""
    err, argv = io.StringIO(), sys.argv
    sys.argv = ["main.py", *arguments]
    try:
        with (
            no_mode_runs(),
            contextlib.redirect_stderr(err),
            contextlib.redirect_stdout(io.StringIO()),
            within(SECONDS),
        ):
            status = main.main()
    except (Exception, NoAnswer, SystemExit):
        return traceback.format_exc()
    finally:
        sys.argv = argv
    said = err.getvalue()
    if status not in (0, 2):
        return f"exit status {status}"
    if status == 2 and not (said.startswith("main.py: ") and len(said.splitlines()) <= 2):
        return f"not a line: {said[:2000]!r}"
    if len(said) > 3000 or not said.replace("\n", "").isprintable():
        return f"not fit for a terminal: {said[:2000]!r}"
    return None


class Files:
    """Sound files of every kind that is read, and who reads them."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.config = digits_config("vp")
        self.config.model.nf = 8
        self.config.sampling.t_start = 0.5
        self.space = build_space(self.config)
        with np.load(GOLDEN / "train_ve_tiny.npz") as file:
            self.published = config_from_json(str(file["config_json"]))
        self.sound = self.folder / "sound"
        images = np.random.default_rng(0).integers(0, 17, (6, 8, 8, 1))
        (self.sound / "pictures").mkdir(parents=True)
        np.savez(self.sound / "images.npz", images=images)
        np.savez_compressed(self.sound / "compressed.npz", images=images)
        for number in range(4):
            PIL.Image.fromarray(images[number, ..., 0].astype(np.uint8)).save(
                self.sound / "pictures" / f"{number}.png"
            )
        UnfinishedFolder(self.sound / "batches", {}).save(0, {"images": images})
        shutil.copy(TINY, self.sound / "published.pth")
        shutil.copy(GOLDEN / "torch_views_stream.pth", self.sound / "stream.pth")
        self.sound.joinpath("flax").write_bytes(self.flax())
        self.make_run(self.sound / "run")

    def flax(self):
        from flax.serialization import msgpack_serialize

        record = checkpoint_file.read(TINY, self.published)
        return msgpack_serialize(
            {
                "step": 6,
                "optimizer": {"target": record.params},
                "ema_rate": 0.999,
                "params_ema": record.ema_params,
            }
        )

    def make_run(self, folder):
        shapes = jax.eval_shape(
            lambda: init_state(
                self.config, build_network(self.config), build_optimizer(self.config)
            )
        )
        state = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
        with Checkpoints(folder) as checkpoints:
            checkpoints.save(1, state)
        record_config(self.config, folder, None)
        Record(folder, 0).write(1, loss=0.5)
        report(folder, {"mode": "train"}, " ")

    def start_images(self, path):
        self.config.sampling.start_images = str(path)
        load_start_images(self.config, self.space)

    def anomalies(self, path):
        self.config.likelihood.anomalies = str(path)
        read_anomalies(self.config)

    def pictures(self, path):
        config = get_config()
        config.data.update(name="folder", folder=str(path.parent), num_levels=256)
        data.load(config, whole=True)

    def batch(self, path):
        store = UnfinishedFolder(path.parent.parent, {})
        assert store.folder == path.parent
        store.load(0)

    def checkpoint(self, path):
        run = next(parent for parent in path.parents if parent.name == "run")
        restore_ema(
            run, jax.eval_shape(lambda: init_params(self.config, build_network(self.config)))
        )

    def recorded(self, path):
        words = refused_badly([f"--workdir={path.parent}", "--mode=sample"])
        assert words is None, words
        record_config(self.config, path.parent, 1)

    def metrics(self, path):
        Record(path.parent, 1)

    def results(self, path):
        report(path.parent, {"mode": "sample"}, " ")
        assert json.loads(path.read_text(errors="replace").splitlines()[-1])["mode"] == "sample"

    def imported(self, path):
        checkpoint_file.read(path, self.published)

    def attacks(self):
        """Sound files and their readers."""
        run = self.sound / "run"
        [batch] = self.sound.glob("batches/unfinished-*/0.npz")
        yield self.sound / "images.npz", self.start_images
        yield self.sound / "compressed.npz", self.anomalies
        yield self.sound / "pictures" / "0.png", self.pictures
        yield batch, self.batch
        yield run / "config.json", self.recorded
        yield run / "metrics.jsonl", self.metrics
        yield run / "results.jsonl", self.results
        for path in sorted((run / "checkpoints").rglob("*")):
            if path.is_file():
                yield path, self.checkpoint
        for name in ("published.pth", "stream.pth", "flax"):
            yield self.sound / name, self.imported

    def read_badly(self, seed):
        """What is wrong with how the damaged file of this seed is read; None if nothing is."""
        attacks = list(self.attacks())
        kinds = sorted({read.__name__ for _, read in attacks})
        kind = kinds[seed % len(kinds)]
        chosen = [pair for pair in attacks if pair[1].__name__ == kind]
        sound, read = chosen[seed // len(kinds) % len(chosen)]
        copy = self.folder / f"damaged{seed}"
        shutil.copytree(self.sound, copy)
        path = copy / sound.relative_to(self.sound)
        path.write_bytes(damaged(seed, path.read_bytes()))
        err = io.StringIO()
        try:
            with contextlib.redirect_stderr(err), within(SECONDS):
                read(path)
        except UserError as error:
            said = str(error)
            if len(said) > 3000 or len(said.splitlines()) > 2:
                return f"{path.name}, {kind}: not a line: {said[:2000]!r}"
        except (Exception, NoAnswer, SystemExit):
            return f"{path.name}, {kind}: {traceback.format_exc()}"
        finally:
            shutil.rmtree(copy)
        return None
