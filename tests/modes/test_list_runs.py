"""--mode list: its output for folders written by hand, their order, and robustness against their contents."""

import datetime
import json
import os

import pytest

import main
from score_sde.errors import UserError
from score_sde.modes.list_runs import read_run
from score_sde.version import VERSION

CONFIG = {
    "model": {"name": "dit"},
    "data": {"name": "digits"},
    "sde": {"name": "ve"},
    "evaluation": {"features": "pixels"},
}


def lines(path, *rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def runs(tmp_path):
    """A run with everything, one that has just begun, a folder that is none, and a file."""
    full, begun = tmp_path / "full", tmp_path / "begun"
    for folder in (full, begun, tmp_path / "notes"):
        folder.mkdir()
    (tmp_path / "file").touch()
    for step in (10, 1200, 900):
        (full / "checkpoints" / str(step)).mkdir(parents=True)
    (full / "checkpoints" / "1300.orbax-checkpoint-tmp").mkdir()
    (full / "config.json").write_text(json.dumps(CONFIG))
    lines(
        full / "environment.jsonl",
        {"command": "main.py --config=configs/vp_digits.py --mode train"},
        {"command": "main.py --mode train --config '/my configs/mine.py:big'"},
        {"command": "main.py --workdir runs/full --mode train"},
        {"command": "main.py --config 'cut off"},
    )
    lines(
        full / "metrics.jsonl",
        {"step": 900, "loss": 5.0, "eval_loss": 4.0},
        {"step": 1200, "loss": 3.0, "eval_loss": 0.25, "frechet": 9.0},
        {"step": 1250, "loss": 2.0},
    )
    with open(full / "metrics.jsonl", "a") as file:
        file.write('{"step": 1300, "eval_loss": 7')  # killed as it wrote
    lines(
        full / "results.jsonl",
        {"mode": "likelihood", "ode_bits_per_dim": 1.5, "ode_standard_error": 0.125, "bound_bits_per_dim": 1.75},
        {"mode": "evaluate", "frechet": 0.5, "frechet_error": 0.25, "features": "classifier"},
        {"mode": "evaluate", "frechet": 77.0, "frechet_error": 0.25, "images": "test"},
        {"mode": "sample", "evaluate": "no", "frechet": 77.0},
        {"mode": "tradeoff", "likelihood": "no", "ode_bits_per_dim": 77.0},
    )  # fmt: skip
    (begun / "config.json").write_text(json.dumps(CONFIG))
    lines(begun / "metrics.jsonl", {"step": 25, "loss": 5.0})
    for i, folder in enumerate((full, begun)):
        for path in folder.iterdir():
            os.utime(path, (1e9 + 60 * i, 1e9 + 60 * i))
    return tmp_path


def listed(folder, capsys, *more):
    main.run(["main.py", "--mode=list", f"--workdir={folder}", *more])
    return capsys.readouterr().out


def test_the_table(runs, capsys):
    """Newest first, with wall-clock times."""
    _, first, second = listed(runs, capsys).splitlines()
    later, earlier = (f"{datetime.datetime.fromtimestamp(1e9 + s):%Y-%m-%d %H:%M}" for s in (60, 0))
    assert second.split() == f"full mine:big 1200 0.25 1.500 0.5 classifier {earlier}".split()
    assert first.split() == f"begun dit digits ve 25 - - - {later}".split()


def test_a_run_among_others_lists_them_all(runs, capsys):
    assert listed(runs / "full", capsys) == listed(runs, capsys)


def test_one_object_for_programs(runs, capsys):
    found = json.loads(listed(runs, capsys, "--json"))
    assert (found["version"], found["mode"], found["workdir"]) == (VERSION, "list", str(runs))
    begun, full = found["records"]
    assert full == {
        "name": "full",
        "folder": str(runs / "full"),
        "changed": "2001-09-09T01:46:40+00:00",
        "config": "mine:big",
        "step": 1200,
        "eval_loss": 0.25,
        "bits_per_dim": 1.5,
        "bits_per_dim_error": 0.125,
        "bits_per_dim_law": "ode",
        "frechet": 0.5,
        "frechet_error": 0.25,
        "frechet_features": "classifier",
    }
    assert (begun["name"], begun["step"], begun["eval_loss"]) == ("begun", 25, None)


def test_quality_of_training_and_a_bound_alone(runs, capsys):
    lines(
        runs / "full" / "results.jsonl",
        {"mode": "likelihood", "bound_bits_per_dim": 1.75, "bound_standard_error": 0.5},
    )
    run = read_run(runs / "full")
    assert (run.bits_per_dim, run.law) == ((1.75, 0.5), "bound")
    assert (run.frechet, run.features) == ((9.0, None), "pixels")
    assert "<1.750" in listed(runs, capsys)
    assert "of the SDE or of its chain" in listed(runs, capsys).splitlines()[-1]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\x00", b"[" * 100_000, b'{"model": 1}', b'{"eval_loss": "x"}'],
)
def test_what_cannot_be_read_is_not_known(runs, capsys, content):
    for path in (runs / "full").iterdir():
        if path.is_file():
            path.write_bytes(content)
    row = next(line for line in listed(runs, capsys).splitlines() if line.startswith("full"))
    assert row.split()[:-2] == ["full", "-", "1200", "-", "-", "-"]


def test_names_are_only_letters_and_a_line_stays_narrow(runs, capsys):
    evil = runs / ("\x1b[2Jred\n" + "x" * 100)
    evil.mkdir()
    (evil / "results.jsonl").touch()
    lines(evil / "environment.jsonl", {"command": f"main.py --config {'y' * 90}.py:\x1b[31m"})
    text = listed(runs, capsys)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 4
    assert max(map(len, text.splitlines())) <= 100


def test_nothing_there(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main.run(["main.py", "--mode", "list"])
    assert capsys.readouterr().out == "no runs in runs; to start one: python main.py\n"
    with pytest.raises(UserError, match="cannot list --workdir=none: No such file or directory"):
        main.run(["main.py", "--mode", "list", "--workdir", "none"])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot list --workdir=file: Not a directory"):
        main.run(["main.py", "--mode", "list", "--workdir", "file"])


@pytest.mark.parametrize(
    "more", ["--config.seed=3", "--sampler=ode", "--config=configs/vp_digits.py"]
)
def test_what_has_no_meaning_there(more):
    with pytest.raises(UserError, match="has no effect with --mode list"):
        main.run(["main.py", "--mode=list", more])
