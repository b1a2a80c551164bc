"""Few-step samplers with the exact functions of a Gaussian: they are linear in their noise, with a known distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.errors import ConfigError
from score_sde.models.exact import GaussianScore
from score_sde.samplers.configured import configure
from score_sde.samplers.few_steps import ConsistencySampler, MeanFlowSampler
from score_sde.samplers.noise import START
from score_sde.sde_lib import EDM, VP, Linear, SubVP
from tests.fast_cases import product_where
from tests.training.exact_few_steps import LinearFlow

ELL, EPS = 0.25, 1e-3


def given(z):
    """The noise of each step, (n + 1, b, 1): of the start, then of the steps."""
    return lambda step, slot, like: jnp.asarray(z)[jnp.where(step == START, 0, step + 1)]


def variance(sampler, model, grid):
    """Of what a sampler makes of standard normal noise, of which it is a linear function: the sum of the squared factors; and its value at 0."""
    grid = jnp.asarray(grid)
    size = len(grid)
    unit = jnp.eye(size)[:, :, None]  # image i has noise 1 in draw i alone
    like = jnp.zeros((size, 1))
    run = jax.jit(lambda unit: sampler(model, grid, given(unit), like).x)
    factors, at_zero = run(unit), run(0.0 * unit)
    np.testing.assert_array_equal(at_zero, 0.0)
    return np.asarray(factors)[:, 0], float(jnp.sum(jnp.square(factors)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("sde", "steps"),
    product_where(
        lambda sde, steps: steps == 2 or sde == EDM(), [VP(), SubVP(), EDM(), Linear()], [1, 2, 5]
    ),
    ids=str,
)
def test_consistency_sampling_has_the_exact_law(sde, steps):
    """The variance at eps after any steps at any times, up to the prior's mismatch at T, which shrinks with each step."""
    start = sde.signal_end
    grid = np.concatenate([np.linspace(start, EPS, steps + 1)[:-1], [EPS]])
    exact = LinearFlow(sde, ELL, EPS)
    factors, found = variance(ConsistencySampler(sde), exact, grid)
    # By the law of x_t at the times themselves: v <- (c_eps / c_t) v, then the noise up to s.
    c = [float(exact.variance(jnp.asarray(t))) for t in grid]
    a, sigma = (
        np.array([float(of(jnp.asarray(t))) for t in grid]) for of in (sde.alpha, sde.sigma)
    )
    expected = float(sde.prior_std) ** 2
    for k in range(steps):
        end = c[-1] / c[k] * expected
        up = (a[k + 1] / a[-1]) ** 2
        expected = up * end + sigma[k + 1] ** 2 - up * sigma[-1] ** 2
    assert found == pytest.approx(expected, rel=1e-9)
    shrunk = abs(float(sde.prior_std) ** 2 / c[0] - 1)
    assert found == pytest.approx(c[-1], rel=1.01 * shrunk + 1e-9)
    # No noise of the last step is in it, and with more than one that of all others is.
    assert factors[-1] == 0.0
    assert (factors[1:-1] != 0.0).all()
    assert steps == 1 or factors[0] < 0.5 * np.sqrt(c[-1])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("grid", [(1.0, 0.0), (1.0, 0.7, 0.0), (1.0, 0.9, 0.4, 0.1, 0.0)])
def test_the_average_velocity_takes_noise_to_images_in_any_steps(grid):
    """sqrt(ell) z up to rounding: the end of the flow, without remaining noise; and the path."""
    z = jnp.asarray([[-1.5], [0.3], [2.0]])
    exact = LinearFlow(Linear(), ELL)
    times = jnp.asarray(grid)
    found = MeanFlowSampler(Linear())(exact, times, None, z, z, keep_path=True)
    np.testing.assert_allclose(found.x, np.sqrt(ELL) * z, rtol=1e-13)
    stds = np.sqrt((1 - np.array(grid)) ** 2 * ELL + np.array(grid) ** 2)
    np.testing.assert_allclose(found.path[..., 0], stds[:, None] * z[None, :, 0], rtol=1e-13)
    assert found.nfe == len(grid) - 1


def configured(name, sde, **few_steps):
    config = get_config()
    config.sampling.update(sampler=name, eps=EPS)
    config.sampling.few_steps.update(few_steps)
    return configure(config.sampling, sde)


def test_what_a_config_makes_of_them():
    """One step by default, counted exactly, without a last denoising; MeanFlow goes from 1 to 0, in equal steps of time."""
    calls = []

    class Counted(LinearFlow):
        def consistency(self, x, t, keys=None):
            calls.append(np.asarray(t)[0])
            return super().consistency(x, t)

    one = configured("consistency", EDM())
    assert not one.denoises
    np.testing.assert_allclose(one.grid, [80.0, EPS])
    two = configured("consistency", EDM(), num_steps=2)
    middle = ((80.0 ** (1 / 7) + EPS ** (1 / 7)) / 2) ** 7
    np.testing.assert_allclose(two.grid, [80.0, middle, EPS], rtol=1e-4)
    with jax.disable_jit():
        z = jnp.ones((3, 2, 1))
        found = two.sampler(Counted(EDM(), ELL, EPS), two.grid, given(z), z[0])
    assert found.nfe == len(calls) == 2
    np.testing.assert_allclose(calls, two.grid[:-1])
    flow = configured("mean_flow", Linear(), num_steps=4)
    np.testing.assert_allclose(flow.grid, [1.0, 0.75, 0.5, 0.25, 0.0], atol=2 * EPS)
    assert float(flow.grid[-1]) == 0.0
    assert not flow.denoises


@pytest.mark.parametrize("name", ["consistency", "mean_flow"])
def test_a_score_alone_is_refused(name):
    score = GaussianScore.create(jnp.zeros(1), jnp.eye(1), Linear())
    made, z = configured(name, Linear()), jnp.ones((2, 2, 1))
    with pytest.raises(ConfigError, match=f"trained with training.task='{name}'"):
        made.sampler(score, made.grid, given(z), z[0])
