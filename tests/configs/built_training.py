"""What a config builds for processes, networks, datasets and training (see built.py)."""

import functools
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from score_sde import data
from score_sde.data.resizing import fit_to
from score_sde.data.splits import ImagesInMemory
from score_sde.models.networks import build_network
from score_sde.models.noisy_classifier import NoisyClassifierNetwork
from score_sde.modes import drawn_in_training, export_checkpoint, merge, train
from score_sde.sde_lib import build_sde
from score_sde.training import score_task
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.training.frozen import frozen_weights
from score_sde.training.held_out import HeldOutLoss
from score_sde.training.kinds import KINDS
from score_sde.training.low_rank_task import adapting
from score_sde.training.run import Run
from score_sde.training.start import Weights
from score_sde.training.state import init_params
from score_sde.training.task import Plan
from score_sde.training.trained_score import load_score_model
from tests.configs.built import (
    Reached,
    batch,
    digest,
    given_to,
    images,
    labels,
    program,
    random_bits,
    step_of,
    workdir,
)


def times_and_images():
    return jnp.linspace(0.1, 0.9, 4), jnp.ones((4, 2, 2, 1))


def marginal(config):
    t, x = times_and_images()
    return program(build_sde(config).marginal, x, t)


def diffusion(config):
    return program(build_sde(config).diffusion_squared, times_and_images()[0])


def prior(config):
    return program(build_sde(config).prior_log_density, times_and_images()[1])


def network(config):
    built = build_network(config)

    def first_output(key, x, noise_input, dropout_keys):
        return built.init_with_output(key, x, noise_input, labels(config), dropout_keys)

    key, x = jax.random.key(0), images(config).astype(jnp.float32)
    return program(first_output, key, x, jnp.ones(len(x)), jax.random.split(key, len(x)))


def classifier_network(config):
    built = NoisyClassifierNetwork.from_config(config)

    def first_output(key, x, noise_input, keys):
        return built.init_with_output(key, x, noise_input, keys)

    key, x = jax.random.key(0), images(config).astype(jnp.float32)
    return program(first_output, key, x, jnp.ones(len(x)), jax.random.split(key, len(x)))


def trained_kind(config):
    """What --mode train trains."""
    run = functools.partial(train.run, config, build_sde(config))
    return given_to("score_sde.modes.train.train", lambda: run(Path("nowhere")))[-1]


def loaded_images(config):
    """Of each split, and how they are held."""
    loaded = data.load(config, ("label",) if config.data.name == "folder" else ())
    splits = loaded.train, loaded.test
    taken = [split.take(range(min(8, split.num_images))) for split in splits]
    held = [(split.num_images, split.images is None) for split in splits]
    return held, loaded.num_levels, digest(*(batch.images for batch in taken))


def fitted_image(config):
    """What is made of a stored one."""
    return digest(fit_to(config.data)((np.arange(360) % 256).astype(np.uint8).reshape(12, 10, 3)))


def prepared_dataset(config):
    return given_to("score_sde.data.loader.prepared_builder", lambda: data.load(config))


def loaded_step(config):
    """Of which checkpoint the weights are."""
    sde = build_sde(config)
    target = "score_sde.training.folder_weights.restore_ema"
    _, _, step = given_to(target, lambda: load_score_model(config, sde, Path("nowhere")))
    return step


def reconstructed_average(config):
    """Which power-function average the weights are, of which checkpoint."""
    target = "score_sde.training.folder_weights.reconstructed"
    run = functools.partial(load_score_model, config, build_sde(config), Path("nowhere"))
    return given_to(target, run)[2:]


def frozen_base(config):
    """From which folder a control has the network that it leads."""
    run = functools.partial(frozen_weights, config, build_network(config), Path("nowhere"), True)
    return given_to("score_sde.training.frozen.read_config", run)


def used_adapters(config):
    """Which updates are put on top of the weights, and how much of each."""
    target = "score_sde.training.adapters.merged"
    module = "score_sde.training.trained_score"
    network = build_network(config)
    params = jax.eval_shape(lambda: init_params(config, network))
    with (
        mock.patch(f"{module}.folder_weights", return_value=(zeros(params), 1)),
        mock.patch(f"{module}.check_recorded"),
        mock.patch("score_sde.training.adapters.read_adapter", lambda _, name, __: (name, 2.0)),
    ):
        run = functools.partial(load_score_model, config, build_sde(config), Path("nowhere"))
        return given_to(target, run)[1:]


def zeros(shapes):
    return jax.tree.map(lambda like: np.zeros(like.shape, like.dtype), shapes)


def adapted_task(config):
    """The update of the adapters that training.lora trains, and their first values."""
    task, weights = score_task.build_score_task(config), Weights("zeros", zeros)
    with workdir() as folder:
        adapted, _ = adapting(config, task, folder, weights)
    return program(adapted.init), step_of(adapted, batch(config))


