"""--json: a single object on stdout and nothing else, whatever a mode or a library prints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import main
from score_sde.configs.default import get_config
from score_sde.errors import UserError
from score_sde.json_output import note, only_json
from score_sde.results import report
from score_sde.version import VERSION, made_by

ROOT = Path(__file__).parents[1]
TOY = [
    "--config=configs/toy_mixture.py:ve",
    "--config.sampling.num_images=8",
    "--config.sampling.batch_size=8",
    "--config.sampling.exponential.num_steps=2",
    "--config.sampling.errors.num_images=8",
]


def run(workdir, *arguments):
    command = [sys.executable, "main.py", *arguments, f"--workdir={workdir}"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("json") / "run"
    return folder, run(folder, *TOY, "--mode=sample", "--sampler=ddim", "--json")


def test_stdout_is_one_object_with_the_records(sampled):
    folder, done = sampled
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert list(found) == ["version", "commit", "mode", "workdir", "config", "records"]
    assert (found["version"], found["mode"]) == (VERSION, "sample")
    assert (found["workdir"], found["config"]) == (str(folder), "configs/toy_mixture.py:ve")
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert found["records"] == [json.loads(line) for line in lines]
    assert found["records"][0]["version"] == VERSION


def test_people_read_the_same_on_stderr(sampled):
    """Figures and progress, without colors or lines that overwrite themselves."""
    _, done = sampled
    assert "ks_distance" in done.stderr
    assert "8/8" in done.stderr
    assert not set("\x1b\r") & set(done.stderr)


def test_after_a_mistake_stdout_is_empty(tmp_path):
    done = run(tmp_path / "run", *TOY, "--mode=sample", "--sampler=dim", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("; did you mean ddim?\n")


def test_records_are_those_within(tmp_path, capsys):
    """Two commands in one process each have their own records; NaN becomes null."""
    report(tmp_path, {"mode": "before"})
    for i in range(2):
        with only_json(mode="sample"):
            print("for people")
            report(tmp_path, {"mode": "sample", "i": i, "losses": [float("nan")]})
    note({"nobody": "asks"})
    out, err = capsys.readouterr()
    assert err.count("for people") == 2
    shown = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [one["records"] for one in shown] == [[records[1]], [records[2]]]
    assert records[1]["losses"] == [None]
    assert shown[0] == {**made_by(), "mode": "sample", "records": [records[1]]}


def test_what_fails_within_says_nothing_on_stdout(capsys):
    def fails():
        with only_json(mode="sample"):
            note({"half": "done"})
            raise UserError("no")

    with pytest.raises(UserError):
        fails()
    assert capsys.readouterr().out == ""


def test_a_report_says_where_it_is(tmp_path, capsys):
    (tmp_path / "config.json").write_text(get_config().to_json())
    main.run(["main.py", "--mode=report", f"--workdir={tmp_path}", "--json"])
    (record,) = json.loads(capsys.readouterr().out)["records"]
    assert record == {"mode": "report", "report": str(tmp_path / "report.html")}
