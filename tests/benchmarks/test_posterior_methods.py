"""The table of posterior methods on its smallest problems: distances known from elsewhere, and for finite sets by sampling."""

from argparse import Namespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import posterior_methods
from benchmarks.posterior_methods import METHODS, calls_of, main, sliced, wasserstein
from benchmarks.posterior_problems import PROBLEMS, exact_draws
from benchmarks.posterior_table import tables
from benchmarks.tables import read
from score_sde.errors import UserError
from score_sde.evaluation.affine_law import Law
from score_sde.models.exact import MixtureScore
from score_sde.sde_lib import VP

# Squared distances of continuous laws to the posterior, from moment equations solved elsewhere, to two digits.
DISTANCES = {
    ("pair .5", "oracle, ODE"): 2.2e-5,
    ("pair .5", "PiGDM, SDE"): 2.2e-3,
    ("pair .5", "DPS, SDE"): 0.13,
    ("pair .1", "oracle, ODE"): 1.2e-5,
    ("pair .1", "PiGDM, SDE"): 1.7e-3,
    ("pair .1", "DPS, SDE"): 0.037,
}


MARKER, END = "<!-- results: posterior_methods.jsonl", "<!-- end of results -->"


def figures(folder):
    """By problem and method, of what a run has written."""
    lines = read(folder / "posterior_methods.jsonl")
    return {(line["problem"], line["method"]): Namespace(**line) for line in lines}


def test_a_wrong_method_is_as_wrong_as_it_should_be(tmp_path, monkeypatch):
    """A second run of the command measures nothing; half a unit of the second digit is up to 5 %."""
    page = tmp_path / "page.md"
    page.write_text(f"{MARKER} gaussian -->\n{END}\n")
    methods = sorted({method for _, method in DISTANCES})
    options = ["--methods", *methods, "--steps", "400", "--out", str(tmp_path)]
    main(["--problems", "pair .5", *options])
    main(["--problems", "pair .1", *options])
    found = figures(tmp_path)
    for name, distance in DISTANCES.items():
        assert found[name].distance == pytest.approx(distance, rel=0.05), name
    of_dps = {(f.evaluations, f.products) for name, f in found.items() if "DPS, SDE" in name}
    assert of_dps == {(800, 800)}
    text = page.read_text()
    assert "| DPS, SDE | 800 | 800 | 0.13 | 0.037 |" in text
    monkeypatch.setattr(posterior_methods, "measure", None)
    main(["--problems", "pair .1", "pair .5", *options])
    assert page.read_text() == text
    with pytest.raises(TypeError):  # of other steps it would measure
        main(["--problems", "pair .5", *options, "--steps", "401"])


@pytest.mark.slow
def test_a_finite_set_by_sampling(tmp_path):
    """The oracle is near the floor and inexact guidance is not; methods that need sigma_y = 0 are left out."""
    options = ["--problems", "points .3", "--methods", "oracle, SDE", "DiffPIR, SDE", "DDNM, SDE"]
    main([*options, "--steps", "60", "--samples", "300", "--out", str(tmp_path)])
    oracle, diffpir = figures(tmp_path).values()
    assert (oracle.method, diffpir.method) == ("oracle, SDE", "DiffPIR, SDE")
    assert 0 < oracle.distance < 5 * oracle.floor < diffpir.distance
    text = tables(read(tmp_path / "posterior_methods.jsonl"))["points"]
    assert f"| oracle, SDE | 120 | 0 | {oracle.distance:.2g} |" in text
    assert f"| samples of the posterior (floor) | | | {oracle.floor:.2g} |" in text
    assert "60 steps, 300 samples: `python -m benchmarks.posterior_methods" in text


FACTS = {"machine": "M", "device": "D", "load": 1.0, "jax": "1", "python": "3"}


def line(problem, method, distance, command, date, **others):
    figure = {"distance": distance, "floor": 0.0, "evaluations": 80, "products": 0}
    setting = {"steps": 40, "samples": None, "command": command, "date": date}
    return {"problem": problem, "method": method, **figure, **setting, **FACTS, **others}


