"""What a config builds for --mode restore (see built.py)."""

import numpy as np

from score_sde.generation.condition_images import given_images
from score_sde.generation.conditions import build_conditions
from score_sde.measurements.condition_image import build_condition_image
from score_sde.modes import restore
from score_sde.restoration.draws import build_drawer
from score_sde.restoration.methods import METHODS, configured_for
from score_sde.restoration.observed import Observed, observe
from score_sde.sde_lib import build_sde
from score_sde.spaces import build_space
from tests.configs.built import digest, given_to, without_addresses


def measurement(config):
    """A as a matrix, and sigma_y."""
    built = restore.measurement_of(config, build_space(config))
    return digest(built.linear.matrix()), built.std


def condition_image(config):
    """What a network is told of an image, and the noise in use."""
    built = build_condition_image(config)
    found = built.measurement
    return digest(found.linear.matrix()), found.std, built.noise


def condition_images(config):
    """Of which images it is told."""
    given = given_images(config)
    return digest(given.at(np.arange(given.num_images))[0])


def smaller_network(config):
    """The folder of a cascade's first network."""
    target = "score_sde.generation.cascade.read_config"
    return given_to(target, lambda: build_conditions(config))


def observed(config):
    """What was measured, and of which classes."""
    space = build_space(config)
    return [digest(of) for of in observe(config, space, restore.measurement_of(config, space))[:2]]


def restoring(config):
    """The score's own part, and the sampler."""
    sde, space = build_sde(config), build_space(config)
    score = METHODS[config.restore.method].score(
        None, restore.measurement_of(config, space), sde, config.restore
    )
    own = {name: of for name, of in vars(score).items() if name in ("covariance", "weight")}
    sampler = configured_for(config, sde).sampler
    return type(score).__name__, without_addresses(repr(own)), without_addresses(repr(sampler))


def draws(config):
    """Which measurement belongs to which draw."""
    sde, space = build_sde(config), build_space(config)
    y = np.arange(4.0)[:, None]
    drawer = build_drawer(config, sde, space, configured_for(config, sde), Observed(y), None)
    return drawer.conditions(np.arange(12))["measured"].tolist()
