"""The variance of gradients drawn from known distributions, and the table."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import training_times
from benchmarks.training_times import (
    SCHEMES,
    TRAINED,
    Row,
    gradients,
    relative_variances,
    tables,
    with_scheme,
)
from score_sde.configs.subvp_digits import get_config
from score_sde.errors import UserError
from score_sde.models.layers import dropout
from score_sde.models.networks import NETWORKS
from score_sde.training.recorded_config import as_json, fields


def test_relative_variances_of_known_gradients(monkeypatch):
    """A mean of length 2 in 50 dimensions, white noise of variance s^2 in each: 50 s^2 / 4, within 4.9 standard errors.

    The steadiest scheme tells the length, whose own error is 2 s / (2 sqrt 400) = .5 % at s = .1: twice that of its square.
    """
    mean = np.full(50, 2 / np.sqrt(50))

    def noisy(scale, params, count):
        rng = np.random.default_rng(int(10 * scale))
        return (mean + scale * rng.normal(size=50) for _ in range(count))

    monkeypatch.setattr(training_times, "gradients", noisy)
    scales = [2.0, 0.1, 0.5]
    for scale, (variance, error) in zip(scales, relative_variances(scales, None, 400), strict=True):
        exact = 50 * scale**2 / 4
        assert abs(variance - exact) < 4.892 * error + 0.05 * (1 + exact)
        assert error < 0.1 * exact + 0.05


class Dropping(nn.Module):
    """Dropout and a dense layer."""

    rate: float

    @classmethod
    def from_config(cls, config):
        return cls(config.model.dropout)

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        return nn.Dense(1)(dropout(x, self.rate, dropout_keys))


def test_gradients_are_without_dropout(monkeypatch):
    """Whose noise is none of the times'."""
    monkeypatch.setitem(NETWORKS, "dropping", Dropping)
    config = get_config()
    config.model.name = "dropping"
    config.training.batch_size = 8
    params = {"Dense_0": {"kernel": jnp.ones((1, 1)), "bias": jnp.ones(1)}}
    found = []
    for rate in (0.0, 0.9):
        config.model.dropout = rate
        found.append(list(gradients(config, params, 2)))
    np.testing.assert_array_equal(*found)
    assert np.all(found)
    assert config.model.dropout == 0.9


def test_the_table_says_what_was_not_trained():
    rows = [
        Row(*scheme, 3.0, 0.1, *((1.5, 0.01, 1.6, 0.02) if scheme in TRAINED else ()))
        for scheme in SCHEMES
    ]
    facts = {
        "command": "c", "date": "2026-01-01T", "machine": "m", "device": "d", "load": 0, "jax": "j", "python": "p",
    }  # fmt: skip
    page = tables({"measured": facts, "steps": 10, "rows": rows})[""]
    assert "| log_snr | independent | 3 ± 0.1 | 1.500 ± 0.010 | 1.600 ± 0.020 |" in page
    assert "| log_snr | stratified | 3 ± 0.1 |  |  |" in page
    assert "10 updates of each network: `c` on 2026-01-01" in page


def test_every_scheme_is_one_objective():
    """Starting from a config with another objective: only the drawing of times and the recording differ between schemes."""
    base = get_config()
    assert base.training.weighting == "noise"
    recorded = {"n_iters", "snapshot_freq", "eval_freq", "checkpoint_freq"}
    for times, draws in SCHEMES:
        config = with_scheme(base, times, draws, 5)
        before, after = (dict(fields(as_json(one))) for one in (base, config))
        changed = {name for name in before if after[name] != before[name]}
        free = {"times", "draws", "weighting", *recorded}
        assert changed <= {f"training.{name}" for name in free}
        training = config.training
        assert (training.times, training.draws, training.weighting) == (times, draws, "likelihood")
        assert training.n_iters == 5
    assert {times for times, _ in SCHEMES} == {"uniform", "log_snr"}
    assert set(TRAINED) <= set(SCHEMES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--gradients 1", "--gradients=1: expected 2 or more, for a variance"),
        ("--gradients 0", "--gradients=0: expected 2 or more"),
        ("--steps -3", "training.n_iters=-3"),
        ("--config configs/toy_mixture.py", "there is nothing to train"),
    ],
)
def test_mistakes_are_said_before_anything_is_trained(monkeypatch, tmp_path, arguments, words):
    monkeypatch.setattr(training_times, "train_and_measure", lambda _: pytest.fail("it trained"))
    with pytest.raises(UserError, match=words):
        training_times.main([*arguments.split(), "--out", str(tmp_path)])