def merged_folders(config):
    """Whose weights, and how much of each."""
    return merge.folders_of(config)


RESTORE = "score_sde.training.checkpoints.Checkpoints.restore"


def export(config):
    with workdir() as folder:
        checkpoint_folder(folder).mkdir()
        export_checkpoint.run(config, build_sde(config), folder)


def exported_step(config):
    return given_to(RESTORE, lambda: export(config))[-1]


def exported_average(config):
    target = "score_sde.training.folder_weights.reconstructed"
    module = "score_sde.modes.export_checkpoint"
    with (
        mock.patch(RESTORE, lambda _, template, step: template),
        mock.patch(f"{module}.check_recorded"),
    ):
        return given_to(target, lambda: export(config))[2:]


def training_step(config):
    """By the options that the loop takes from the plan."""
    task = score_task.build_score_task(config)
    plan = Plan.from_config(config, config.training)
    target = "score_sde.training.run.build_train_step"
    begun = SimpleNamespace(step=0)
    _, _, *options = given_to(target, lambda: Run(task, plan, None, begun, *[None] * 4))
    return step_of(task, batch(config), *options)


def training_step_of_kind(config):
    """The same of what training.task names."""
    task = KINDS[config.training.task].build(config, None)
    return step_of(task, batch(config))


def trained_teacher(config):
    """From which folder it is loaded, if from any."""
    target = "score_sde.training.teacher.read_config"
    if not config.consistency.teacher:
        return None
    task = KINDS["consistency"].build(config, None)
    return given_to(target, lambda: task.as_begun(Path("nowhere")))


def first_parameters(config):
    return program(score_task.build_score_task(config).init)


def training_run(config):
    """What the loop is given, but for the task's own parts."""
    with workdir() as folder:
        target = "score_sde.training.score_task.train_task"
        call = given_to(target, lambda: score_task.train(config, folder))
    task, plan, split, _, devices, weights, *_ = call
    frequencies = {name: evaluator.frequency for name, evaluator in task.evaluators.items()}
    begins = weights and weights.source
    return plan, frequencies, digest(split.images), split.condition, type(devices), begins


def kept_checkpoints(config):
    with workdir() as folder:
        target = "score_sde.training.loop.Checkpoints"
        return given_to(target, lambda: score_task.train(config, folder))[1:]


def held_out_loss(config):
    """That gives its key in place of losses."""

    class Objective:
        def held_out_losses(self, params, batch, u, key):
            raise Reached(random_bits(key))

    devices = SimpleNamespace(data_parallel=lambda function, *rest, **named: function)
    return HeldOutLoss(config, Objective(), ImagesInMemory(np.ones((40, 2, 2, 1))), devices)


def held_out_batches(config):
    return held_out_loss(config).batch_size


def held_out_times(config):
    return digest(held_out_loss(config).u)


def held_out_noise(config):
    try:
        held_out_loss(config).total({}, None, None, None)
    except Reached as found:
        return found.args


def training_pictures(config):
    """How often, how many, by which seed and how they are sampled."""
    return drawn_on_the_way(
        lambda: drawn_in_training.pictures_of(config, build_sde(config), Path("nowhere")),
        lambda pictures: pictures.draw({}, 1),
    )


def training_quality(config):
    """The same of the samples whose distance is measured."""
    return drawn_on_the_way(
        lambda: drawn_in_training.quality_of(config, build_sde(config), Path("nowhere")),
        lambda quality: quality.evaluate({}, 1),
    )


def quality_beside(config):
    """Features of which real images."""
    target = "score_sde.modes.drawn_in_training.check_limit"
    found = given_to(
        target, lambda: drawn_in_training.quality_of(config, build_sde(config), Path("nowhere"))
    )
    return digest(found[2])


def drawn_on_the_way(build, draw):
    def batches(model, num_images, seed, show):
        raise Reached(num_images, seed)

    generator = SimpleNamespace(batches=batches)
    module = "score_sde.modes.drawn_in_training"
    with mock.patch(f"{module}.build_generator", return_value=generator) as built:
        evaluator = build()
        try:
            draw(evaluator)
        except Reached as found:
            return evaluator.frequency, found.args, str(built.call_args.args[0].sampling)


def watchers(config):
    """Who looks on, and how."""
    wandb = mock.MagicMock()
    run = functools.partial(train.run, config, build_sde(config))
    with workdir() as folder, mock.patch.dict(sys.modules, wandb=wandb):
        *_, watch, _ = given_to("score_sde.modes.train.train", lambda: run(folder))
        for begin in watch:
            begin(folder)
    return [call.kwargs["mode"] for call in wandb.init.call_args_list]


def replayed_step(config):
    from score_sde.modes import replay

    target = "score_sde.modes.replay.replay"
    with workdir() as folder, mock.patch("score_sde.modes.replay.check_same_run"):
        call = given_to(target, lambda: replay.run(config, build_sde(config), folder))
    return call[5]
