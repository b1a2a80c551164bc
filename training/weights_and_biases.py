"""Logging to Weights & Biases (training.wandb), of the same scalars and pictures as for TensorBoard.

If anything goes wrong with it, a message is printed and the run continues without it. On machines without internet access, use
`offline`, which stores everything in <workdir>/wandb for a later `wandb sync`.
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

PATIENCE = 60.0  # seconds to wait for pending uploads at the end of a run


def check_wandb(mode: str) -> None:
    """Check that wandb is installed if `mode` needs it.

    Raises:
      ConfigError: wandb cannot be imported.
    """
    if mode == "none":
        return
    try:
        import wandb  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"training.wandb={mode!r} needs the package wandb ({error}): pip install wandb, or set training.wandb=none"
        ) from error


def weights_and_biases(config: Any) -> tuple[Watch, ...]:
    """Return the Watch for Weights & Biases that the config asks for, or ()."""
    if config.training.wandb == "none":
        return ()
    return (lambda folder: WeightsAndBiases(config, folder),)


class WeightsAndBiases:
    """A Watcher (record.py) that logs to one W&B run per folder, however often training is interrupted."""

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
            # Use our own steps: those of W&B only increase, so it would drop what a resumed run repeats.
            run.define_metric("*", step_metric="step")
            self.run = run

    @contextlib.contextmanager
    def said(self) -> Iterator[None]:
        """Turn an error inside the block into a message and stop logging, without ending the run."""
        try:
            yield
        except Exception as error:
            self.run = None
            why = " ".join(str(error).split())[:200] or type(error).__name__
            say(f"nothing more is logged to Weights & Biases: {why}")

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
        """Wait for pending uploads, but only for a limited time, because a signal may have asked the process to end."""
        if self.run is not None:
            sending = threading.Thread(target=self._finish, daemon=True)
            sending.start()
            sending.join(PATIENCE)
            if sending.is_alive():
                say(
                    "Weights & Biases does not answer; `wandb sync` uploads what <workdir>/wandb has"
                )

    def _finish(self) -> None:
        with self.said():
            self.run.finish()


def run_id(folder: Path) -> str:
    """Return the folder's W&B run id, which is created at the first start and then stays the same."""
    path = folder / "wandb" / "run-id"
    if not path.is_file():
        write_whole(path, uuid.uuid4().hex.encode())
    return path.read_text()
