"""The objects that a config builds in a comparable form: traced programs, arrays, and values passed on.

Nothing is compiled. Each function takes a config and returns what must differ for another value of a field; files are
written to a temporary folder.
"""

import contextlib
import hashlib
import re
import tempfile
from pathlib import Path
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from score_sde.data.batch import Batch
from score_sde.data.image_shape import image_shape
from score_sde.devices import AXIS, PmapDevices
from score_sde.models.conditions import null_condition
from score_sde.models.networks import build_network, network_score
from score_sde.models.parameterization import build_parameterization
from score_sde.training.start import state_shapes
from score_sde.training.step import update

STEP = 7  # of a checkpoint that no folder has
INDEX = jnp.arange(4)


class Linear(nn.Module):
    """x times a matrix and all that the network is told, and dropout."""

    num_classes: int

    @classmethod
    def from_config(cls, config):
        return cls(config.model.num_classes)

    @staticmethod
    def conditions(config):
        return ("label",) if config.model.num_classes else ()

    def null_condition(self, condition):
        return null_condition(condition, self.num_classes)

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        told = noise_input + sum(jax.tree.leaves(condition))
        return nn.Dense(x.shape[-1])(x) * told[:, None, None, None]


class Reached(BaseException):
    """The call that was waited for; no handler of errors on the way catches it."""


def given_to(target, run):
    """The arguments of the first call of what has this dotted name, at which `run` ends."""

    def stop(*arguments, **named):
        raise Reached((*arguments, *named.values()))

    with mock.patch(target, stop):
        try:
            run()
        except Reached as call:
            return call.args[0]
    raise AssertionError(f"{target} was not called")


def program(function, *arguments):
    """All that a function does, as JAX traces it, every number in it."""
    traced = jax.make_jaxpr(function)(*arguments)
    text = without_addresses(str(traced))
    return hashlib.sha256(text.encode()).hexdigest(), digest(*arrays_in(traced))


def without_addresses(text):
    """Those of functions change from one to the next of a kind."""
    return re.sub(r"0x[0-9a-f]+", "", text)


def arrays_in(part):
    """Those that a program holds, whose text shows their shapes only."""
    match part:
        case ClosedJaxpr(jaxpr=jaxpr, consts=constants):
            yield from constants
            yield from arrays_in(jaxpr)
        case Jaxpr(eqns=equations):
            for equation in equations:
                yield from (
                    v.val for v in equation.invars if isinstance(v, Literal) and v.aval.shape
                )
                yield from arrays_in(tuple(equation.params.values()))
        case tuple() | list():
            for each in part:
                yield from arrays_in(each)


def digest(*arrays):
    return [(np.shape(a), hashlib.sha256(np.ascontiguousarray(a)).hexdigest()) for a in arrays]


def random_bits(key):
    return np.asarray(jax.random.key_data(key)).tolist()


@contextlib.contextmanager
def workdir():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def images(config):
    return jnp.ones((len(INDEX), *image_shape(config.data)), jnp.uint8)


def labels(config):
    return {"label": INDEX % config.model.num_classes} if config.model.num_classes else ()


def batch(config):
    return Batch(images(config), labels(config), INDEX)


PARAMS = {"Dense_0": {"kernel": jnp.ones((1, 1)), "bias": jnp.ones(1)}}


def score_of(config, sde, params):
    """The network's, or where the config names none of ours a plain one, which is traced sooner."""
    if config.model.name != "linear":
        return jax.tree_util.Partial(lambda x, t: -x)
    built = build_network(config)
    return network_score(built, params, build_parameterization(config, sde))


def step_of(task, given, *options):
    """An update, by the options that the loop takes from its plan."""

    def one(state, constants, batch):
        # Constants are arrays as arguments: what they hold is no part of the program.
        return update(task, PmapDevices(), state, constants, None, batch, *options)

    one = jax.vmap(one, (None, None, None), axis_size=1, axis_name=AXIS)
    return program(one, state_shapes(task), task.constants, given)
