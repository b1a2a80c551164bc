"""The loop that samplers are compared with, and a run of the measurement."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import sampler_overhead
from benchmarks.sampler_overhead import Bench, Overhead, Sampling, evaluations, main, table
from score_sde.config_file import load_config
from score_sde.errors import UserError
from score_sde.samplers.entries import ENTRIES


@pytest.mark.parametrize(("count", "total"), [(2, 3.0), (5, 8.0)])
def test_the_loop_evaluates_so_often(x64, count, total):
    """A model that returns its time: the state gains the sum of the first times, 1 + 2 + 3, again and again."""

    def model(x, t):
        return 1e6 * jnp.broadcast_to(t[:, None], x.shape)

    x = evaluations(model, jnp.zeros((2, 3)), jnp.array([1.0, 2.0, 2.0]), jnp.asarray(count))
    np.testing.assert_allclose(x, total, rtol=1e-12)


def test_adaptive_steps_are_counted_by_their_evaluations(monkeypatch):
    """Dormand and Prince's step evaluates six times, and there is one evaluation before the first; a step of the loop and its
    sampler take a second each."""
    monkeypatch.setattr(sampler_overhead, "random_network", lambda *_: None)
    bench = Bench(load_config("configs/vp_digits.py"), 4, 50, 1, itertools.count().__next__)
    drawn = Sampling(lambda: jnp.zeros(3), jnp.zeros(3), 6 * 7 + 1, jnp.zeros(3))
    monkeypatch.setattr(bench, "sampler", lambda _: drawn)
    monkeypatch.setattr(bench, "evaluations", lambda *_: jnp.zeros(3))
    found = bench.measure(ENTRIES["dopri5 adaptive"])
    assert (found.steps, found.nfe) == (7, 43)
    assert bench.measure(ENTRIES["heun"]).steps == 50


@pytest.mark.slow
def test_a_run_on_a_small_network(tmp_path):
    """Two steps of Heun's method evaluate four times; timings of so small a network only show that they were taken."""
    file = tmp_path / "overhead.jsonl"
    command = "--config configs/vp_digits.py --batch 4 --steps 2 --repeats 1 --samplers heun"
    (row,) = main([*command.split(), "--json", str(file)])
    assert (row.steps, row.nfe) == (2, 4)
    assert row.overhead == pytest.approx(row.sampler_seconds / row.network_seconds - 1)
    beyond = row.sampler_seconds - row.network_seconds
    assert row.microseconds_per_step == pytest.approx(1e6 * beyond / 2)
    assert len(file.read_text().splitlines()) == 1


def test_samplers_above_the_limit_are_marked():
    """A sampler is marked if even the lower quartile is above 3 %."""
    slow = Overhead("slow", 10, 10, 1.05, 1.0, 0.05, 0.04, 0.06, 5000.0)
    noisy = slow._replace(sampler="noisy", low=0.02)
    marked = [line.split()[0] for line in table([slow, noisy]).splitlines() if "above" in line]
    assert marked == ["slow"]


def test_figures_that_could_not_be_kept_are_not_measured(monkeypatch, tmp_path):
    """The command fails before a network is built."""
    monkeypatch.setattr(sampler_overhead, "Bench", lambda *_: pytest.fail("it began"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="rows.jsonl cannot be written"):
        main(["--config", "configs/vp_digits.py", "--json", str(tmp_path / "file" / "rows.jsonl")])
