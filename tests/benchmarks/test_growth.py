"""The growth of costs: exponents, tables, and each axis on a tiny network."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.growth import AXES, Point, curves, exponents, newest_curves, table, tables
from score_sde.errors import UserError
from score_sde.training.trained_score import load_score_model


def of(values, at=(1, 2, 8)):
    return [Point("n", "cost", n, value, "s") for n, value in zip(at, values, strict=True)]


def test_exponents():
    """Costs of n, 1 and n^2 have the exponents 1, 0 and 2."""
    assert exponents(of((3.0, 6.0, 24.0))) == pytest.approx([1, 1])
    assert exponents(of((3.0, 3.0, 3.0))) == pytest.approx([0, 0])
    assert exponents(of((3.0, 12.0, 192.0))) == pytest.approx([2, 2])


def test_a_point_at_zero_has_no_exponent():
    lines = table(of((1.0, 1.0, 4.0), at=(0, 1, 2))).splitlines()[2:]
    assert [line.split("|")[-2].strip() for line in lines] == ["", "", "2.00"]


def test_curves_are_kept_apart():
    points = [Point("n", "a", 1, 1.0, "s"), Point("n", "b", 1, 2.0, "s"), Point("n", "a", 2, 2.0, "s")]  # fmt: skip
    assert [[point.value for point in curve] for curve in curves(points)] == [[1.0, 2.0], [2.0]]


def test_runs_have_tables_of_their_own():
    """The newest run comes first. No exponent is taken across runs: for 1, 4 and 16 at 1, 2 and 4 it would be 2."""
    facts = {"machine": "m", "device": "d", "load": 0, "jax": "j", "python": "p"}
    runs = [("2026-01-01", "old"), ("2026-01-02", "new"), ("2026-01-02", "new")]
    points = of((1.0, 4.0, 8.0), at=(1, 2, 4))
    rows = [
        point._asdict() | facts | {"date": date, "command": command}
        for point, (date, command) in zip(points, runs, strict=True)
    ]
    lines = [line for line in tables(rows)[""].splitlines() if "cost" in line or "`" in line]
    assert lines == [
        "| n | cost | 2 | 4 s |  |",
        "| n | cost | 4 | 8 s | 1.00 |",
        "`new` on 2026-01-02: m, d, load 0, jax j, Python p.",
        "| n | cost | 1 | 1 s |  |",
        "`old` on 2026-01-01: m, d, load 0, jax j, Python p.",
    ]


def test_a_picture_has_each_curve_of_the_newest_run():
    """One that was not measured again stays."""
    runs = [("old", "a", 1.0), ("new", "a", 2.0), ("old", "b", 3.0)]
    rows = [
        Point("n", measure, 1, value, "s")._asdict()
        | {"date": {"old": "2026-01-01", "new": "2026-01-02"}[run], "command": run}
        for run, measure, value in runs
    ]
    found = [[(p.measure, p.value) for p in curve] for curve in newest_curves(rows)]
    assert found == [[("a", 2.0)], [("b", 3.0)]]


def test_evaluations_of_ddim_are_those_that_the_driver_counts(monkeypatch):
    """One for each step, and one for the last noise."""
    exact = lambda config, sde: load_score_model(config, sde, Path()).model  # noqa: E731
    monkeypatch.setattr(growth, "random_network", exact)
    options = growth.parse(["--config", growth.TOY, "--steps", "2", "5"])
    assert [point.at for point in growth.steps(growth.Setting(options, 0.0, 1))] == [3, 6]


def test_an_unknown_axis_is_refused():
    with pytest.raises(UserError, match=r"--axes=depth: take batch, resolution"):
        growth.main(["--axes", "depth"])


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made .* give another folder"):
        growth.main(["--out", str(tmp_path / "file")])


def test_evaluations_grow_with_the_fifth_root_of_the_tolerance(tmp_path):
    """Dormand-Prince has order 5, so evaluations grow with the fifth root of 1 / tolerance, and less at first."""
    arguments = ["--axes", "tolerance", "--tolerances", "2", "6", "--out", str(tmp_path)]
    page = tmp_path / "page.md"
    page.write_text("<!-- results: growth.jsonl -->\n<!-- end of results -->\n")
    points = growth.main(arguments)
    assert exponents(points)[0] == pytest.approx(0.2, abs=0.08)
    lines = (tmp_path / "growth.jsonl").read_text().splitlines()
    assert [json.loads(line)["value"] for line in lines] == [point.value for point in points]
    assert (tmp_path / "growth.png").stat().st_size > 5_000
    assert "| evaluations of Dopri5 | 1e+06 |" in page.read_text()


def test_devices_are_the_cpus_and_are_timed_as_asked(monkeypatch):
    """Each number of devices runs on the CPU in its own process, even if this machine has an accelerator."""
    asked = []

    def run(command, env, **_):
        asked.append((command[-4:], env["JAX_PLATFORMS"], env["XLA_FLAGS"].split("=")[-1]))
        return subprocess.CompletedProcess(command, 0, "0.25\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    options = growth.parse("--devices 1 4 --block 0.5 --rounds 2".split())
    points = [*growth.devices(growth.Setting(options, options.block, options.rounds))]
    timed = ["--block", "0.5", "--rounds", "2"]
    assert asked == [(timed, "cpu", "1"), (timed, "cpu", "4")]
    assert [(point.at, point.value) for point in points] == [(1, 0.25), (4, 0.25)]


@pytest.mark.slow
def test_every_axis_of_a_tiny_network(tmp_path):
    arguments = (
        "--config configs/vp_digits.py --nf 8 --batches 1 2 --resolutions 8 16 --devices 1 2 --steps 2 4 "
        f"--tolerances 1 2 --classes 0 3 --block 0.01 --rounds 1 --out {tmp_path}"
    )
    points = growth.main(arguments.split())
    assert len(curves(points)) == len(AXES) + 1  # an evaluation and a training step of a batch
    assert all(point.value > 0 for point in points)
