"""The peers' samplers on Gaussian data with the exact noise in closed form: they reach the distribution that the flow maps to."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("torchdiffeq")

from benchmarks.peers.torch_samplers import SAMPLERS, SMALLEST_TIME, solved  # noqa: E402
from benchmarks.peers.torch_vp import expand, marginal  # noqa: E402

MEAN, DEVIATION = 0.5, 0.3


def moments(t):
    """Mean and standard deviation of x_t."""
    alpha, sigma = marginal(t)
    return alpha * MEAN, torch.sqrt((alpha * DEVIATION) ** 2 + sigma**2)


def predicted_noise(x, labels):
    """sigma (x - mean) / variance at t = label / 999."""
    t = labels / 999.0
    _, sigma = marginal(t)
    mean, deviation = moments(t)
    return expand(sigma / deviation**2) * (x - expand(mean))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_follows_the_flow(name):
    """The flow of Gaussian data is affine and preserves (x - mean) / deviation. DDIM with 200 steps is 0.013 from it."""
    noise = torch.linspace(-2.0, 2.0, 5).reshape(5, 1, 1, 1).double()
    sample = solved(1e-5) if name == "dopri5 adaptive" else SAMPLERS[name]
    found = sample(predicted_noise, noise, 200)
    (mean_1, deviation_1), (mean_0, deviation_0) = (
        moments(torch.tensor(t, dtype=torch.float64)) for t in (1.0, SMALLEST_TIME)
    )
    expected = mean_0 + deviation_0 * (noise - mean_1) / deviation_1
    assert float((found.x - expected).abs().max()) < 0.02
    assert found.nfe == 200 or (name == "dopri5 adaptive" and 14 < found.nfe < 200)
