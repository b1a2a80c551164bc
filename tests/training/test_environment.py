"""The recorded environment of a training: machine and code."""

import json
import subprocess

import jax

from score_sde.training.environment import environment, record_environment
from score_sde.version import VERSION, commit


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_and_whether_there_is_more_than_it(tmp_path):
    inside = tmp_path / "site-packages"
    inside.mkdir()
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "tag", "v1")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit(tmp_path) == head
    (tmp_path / "file").write_text("2")
    assert commit(tmp_path) == f"{head}-dirty"
    assert commit(inside) is None  # somebody else's checkout


def test_every_start_has_its_line(tmp_path):
    for step in (0, 300):
        record_environment(tmp_path, step)
    lines = (tmp_path / "environment.jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert (first["step"], second["step"]) == (0, 300)
    assert first["jax"] == jax.__version__
    assert first["version"] == VERSION
    assert first["devices"] == f"4 x {jax.devices()[0].device_kind}"


def test_hosts_are_not_their_devices(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "device_count", lambda: 16)
    found = environment()
    assert found["hosts"] == 2
    assert found["devices"].startswith("16 x ")
