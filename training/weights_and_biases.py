"""Weights & Biases, where training.wandb asks for it: what TensorBoard has, on its pages.

Whatever goes wrong with it is said in a line, and the run goes on without. Without a network, `offline` keeps everything in
<workdir>/wandb, from where `wandb sync` sends it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL.Image import Image

from score_sde.errors import ConfigError
from score_sde.files import write_whole
from score_sde.progress import say
from score_sde.training.record import Watch

PATIENCE = 60.0  # seconds for what is still to be sent when a run is over


def check_wandb(mode: str) -> None:
    """Refuse what needs a package that is not there.

    Raises:
      ConfigError: wandb cannot be imported.
    """
    if mode == "none":
        return
    try:
        import wandb  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"training.wandb={mode!r} needs the package wandb ({error}): pip install wandb, or leave training.wandb out"
        ) from error


def weights_and_biases(config: Any) -> tuple[Watch, ...]:
    """Who watches a run of this config, if anybody does."""
    if config.training.wandb == "none":
        return ()
    return (lambda folder: WeightsAndBiases(config, folder),)


class WeightsAndBiases:
    """A Watcher (record.py): one run of theirs for a folder, however often its training is interrupted."""

    def __init__(self, config: Any, folder: Path):
        self.run: Any = None
        with self.said():
            import wandb

            self.picture = wandb.Image
            run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "score-sde"),
                name=os.environ.get("WANDB_NAME", folder.name),
                id=os.environ.get("WANDB_RUN_ID") or run_id(folder),
                resume="allow",
                mode=config.training.wandb,
                dir=str(folder),
                config=config.to_dict(),
            )
            # By steps of ours: theirs only grow, and drop what a resumed run does again.
            run.define_metric("*", step_metric="step")
            self.run = run

    @contextlib.contextmanager
    def said(self) -> Iterator[None]:
        """An error within is the end of this, but not of the run."""
        try:
            yield
        except Exception as error:
            self.run = None
            why = " ".join(str(error).split())[:200] or type(error).__name__
            say(f"Weights & Biases is left out from here on: {why}")

    def write(self, step: int, scalars: dict[str, float]) -> None:
        if self.run is not None:
            with self.said():
                self.run.log({"step": step, **scalars})

    def draw(self, step: int, pictures: dict[str, Image]) -> None:
        if self.run is not None:
            with self.said():
                shown = {name: self.picture(picture) for name, picture in pictures.items()}
                self.run.log({"step": step, **shown})

    def close(self) -> None:
        """Wait for what is still to be sent, but not for ever: a signal may want the process gone."""
        if self.run is not None:
            sending = threading.Thread(target=self._finish, daemon=True)
            sending.start()
            sending.join(PATIENCE)
            if sending.is_alive():
                say("Weights & Biases does not answer; `wandb sync` sends what <workdir>/wandb has")

    def _finish(self) -> None:
        with self.said():
            self.run.finish()


def run_id(folder: Path) -> str:
    """The same at every start in this folder."""
    path = folder / "wandb" / "run-id"
    if not path.is_file():
        write_whole(path, uuid.uuid4().hex.encode())
    return path.read_text()
