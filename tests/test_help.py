"""The help of main.py: without importing JAX, fitting on a screen, and correct."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

import main
from score_sde import fields, help
from score_sde.command_line import parse
from score_sde.errors import UserError
from score_sde.flag_table import MODES, defined_flags
from score_sde.mode_help import HELP
from score_sde.version import VERSION

ROOT = Path(__file__).parents[1]
LINES, COLUMNS = 48, 100
HEAVY = ("jax", "flax", "optax", "orbax", "tensorflow_datasets", "diffrax", "matplotlib", "PIL")


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("COLUMNS", raising=False)


def said(arguments, capsys):
    assert main.run(["main.py", *arguments.split()]) == {}
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", ["", "--help", "--mode sample --help", "--helpfull", "--version", "--mode list"]
)
def test_without_anything_heavy(arguments, tmp_path):
    """In well under a second of processor time, since no slow module is imported."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['main.py', *{arguments.split()!r}]; "
        "import main; status = main.main(); import time; print(time.process_time(), file=sys.stderr); "
        f"sys.exit(status or any(name in sys.modules for name in {HEAVY!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert float(done.stderr.splitlines()[-1]) < 1.0


def test_every_mode_has_its_help():
    assert list(HELP) == list(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_the_help_of_a_mode_fits_a_screen(mode, capsys):
    text = said(f"--mode {mode} --help", capsys)
    assert text == said(f"--help --mode={mode} --config none.py", capsys)
    assert len(text.splitlines()) <= LINES
    assert max(map(len, text.splitlines())) <= COLUMNS
    known, shown = fields.known_fields(), set(HELP[mode].fields)
    assert shown <= set(known)
    assert len(HELP[mode].fields) == len(shown) <= 24
    for name in shown:
        assert f"{name}={known[name].default} " in text + " "


def test_the_help_of_a_mode_has_the_flags_that_it_reads():
    """`restore` accepts any sampler, and every mode can print JSON."""
    drawing = {mode for mode in MODES if "--sampler " in help.of_mode(mode)}
    assert drawing == {"train", "sample", "interpolate", "restore", "evaluate"}
    assert all("--json " in help.of_mode(mode) for mode in MODES)


@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrower_terminal(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert max(map(len, help.of_mode("sample").splitlines())) <= max(columns, 75)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in ("import", "export")])
def test_examples_are_understood(mode, tmp_path, monkeypatch):
    """By the parser, in a folder with such runs."""
    for name in ("configs", "score_sde"):
        (tmp_path / name).symlink_to(ROOT / name)
    config = parse(
        ["main.py", "--config=configs/subvp_digits.py:conditional", "--mode=data"], ""
    ).config
    for name in ("subvp_digits", "subvp_digits-conditional"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").write_text(config.to_json())
    monkeypatch.chdir(tmp_path)
    assert parse(["main.py", *shlex.split(HELP[mode].example)], "").mode == mode


def test_all_there_is(capsys):
    text = said("--helpfull", capsys)
    for name, field in fields.known_fields().items():
        assert f"--config.{name}={field.default}\n    {field.what}\n" in text + "\n"
    for name in defined_flags():
        assert f"--{name}" in text or f"--[no]{name}" in text
    assert "DPM-Solver++(2M)" in text


def test_the_table_of_fields_is_that_of_the_sections():
    """If this fails, run python -m score_sde.fields."""
    assert fields.known_fields() == fields.of_sections(), "run: python -m score_sde.fields"
    assert fields.FILE.read_text() == fields.as_text(fields.known_fields())


def test_nothing_said_is_answered_with_what_to_do_next(tmp_path, capsys, monkeypatch):
    """The suggested commands are valid; the folder is the one trained last."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)  # in which nothing was trained yet
    text = said("", capsys)
    assert 3 <= len(text.splitlines()) <= 4
    commands = [line.partition("  #")[0].split()[2:] for line in text.splitlines()]
    assert parse(["main.py", *commands[0]], "").mode == "train"
    assert commands[1][:2] == ["--workdir", "runs/subvp_digits"]
    assert parse(["main.py", *commands[2]], "").mode == "list"
    for i, name in enumerate(("older", "newer")):
        (tmp_path / "runs" / name / "checkpoints" / "100").mkdir(parents=True)
        record(tmp_path / "runs" / name, {}, 1000 + i)
    # Without --sampler: that of a consistency model, say, is its own.
    assert "--workdir runs/newer --mode sample  " in said("", capsys)
    (tmp_path / "runs" / "failed" / "checkpoints").mkdir(parents=True)
    (tmp_path / "runs" / "classifier" / "checkpoints" / "100").mkdir(parents=True)
    record(tmp_path / "runs" / "failed", {}, 2000)
    record(tmp_path / "runs" / "classifier", {"training": {"task": "classifier"}}, 2000)
    assert "--workdir runs/newer --mode sample  " in said("", capsys)


def record(folder, config, when):
    (folder / "config.json").write_text(json.dumps(config))
    os.utime(folder / "config.json", (time.time(), when))


def test_help_of_what_there_is_not():
    with pytest.raises(UserError, match="--mode=sampel: .*did you mean sample?"):
        parse(["main.py", "--mode=sampel", "--help"], "")


def test_the_version_is_stated_once(capsys):
    text = said("--version", capsys)
    assert re.fullmatch(
        rf"score-sde {re.escape(VERSION)}( \(commit [0-9a-f]{{12}}(-dirty)?\))?\n", text
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert VERSION not in (ROOT / "pyproject.toml").read_text()
