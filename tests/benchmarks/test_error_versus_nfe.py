"""The report of errors: values computed by another program, and the rule for the number of steps of each sampler."""

import json

import pytest

from benchmarks import error_versus_nfe
from benchmarks.error_table import tables
from benchmarks.error_versus_nfe import main
from benchmarks.problems import MixtureFlow
from benchmarks.records import Record, best_within, curve
from score_sde.errors import UserError
from score_sde.evaluation.known_law import dkw_band
from score_sde.samplers.entries import ENTRIES, choose_entries

# (sampler, evaluations of 40 steps, error on the grid of equal log-SNR), the errors by another program
MEASURED = [("euler", 40, 1.8e-2), ("heun", 80, 6.9e-4), ("ddim", 40, 5.7e-2)]


@pytest.mark.slow
def test_quick_report(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- results: error_versus_nfe.json flow -->\n<!-- end of results -->\n")
    records = main(["--quick", "--out", str(tmp_path)])
    found = {(record.sampler, record.nfe): record for record in records}
    for sampler, nfe, error in MEASURED:
        assert found[sampler, nfe].error == pytest.approx(error, rel=0.05)  # two digits are given
    stored = json.loads((tmp_path / "error_versus_nfe.json").read_text())
    assert [Record(*row) for row in stored["records"]] == records
    # 4,096 coordinates: 0.8687/64. Twenty steps of a first-order method are still far from it, eighty are near.
    assert stored["floors"]["law"] == pytest.approx(0.01357, rel=1e-3)
    assert found["euler_maruyama", 20].error > 2 * stored["floors"]["law"]
    assert found["euler_maruyama", 80].error < dkw_band(4096)
    # A quarter in twice the steps.
    assert "| heun | 2 | 0.012 log_snr | 2.8e-03 log_snr |" in page.read_text()
    assert (tmp_path / "error_versus_nfe.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "budget", "nfe"),
    [
        ("tsit5", 20, 19),
        pytest.param("tsit5", 18, 13, marks=pytest.mark.slow),
        pytest.param("dpm_solver_3", 20, 18, marks=pytest.mark.slow),
        pytest.param("unipc_3", 20, 20, marks=pytest.mark.slow),
    ],
)
def test_steps_are_the_most_that_fit(name, budget, nfe):
    """Samplers with six evaluations per step plus one initial, with three and with one; counted by the sampler itself."""
    (run,) = ENTRIES[name].runs([budget], ["log_snr"])
    assert MixtureFlow().measure(run).nfe == nfe


def test_a_sampler_that_cannot_take_a_step_is_left_out():
    assert not list(ENTRIES["dopri8"].runs([5, 10], ["uniform"]))


def test_best_within_a_budget():
    rows = [("a", 9.0, 0.3), ("b", 9.0, 0.2), ("c", 7.0, 0.1), ("d", 21.0, 0.01)]
    records = [Record("flow", "heun", 2, steps, nfe, error) for steps, nfe, error in rows]
    assert best_within(records, 10).steps == "b"  # the nearest below, then the smallest error
    assert best_within(records, 20) is None  # nothing costs more than half
    assert [record.steps for record in curve(records)] == ["b", "d"]


def test_tables_of_errors():
    """The table shows the best error within each budget, marks those below the floor, and states the measured floors below."""
    rows = [
        ["flow", "euler", 1, "uniform", 10.0, 0.5],
        ["flow", "unipc_3", 4, "log_snr", 10.0, 0.004],
        ["law", "sde shark", 2, "rho", 20.0, 0.0123],
        ["digits_law", "ddim", 1, "log_snr", 40.0, 0.25],
    ]
    measured = {
        "command": "c", "date": "2026-01-01T", "machine": "m", "device": "d", "load": 0, "jax": "j", "python": "p",
    }  # fmt: skip
    floors = {"law": 0.02, "digits_law": 0.0286, "test_to_train": 0.1366}
    made = tables({"measured": measured, "floors": floors, "records": rows})
    assert list(made) == ["headline", "flow", "law", "digits_law"]
    assert "| 10 | **unipc_3 4.0e-03 log_snr** | 0.50 uniform |" in made["headline"]
    assert made["headline"].endswith("`c` on 2026-01-01: m, d, load 0, jax j, Python p.")
    # Budgets in which nothing was run have no column.
    assert made["flow"].startswith("| sampler | order | 10 NFE |\n")
    assert made["flow"].endswith("| unipc_3 | 4 | 4.0e-03 log_snr |")
    assert "| sde shark | 2 | <= 0.012 rho |" in made["law"]
    assert made["law"].endswith("\n\nFloor: 0.02.")
    assert made["digits_law"].endswith("\n\nFloor: 0.029. Test split to training split: 0.14.")


def test_unknown_samplers_are_refused():
    with pytest.raises(ValueError, match="--samplers='huen' is unknown; choose one of euler, heun"):
        choose_entries(["huen"])


def test_figures_that_could_not_be_kept_are_not_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(error_versus_nfe, "measure_all", lambda plans: pytest.fail("it measured"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/new cannot be made .Not a directory"):
        main(["--quick", "--out", str(tmp_path / "file" / "new")])


def test_nothing_is_drawn_of_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="--redraw: there is no .*/error_versus_nfe.json"):
        main(["--redraw", "--out", str(tmp_path)])
