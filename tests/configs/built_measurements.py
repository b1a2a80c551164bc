"""What a config builds for likelihoods and the remaining modes (see built.py)."""

import functools
from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.data.splits import ImagesInMemory
from score_sde.features import extractors
from score_sde.features.extractors import Features, build_extractor
from score_sde.features.inception_weights import INCEPTION
from score_sde.likelihood.bits_per_dim import BitsPerDim, Measured, measure_bits_per_dim
from score_sde.likelihood.dequantization.comparison import compare
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.likelihood.dequantization.trained import DEQUANTIZERS
from score_sde.likelihood.dequantization.training import build_task, train_dequantizer
from score_sde.likelihood.per_image import build_per_image
from score_sde.modes import classify, dequantize, evaluate, interpolate, likelihood, tradeoff
from score_sde.modes.evaluated_samples import Evaluated
from score_sde.quality.image_sets import ImageSet
from score_sde.quality.reference import Reference
from score_sde.sde_lib import build_sde
from score_sde.training.trained_score import LoadedScore
from tests.configs.built import (
    PARAMS,
    STEP,
    batch,
    digest,
    given_to,
    program,
    random_bits,
    score_of,
    step_of,
    without_addresses,
    workdir,
)


def per_image(config):
    """The likelihood of each image of a batch."""
    sde, given = build_sde(config), batch(config)
    measure = build_per_image(config, sde, given.images[0].size)

    def values(key, params, batch):
        return measure(score_of(config, sde, params), UniformDequantizer(), key, batch)

    return program(values, jax.random.key(0), PARAMS, given)


def density(config):
    """By what the ODE is solved and the trace estimated."""
    sde, given = build_sde(config), batch(config)
    measure = build_per_image(config, sde, given.images[0].size)
    arguments = score_of(config, sde, {}), UniformDequantizer(), jax.random.key(0), given
    target = "score_sde.likelihood.per_image.log_density"
    _, _, _, estimator, _, eps, solver, each_image = given_to(target, lambda: measure(*arguments))
    return without_addresses(repr((estimator, eps, solver, each_image)))


def likelihood_run(config):
    """What is measured of a checkpoint, with which noise, and the names of the arrays that are kept."""
    found = []

    def measure(config, sde, model, dequantizer, split, seed, unfinished):
        batch = split.take([0])
        found.append(
            (dequantizer, split.num_images, digest(batch.images), [*batch.condition], seed)
        )
        measured = Measured(*np.ones((3, 1, 4)))
        return BitsPerDim(measured, None, np.ones((4, 2, 2, 1)), 1.0)

    patches = {
        "load_score_model": lambda *_: LoadedScore(None, STEP),
        "measure_bits_per_dim": measure,
    }
    with (
        workdir() as folder,
        mock.patch.dict(DEQUANTIZERS, variational=lambda *_: "a flow"),
        mock.patch.multiple(likelihood, **patches),
    ):
        run = functools.partial(likelihood.run, config, build_sde(config), folder)
        *_, arrays = given_to("score_sde.modes.likelihood.write", run)
    return found, [*arrays]


def likelihood_batches(config):
    """The keys and images of each call."""
    found = []

    def run(score, dequantizer, key, batch):
        found.append((random_bits(key), batch.index.shape, np.ravel(batch.index).tolist()))
        return {"ode": {name: jnp.ones(batch.index.shape) for name in ("nats", "error", "nfe")}}

    split = ImagesInMemory(np.ones((12, 2, 2, 1), np.uint8))
    arguments = config, build_sde(config), None, None, split, config.seed
    measure_bits_per_dim(*arguments, show=False, compiled=run)
    return found


def flow_task(config):
    sde = build_sde(config)
    return build_task(config, score_of(config, sde, PARAMS), sde)


def flow_step(config):
    return step_of(flow_task(config), batch(config))


def flow_run(config):
    """What the loop is given, but for the task's own parts."""
    target = "score_sde.likelihood.dequantization.training.train_task"
    with workdir() as folder:
        arguments = config, None, build_sde(config), None, folder
        call = given_to(target, lambda: train_dequantizer(*arguments))
    return call[1], type(call[4])


def first_flow(config):
    return program(flow_task(config).init)


