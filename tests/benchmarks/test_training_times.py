"""The variance of gradients that are drawn from known laws, and the table."""

import numpy as np
import pytest

from benchmarks import training_times
from benchmarks.training_times import SCHEMES, TRAINED, Row, relative_variances, tables


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
    """Only how times are drawn differs."""
    assert {times for times, _ in SCHEMES} == {"uniform", "log_snr"}
    assert set(TRAINED) <= set(SCHEMES)
    with pytest.raises(SystemExit):
        training_times.parse(["--steps", "many"])
