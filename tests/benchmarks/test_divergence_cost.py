"""The cost of the divergence in operations, and a run of the measurement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import divergence_cost
from benchmarks.divergence_cost import (
    FLOP_LIMIT,
    Cost,
    drift_and_trace,
    flops,
    main,
    measure,
    network,
    table,
)
from score_sde.errors import UserError
from score_sde.likelihood.trace import IndependentProbes
from score_sde.models.exact import GaussianScore
from score_sde.sde_lib import VP


def model(x, t):
    """Two convolutions with a nonlinearity: a score as far as costs go."""
    hidden = jax.nn.swish(jax.lax.conv(x, jnp.full((16, 3, 3, 3), 0.1), (1, 1), "SAME"))
    return jax.lax.conv(hidden, jnp.full((3, 16, 3, 3), 0.1), (1, 1), "SAME")


@pytest.mark.parametrize("num_probes", [1, 4])
def test_a_product_costs_one_evaluation_more(num_probes):
    """A second evaluation of the network for each product, and next to nothing beside: the divergence shares the drift's
    pass, and further probes share it too."""
    x = jnp.ones((2, 3, 16, 16))
    vectors = jnp.ones((2, num_probes, 3, 16, 16))
    alone = jax.jit(lambda x: network(model, x)).lower(x).compile()
    program = drift_and_trace(VP(), IndependentProbes(num_probes))
    both = jax.jit(lambda x, vectors: program(model, x, vectors)).lower(x, vectors).compile()
    ratio = flops(both) / flops(alone)
    assert 1 + 0.9 * num_probes < ratio <= 1 + (FLOP_LIMIT - 1) * num_probes


def test_operations_are_those_of_a_matrix_product():
    compiled = jax.jit(lambda a, b: a @ b).lower(jnp.ones((8, 16)), jnp.ones((16, 4))).compile()
    assert flops(compiled) == pytest.approx(2 * 8 * 16 * 4, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "products"), [("orthogonal:4", 4), ("hutchpp:2", 4), ("exact:1", 6)]
)
def test_a_measurement(name, products):
    """Timings of so small a network only show that they were taken. Operations are not counted for products in several passes."""
    score = GaussianScore(jnp.zeros(6), jnp.ones(6), jnp.eye(6), VP())
    cost = measure(name, VP(), score, jnp.ones((2, 6)), at_once=3, repeats=2)
    assert (cost.products, cost.flops) == (products, None)
    assert 0 < cost.low <= cost.time <= cost.high


def test_costs_above_the_limits_are_marked():
    """Limits apply to one product: more than 2.1 evaluations in operations, or 2.3 in the lower quartile of the time."""
    fine = Cost("fine", 1, 2.05, 2.4, 2.2, 2.6, 1.0)
    rows = [
        fine,
        fine._replace(probe="work", flops=2.2),
        fine._replace(probe="slow", low=2.35),
        fine._replace(probe="many", products=4, flops=5.0, low=5.0),
    ]
    marked = [line.split()[0] for line in table(rows).splitlines() if "above" in line]
    np.testing.assert_array_equal(marked, ["work", "slow"])


def test_figures_that_could_not_be_kept_are_not_measured(monkeypatch, tmp_path):
    """The command fails before a network is built."""
    monkeypatch.setattr(divergence_cost, "random_network", lambda *_: pytest.fail("it began"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="rows.jsonl cannot be written"):
        main(["--config", "configs/vp_digits.py", "--json", str(tmp_path / "file" / "rows.jsonl")])