def comparison(config):
    """The keys and images of each call."""
    found = []

    def run(dequantizer, score, key, batch):
        found.append((random_bits(key), batch.index.tolist()))
        return np.ones((2, len(batch.index)))

    devices = SimpleNamespace(
        data_parallel=lambda *_: run, split=lambda tree: tree, gather=lambda tree, count: tree
    )
    split = ImagesInMemory(np.ones((12, 2, 2, 1), np.uint8))
    module = "score_sde.likelihood.dequantization.comparison"
    with mock.patch(f"{module}.build_devices", return_value=devices):
        compare(config, None, None, build_sde(config), split, jax.random.key(0), show=False)
    return found


def dequantizer_run(config):
    patches = {
        "load_score_model": lambda *_: LoadedScore(None, STEP),
        "train_dequantizer": lambda *_: SimpleNamespace(step=1, stopped_by=None, dequantizer=None),
    }
    target = "score_sde.modes.dequantize.compare"
    with workdir() as folder, mock.patch.multiple(dequantize, **patches):
        call = given_to(target, lambda: dequantize.run(config, build_sde(config), folder))
    return call[4].num_images, random_bits(call[5])


def interpolation(config):
    sde = build_sde(config)
    target = "score_sde.modes.interpolate.interpolate"
    loaded = LoadedScore(None, STEP)
    with (
        workdir() as folder,
        mock.patch.object(interpolate, "load_score_model", return_value=loaded),
    ):
        *_, frames = given_to(target, lambda: interpolate.run(config, sde, folder))
    return digest(interpolate.chosen_images(config)), frames


def classification(config):
    """How many classes, of which folders, by which images and seed."""
    sides = {
        name: ImagesInMemory(np.ones((n, 2, 2, 1), np.uint8), {"label": np.arange(n) % 2})
        for name, n in (("train", 6), ("test", 4))
    }
    loaded = LoadedScore(None, STEP)
    measure = "score_sde.modes.classify.measure_bits_per_dim"
    models = "score_sde.modes.classify.models_of_classes"
    patches = {
        "load_score_model": lambda *_: loaded,
        "build_compiled": lambda *_: None,
    }
    run = functools.partial(classify.run, config, build_sde(config))
    with (
        workdir() as folder,
        mock.patch("score_sde.data.load", return_value=SimpleNamespace(**sides)),
        mock.patch.multiple(classify, **patches),
    ):
        number = given_to(models, lambda: run(folder))[3]
        _, _, _, _, split, seed = given_to(measure, lambda: run(folder))[:6]
    return number, classify.class_folder(config, 3), split.num_images, seed


def evaluation(config):
    """Which images are evaluated beside which, by what."""
    target = "score_sde.modes.evaluate.assess"
    with workdir() as folder, mock.patch.object(evaluate, "check_numbers"):  # few are enough here
        given = given_to(target, lambda: evaluate.run(config, build_sde(config), folder))
        x, real, k, seed = given[:4]
    return digest(x), digest(real), k, seed


def figures_of_classes(config):
    """Whether the figures of each class are found."""
    labels, x = np.arange(40) % 2, np.random.default_rng(0).normal(size=(40, 2))
    images = ImageSet(40, lambda rows: x[rows], lambda: labels)
    evaluated = Evaluated(images, Features(x, None), {})
    return evaluate.of_classes(
        config, evaluated, Reference(40, None, images, lambda: x, images.labels)
    )


def tradeoff_rows(config):
    """Which rows are made, by which settings."""
    sde = build_sde(config)
    (plan,) = tradeoff.check(config, sde)
    loaded = LoadedScore(None, STEP)
    with workdir() as folder, mock.patch.object(tradeoff, "load_score_model", return_value=loaded):
        run = functools.partial(tradeoff.run, config, sde, folder, plan)
        tasks, _ = given_to("score_sde.modes.tradeoff.made", run)
    return [task.what for task in tasks], [one.run.settings for one in plan]


def extractor(config):
    """By which features images are compared."""

    def read(path, known):
        return INCEPTION, {}, {"file": path}

    with mock.patch.object(extractors, "read_weights", read):
        return build_extractor(config).recorded
