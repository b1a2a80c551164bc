"""An output whose shape differs from the images would be broadcast and train with plausible numbers: it is refused."""

import subprocess
import sys
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from score_sde.configs.default import get_config
from score_sde.errors import UserError
from score_sde.models.networks import NETWORKS
from score_sde.models.parameterization import build_parameterization
from score_sde.models.score import NetworkScore
from score_sde.sde_lib import build_sde
from score_sde.training.score_task import train

X = jax.ShapeDtypeStruct((2, 4, 4, 3), jnp.float32)
T = jax.ShapeDtypeStruct((2,), jnp.float32)
CUTS = {
    "one channel": lambda x: x[..., :1],
    "one number": lambda x: x[:, 0, 0, 0],
    "one image": lambda x: x[:1],
}


class OneChannel(nn.Module):
    """A last layer of one channel, whatever the images have."""

    from_config = classmethod(lambda cls, config: cls())

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        return nn.Dense(1)(x)


@pytest.fixture
def config():
    config = get_config()
    config.data.update(name="mixture", image_size=4, num_channels=3, num_levels=0)
    config.model.update(name="one_channel", num_scales=100)
    return config


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("predicts", ["noise", "score", "x0", "velocity"])
def test_whatever_the_network_predicts(cut, predicts, config):
    config.model.predicts = predicts
    parameterization = build_parameterization(config, build_sde(config))
    model = NetworkScore({}, lambda params, x, *rest: cut(x), parameterization)
    with pytest.raises(UserError, match=r"for images of shape \(2, 4, 4, 3\)"):
        jax.eval_shape(model, X, T)


def test_at_the_levels_of_a_chain(config):
    config.training.continuous = False
    parameterization = build_parameterization(config, build_sde(config))
    model = NetworkScore({}, lambda params, x, *rest: x[..., :1], parameterization)
    with pytest.raises(UserError, match=r"\(2, 4, 4, 1\) for images"):
        jax.eval_shape(model.at_level, X, jax.ShapeDtypeStruct((2,), jnp.int32))


def test_before_anything_is_compiled(config, tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, "one_channel", OneChannel)
    jit = jax.jit  # of which only the tracing is left
    monkeypatch.setattr(jax, "jit", lambda f, **how: SimpleNamespace(trace=jit(f, **how).trace))
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda *_: pytest.fail("compiles"))
    with pytest.raises(UserError, match=r"output of OneChannel has the shape \(1, 4, 4, 1\)"):
        train(config, tmp_path)


def test_a_plain_score_function():
    """Outside pytest, whose shape checks would fail first."""
    code = """
import jax.numpy as jnp
from score_sde.configs.default import get_config
from score_sde.errors import UserError
from score_sde.models.score import denoise
from score_sde.sde_lib import VP
from score_sde.training.losses import build_loss
sde, x, t = VP(), jnp.ones((2, 4, 4, 3)), jnp.full(2, 0.5)
score = lambda x, t: x[..., :1]
config = get_config()
discrete = get_config()
discrete.training.continuous = False
for use in (
    lambda: build_loss(config, sde)(score, x, t, x),
    lambda: build_loss(discrete, sde)(type("S", (), {"at_level": staticmethod(score)}), x, t, x),
    lambda: sde.reverse_drift(x, t, score(x, t)),
    lambda: denoise(sde, score(x, t), x, t),
):
    try:
        use()
    except UserError as error:
        assert "the score has the shape (2, 4, 4, 1)" in str(error)
    else:
        raise SystemExit("broadcast")
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
