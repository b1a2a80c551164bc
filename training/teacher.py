"""The teacher: the score network, trained in another folder, from which a consistency model is distilled (consistency.teacher)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path, write_whole
from score_sde.guidance.autoguidance import Unconditional
from score_sde.models.networks import (
    build_network,
    check_no_class,
    condition_names,
    has_condition_image,
)
from score_sde.sde_lib import SDE, build_sde
from score_sde.spaces import trained_space
from score_sde.training.checkpoints import checkpoint_folder, saved_steps
from score_sde.training.recorded_config import FILE, read_config
from score_sde.training.state import init_params
from score_sde.training.trained_score import load_score_model, score_model
from score_sde.training.weights_file import read_tree, write_tree

WEIGHTS = "teacher.npz"
"""The copy of the teacher's weights next to the checkpoints of the student's run."""
CONFIG = "teacher.json"


def check_teacher(config: Any, sde: SDE, folder: Path) -> Any:
    """Check that the network of a folder, or of a copy of its config file, can teach the config's network; return its config.

    Raises:
      ConfigError: the folder does not exist, or its network has another task, process, space of images or condition.
    """
    field = f"consistency.teacher={config.consistency.teacher!r}"
    try:
        teacher = read_config(folder)
    except UserError as error:
        raise ConfigError(f"{field}: {error}") from None
    if teacher.training.task != "score" or not teacher.training.continuous:
        raise ConfigError(
            f"{field} was trained by training.task={teacher.training.task!r}, continuous={teacher.training.continuous}; expected a folder "
            "of training.task='score', continuous=True, which gives the score at every time"
        )
    pairs = {
        "process": (build_sde(teacher), sde),
        "space of images": (trained_space(teacher), trained_space(config)),
    }
    for what, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise ConfigError(
                f"{field} has another {what}, {theirs}, than the student, {ours}; set the same sde, model.beta_... or "
                "sigma_..., and data"
            )
    if has_condition_image(teacher) or has_condition_image(config):
        raise ConfigError(
            f"{field}: the teacher or the student is conditioned on an image (model.condition_image), but distillation supports only classes; use "
            "networks that are not"
        )
    if teacher.model.words and teacher.model.words != config.model.words:
        raise ConfigError(
            f"{field} was trained with the words {teacher.model.words}, but the student has {config.model.words or 'none'}; use a teacher "
            "with the same words, or without any"
        )
    if config.training.augment and not teacher.training.augment:
        raise ConfigError(
            f"{field} with training.augment={config.training.augment}: the teacher was trained without, so it cannot be told how an image was "
            "augmented; set training.augment=0, or take a teacher that was trained with it"
        )
    classes = teacher.model.num_classes if condition_names(teacher) else 0
    if classes not in (0, config.model.num_classes):
        raise ConfigError(
            f"{field} is conditioned on {classes} classes, but the student on {config.model.num_classes or 'none'}; set "
            f"model.num_classes={classes}, or take an unconditional teacher"
        )
    if condition_names(teacher) not in ((), condition_names(config)):
        raise ConfigError(
            f"{field} is conditioned on {' and '.join(condition_names(teacher))}, but the student on "
            f"{' and '.join(condition_names(config)) or 'nothing'}; use a teacher conditioned on the same, or on nothing"
        )
    if config.training.augment and condition_names(config) and not condition_names(teacher):
        raise ConfigError(
            f"{field} is not conditioned on what the student is, so training.augment={config.training.augment} "
            "cannot be passed to it alone; set training.augment=0, or use a teacher that is"
        )
    if config.training.label_dropout:
        check_no_class(
            teacher, f"{field} with training.label_dropout={config.training.label_dropout}"
        )
    return teacher


def check_first_time(config: Any, teacher: Any) -> None:
    """Refuse, when a run begins, a teacher that was not trained down to the student's first time.

    Raises:
      ConfigError: its training.eps is larger.
    """
    first, asked = teacher.training.eps, config.training.eps
    if first > asked:
        raise ConfigError(
            f"consistency.teacher={config.consistency.teacher!r} was trained at times from training.eps={first} on, but the student needs its "
            f"score from training.eps={asked} on; set training.eps={first} and sampling.eps={first}, or use a teacher trained from {asked} on"
        )


def keep_teacher(workdir: Path, config: Any, teacher: Any) -> None:
    """Store the teacher's weights and config next to the checkpoints of a new run.

    The teacher's own folder may later be trained further or removed.
    """
    begins = not saved_steps(checkpoint_folder(workdir))
    if begins and jax.tree.leaves(teacher) and jax.process_index() == 0:
        recorded = (user_path(config.consistency.teacher) / FILE).read_bytes()
        write_whole(workdir / CONFIG, recorded)
        write_tree(workdir / WEIGHTS, teacher)


def teacher_of_run(config: Any, sde: SDE, workdir: Path) -> Any:
    """Load the teacher of the run in this folder; () if there is none.

    A resumed run uses the copy it began with, a new run the score model in `consistency.teacher`.

    Raises:
      UserError: the folder has no weights or cannot teach this network, or a stored copy is damaged.
    """
    if not config.consistency.teacher:
        return ()
    folder = user_path(config.consistency.teacher)
    if not (saved_steps(checkpoint_folder(workdir)) and (workdir / WEIGHTS).exists()):
        teacher = check_teacher(config, sde, folder)
        check_first_time(config, teacher)
        return told(config, teacher, load_score_model(teacher, sde, folder).model)
    kept = workdir / CONFIG
    # Folders of older versions hold only the weights.
    teacher = check_teacher(config, sde, kept if kept.exists() else folder)
    shapes = jax.eval_shape(lambda: init_params(teacher, build_network(teacher)))
    return read_tree(workdir / WEIGHTS, told(config, teacher, score_model(teacher, sde, shapes)))


def told(config: Any, teacher: Any, model: Any) -> Any:
    """Wrap the teacher's score model to ignore conditions that only the config's network has."""
    return (
        Unconditional(model) if condition_names(config) and not condition_names(teacher) else model
    )
