"""What a script passes by mistake is said in words, before anything is compiled.

The calls are made in a process of its own, where no test checks types and shapes.
"""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import dataclasses, json
import jax, jax.numpy as jnp, numpy as np
from score_sde.likelihood.bound import continuous_bound
from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace
from score_sde.models.exact import GaussianScore, MixtureScore
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.edm import EDMSampler
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.grids import uniform_grid
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.published import PublishedPredictorCorrector
from score_sde.sde_lib import SDE, VP

class Straight(SDE):
    T = 0.99
    alpha = lambda self, t: 1.0 - t
    sigma = lambda self, t: t

def score(x, t):
    return -x

def drawn(like, grid=uniform_grid(1.0, 0.01, 3), sampler=EDMSampler(VP()), **more):
    return sampler(score, grid, IndexedNoise.for_images(jax.random.key(0), jnp.arange(len(like))), like, **more).x

def keys(x):
    return jax.random.split(jax.random.key(0), len(x))

def density(x):
    return log_density(score, VP(), x, ExactTrace(), keys(x), 1e-3, AdaptiveSolver()).nats

def bound(x):
    return continuous_bound(score, VP(), x, keys(x), 1e-3, 4).nats

none, whole, two = jnp.zeros((0, 2)), jnp.ones((3, 2), int), np.eye(2)
"""

NO_IMAGES = r"of shape \(0, 2\): expected \(b, ...\) of one or more images"
INTEGERS = r"of type int32: expected the model's arrays, real numbers; `Trained.encode` or"
MISTAKES = {
    "drawn(none)": NO_IMAGES,
    "density(none)": NO_IMAGES,
    "bound(none)": NO_IMAGES,
    "drawn(whole)": INTEGERS,
    "drawn(1.0 * whole, x_start=whole)": INTEGERS,
    "density(whole)": INTEGERS,
    "bound(whole)": INTEGERS,
    "drawn(1.0 * whole, jnp.ones(1))": r"a grid of shape \(1,\) for EDMSampler: expected 2 or more times",
    "drawn(1.0 * whole, [0.5], ExponentialSampler(VP(), 'ddim'))": r"a grid of shape \(1,\) for Exp",
    "jax.jit(drawn)(1.0 * whole, jnp.ones((3, 1)))": r"a grid of shape \(3, 1\)",
    "GaussianScore.create([0.0], two, VP())": r"a mean of shape \(1,\) with a covariance of shape \(2, 2\)",
    "GaussianScore.create(0.0, 1.0, VP())": r"a mean of shape \(\) with",
    "GaussianScore.create([0, 0], [[1, 2], [2, 1]], VP())": "the eigenvalue -1",
    "MixtureScore.create([1.0], [[0, 0], [1, 1]], [two, two], VP())": r"weights of shape \(1,\) for 2",
}
ANSWERS = {
    # a prior density of no images, and of lists, which are arrays
    "VP().prior_log_density(none)": [],
    "GaussianScore.create([0, 0], [[2, 1], [1, 2]], VP()).eigenvalues": [1.0, 3.0],
    "MixtureScore.create([1], [[0, 0]], [two], VP()).components.eigenvalues": [[1.0, 1.0]],
    # alpha and sigma are equal at 1/2, and d ln(1 - t)/dt is -1 at 0
    "Straight().time_of_log_snr(0)": 0.5,
    "Straight().drift_coefficient(0)": -1.0,
    "Straight().drift_coefficient(jnp.asarray([0]))": [-1.0],
    # one step of the published sampler, from its one time
    "drawn(1.0 * whole, jnp.ones(1), PublishedPredictorCorrector(VP(), 'euler_maruyama', 'none', 1)).shape": [
        3,
        2,
    ],
}


@pytest.fixture(scope="module")
def said():
    """What each call returns, or what it says, by its text."""
    calls = "".join(f"    {call!r}: lambda: {call},\n" for call in (*MISTAKES, *ANSWERS))
    script = f"""{SCRIPT}
calls = {{
{calls}}}
said = {{}}
for text, call in calls.items():
    try:
        said[text] = np.asarray(call()).tolist()
    except ValueError as error:
        said[text] = f"{{type(error).__name__}}: {{error}}"
print(json.dumps(said))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("call", "message"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_said_in_words(said, call, message):
    assert re.search(f"^ConfigError: .*{message}", str(said[call]))


@pytest.mark.parametrize(("call", "answer"), ANSWERS.items(), ids=ANSWERS)
def test_what_is_no_mistake_is_answered(said, call, answer):
    np.testing.assert_allclose(said[call], answer, atol=1e-6)
