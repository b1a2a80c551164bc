"""A user-defined network: the example of docs/tutorials/extending.md, and one that does not state its conditions."""

import re
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.digits import digits_config
from score_sde.errors import ConfigError
from score_sde.models.networks import NETWORKS, check_asks_for_conditions
from score_sde.sde_lib import build_sde
from score_sde.training.score_task import train
from score_sde.training.trained_score import check_score_model, load_score_model

PAGE = Path(__file__).parents[1] / "docs/tutorials/extending.md"


class Deaf(nn.Module):
    """eps_hat = w x, whatever the condition."""

    from_config = classmethod(lambda cls, config: cls())

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        return self.param("w", nn.initializers.ones, ()) * x


@pytest.fixture
def config(monkeypatch):
    (example,) = re.findall(r"```python\n(# models/small.py.*?)```", PAGE.read_text(), re.DOTALL)
    names = {"__name__": "small"}
    exec(example, names)
    monkeypatch.setitem(NETWORKS, "small", names["Small"])
    monkeypatch.setitem(NETWORKS, "deaf", Deaf)
    config = digits_config("vp")
    config.model.update(name="small", num_classes=10)
    return config


def test_the_example_trains_with_classes_and_tells_them_apart(config, tmp_path):
    config.training.update(
        batch_size=8, n_iters=2, eval_freq=0, snapshot_freq=0, label_dropout=0.1, num_devices=1
    )
    train(config, tmp_path)
    model = load_score_model(config, build_sde(config), tmp_path).model
    x, t = jnp.ones((2, 8, 8, 1)), jnp.full(2, 0.5)
    same = model.given({"label": jnp.array([3, 3])})(x, t)
    np.testing.assert_array_equal(same[0], same[1])
    other = model.given({"label": jnp.array([3, 4])})(x, t)
    assert jnp.abs(other[0] - other[1]).max() > 1e-4


@pytest.mark.parametrize(
    "asked", [{"num_classes": 10}, {"words": "one two"}, {"condition_channels": 3}]
)
def test_a_network_that_asks_for_no_condition_gets_none(config, asked, tmp_path):
    config.model.update({"name": "deaf", "num_classes": 0})
    check_asks_for_conditions(config)
    config.model.update(asked)
    (field,) = asked
    with pytest.raises(
        ConfigError, match=rf"model.{field}=.*'deaf': Deaf has no method `conditions`"
    ):
        train(config, tmp_path)
    check_score_model(config, build_sde(config))  # a folder of before is still read