def test_the_last_figure_counts_and_each_command_is_named():
    """A resumed command is listed with its first date; methods appear in their fixed order, with the cost of
    each column."""
    lines = [
        line("pair .5", "DDRM", 0.9, "old", "2026-01-01"),
        line("pair 0", "DDRM", 314.0, "new", "2026-01-02", steps=50, evaluations=100),
        line("pair .5", "DDRM", 0.5, "new", "2026-01-03", steps=50),
        line("pair .5", "oracle, ODE", 0.125, "more", "2026-01-04"),
    ]
    (text,) = tables(lines).values()
    assert text.splitlines() == [
        "| method | evaluations | products with J | pair .5 | pair 0 |",
        "|---|---|---|---|---|",
        "| oracle, ODE | 80 | 0 | 0.12 | - |",
        "| DDRM | 80, 100 | 0 | 0.5 | 310 |",
        "",
        "50 steps: `new` on 2026-01-02: M, D, load 1.0, jax 1, Python 3.",
        "",
        "40 steps: `more` on 2026-01-04: M, D, load 1.0, jax 1, Python 3.",
    ]


def test_the_distance_of_gaussians():
    """For commuting covariances by their standard deviations, and for nearly equal ones, where traces would cancel."""
    a = Law(np.zeros(2), np.diag([4.0, 1.0]))
    assert wasserstein(a, Law(np.array([1.0, 0.0]), np.diag([1.0, 9.0]))) == pytest.approx(
        1 + 1 + 4
    )
    # tr (A^1/2 B A^1/2)^1/2 of two rows is (tr AB + 2 (det A det B)^1/2)^1/2
    turned = Law(np.zeros(2), np.array([[2.5, 1.5], [1.5, 2.5]]))
    assert wasserstein(a, turned) == pytest.approx(5 + 5 - 2 * np.sqrt(12.5 + 2 * 4))
    near = Law(np.zeros(2), np.diag([(2 + 1e-9) ** 2, 1.0]))
    assert wasserstein(a, near) == pytest.approx(1e-18, rel=1e-3)
    singular = Law(np.zeros(2), np.diag([0.0, 1.0]))
    assert wasserstein(singular, Law(np.zeros(2), np.diag([0.0, 4.0]))) == pytest.approx(1.0)
    wider = Law(np.zeros(2), np.diag([0.25, 4.0]))
    assert wasserstein(singular, wider) == pytest.approx(0.25 + 1)
    assert wasserstein(wider, singular) == pytest.approx(0.25 + 1)
    # A line turned by 60 degrees: 1 + 1 - 2 cos 60.
    line = np.array([[np.sqrt(3) / 2], [0.5]])
    assert wasserstein(singular, Law(np.zeros(2), line @ line.T)) == pytest.approx(1.0)


def test_the_sliced_distance_of_a_shift():
    """For a shift it is the squared shift along each direction, whose mean over the plane is half the squared length."""
    x = np.random.default_rng(0).standard_normal((50, 2))
    directions = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert sliced(x + np.array([3.0, 1.0]), x, directions) == pytest.approx((9 + 1) / 2)


def test_what_is_counted():
    """Counts use the method's own number of steps, and include products made by the sampler itself."""
    problem = PROBLEMS["points .3"]()
    found = {
        method: calls_of(METHODS[method].sampler(problem.sde), METHODS[method].steps or 50)
        for method in ("oracle, SDE", "DDRM", "DAPS", "PnP-DM", "TDS, 16")
    }
    assert found == {
        "oracle, SDE": (100, 0), "DDRM": (50, 0), "DAPS": (800, 0), "PnP-DM": (800, 0), "TDS, 16": (800, 800),
    }  # fmt: skip


def test_draws_of_the_posterior():
    """Means of 20,000 draws of a mixture's posterior, and variances of another, within 5 standard errors: ten numbers, one false
    alarm in 170,000."""
    law = PROBLEMS["modes 8/2"]().posterior
    x = exact_draws(law, 20_000, np.random.default_rng(0))
    mean = law.weights @ law.components.mean / law.weights.sum()
    assert (np.abs(x.mean(axis=0) - mean) < 5 * x.std(axis=0) / np.sqrt(len(x))).all()
    wide = MixtureScore.create(
        jnp.ones(1), jnp.zeros((1, 2)), jnp.diag(jnp.array([4.0, 0.25]))[None], VP()
    )
    variances = exact_draws(jax.tree.map(np.asarray, wide), 20_000, np.random.default_rng(1)).var(
        axis=0
    )
    assert variances == pytest.approx([4.0, 0.25], rel=5 * np.sqrt(2 / 20_000))


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="--methods 'none': expected some of oracle"):
        posterior_methods.parse(["--methods", "none"])
