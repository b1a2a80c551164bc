"""What a config builds for sampling (see built.py)."""

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from score_sde import data
from score_sde.generation import guides
from score_sde.generation.conditions import build_conditions
from score_sde.generation.denoising_errors import estimate, half_range
from score_sde.generation.drivers import first_states, last_denoising
from score_sde.generation.generate import Generated, build_generator
from score_sde.generation.sampled_score import sampled_score
from score_sde.generation.start_images import load_start_images
from score_sde.models.score import bind
from score_sde.modes import sample
from score_sde.samplers.configured import configure, needs_errors
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.sde_lib import build_sde
from score_sde.spaces import build_space
from score_sde.training.trained_score import LoadedScore
from tests.configs.built import (
    INDEX,
    PARAMS,
    STEP,
    digest,
    given_to,
    images,
    labels,
    program,
    random_bits,
    score_of,
    workdir,
)


def errors_of(config):
    levels = (config.sampling.eps, 0.5, 1.0), (0.1, 0.3, 0.5), half_range(build_space(config))
    return OptimalVariance(*levels) if needs_errors(config.sampling) else None


def sampling(config):
    """From noise to stored images."""
    sde, space = build_sde(config), build_space(config)
    configured = configure(config.sampling, sde, errors_of(config))

    def images_of(key, params, begin):
        score = sampled_score(config, sde, space, score_of(config, sde, params))
        score = bind(score, labels(config))
        x, noise, like = first_states(
            sde, configured.grid[0], space.shape, key, INDEX, begin, False
        )
        samples = configured.sampler(score, configured.grid, noise, like, x)
        x, _ = last_denoising(configured, sde, score, samples.x)
        return space.decode(x), samples.nfe

    begin = images(config).astype(jnp.float32) if config.sampling.t_start else None
    return program(images_of, jax.random.key(0), PARAMS, begin)


def sampler_of_few_steps(config):
    """Its times."""
    return np.asarray(configure(config.sampling, build_sde(config)).grid).tolist()


def folders_of_guides(config):
    return guides.folders_of(config, Path("nowhere"))


def guidance_by_classifier(config):
    """How much of its gradient is added."""
    sde, by = build_sde(config), guides.Guides(classifier="a classifier")
    return sampled_score(config, sde, build_space(config), score_of(config, sde, PARAMS), by).scale


def worse_step(config):
    """Of which checkpoint the worse model is."""
    target = "score_sde.training.folder_weights.restore_ema"
    call = given_to(target, lambda: guides.load_guides(config, build_sde(config), Path("nowhere")))
    return call[-1]


def cheapest_grid(config):
    """Of how many times it chooses how many."""
    target = "score_sde.samplers.grids.cheapest_grid"
    arguments = config.sampling, build_sde(config), errors_of(config)
    return given_to(target, lambda: configure(*arguments))[3:5]


def generator(config):
    built = build_generator(config, build_sde(config), (2, 2, 1))
    told = [digest(of) for of in dict(built.conditions(np.arange(4))).values()]
    return built.batch_size, type(built.devices), told


def texts_of_samples(config):
    return build_conditions(config)(np.arange(4))["text"].tolist()


def start_images(config):
    begin = load_start_images(config, build_space(config))
    return begin and (digest(begin.x), begin.are_states)


def sampling_run(config):
    """What is drawn and kept: number, seed, and kind of files."""
    return calls_of_sampling(config)[:3]


def paths_from_noise(config):
    """Their number and seed."""
    return calls_of_sampling(config)[3:]


def calls_of_sampling(config):
    def batches(model, num_images, seed, finish, files):
        found.extend((num_images, seed, type(files)))
        result = finish(Generated(np.zeros((4, 2, 2, 1), np.float32), np.ones(4)))
        files.save(0, result)
        yield result

    found = []
    drawn = SimpleNamespace(stored_batches=batches, conditions=lambda indices: ())
    loaded = LoadedScore(lambda x, t: -x, None)
    patches = {
        "load_score_model": lambda *_: loaded,
        "build_generator": lambda *_: drawn,
        "trajectory": lambda *arguments: found.extend(arguments[4:6]),
        "write_path": lambda *_: {},
        "report": lambda *_: None,
    }
    with workdir() as folder, mock.patch.multiple(sample, **patches):
        sample.run(config, build_sde(config), folder)
    return found


def denoising_errors(config):
    loaded = LoadedScore(None, None)
    target = "score_sde.generation.denoising_errors.score_norms"
    split = data.load(config).train
    call = given_to(target, lambda: estimate(config, build_sde(config), loaded, STEP, split))
    _, _, batches, times, key, _ = call
    return [len(x) for x, _ in batches], times.tolist(), random_bits(key)
