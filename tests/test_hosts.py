"""Several hosts: their settings and sources, and errors if there are none."""

import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import jax
import pytest

from score_sde.errors import UserError
from score_sde.hosts import Hosts, check_devices, join

ENVIRONMENT = {
    "JAX_COORDINATOR_ADDRESS": "node0:1234",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "3",
}


def test_the_environment_speaks_where_flags_do_not():
    assert Hosts().completed(ENVIRONMENT) == Hosts("node0:1234", 4, 3, 300)
    given = Hosts("node1:99", 2, 0, 5)
    assert given.completed(ENVIRONMENT) == given
    assert Hosts().completed({}) == Hosts()


@pytest.mark.parametrize(
    ("hosts", "environment", "words"),
    [
        (Hosts("node0"), {}, "--coordinator_address=node0: expected HOST:PORT"),
        (Hosts("node0:x"), {}, "expected HOST:PORT"),
        (Hosts("node0:0"), {}, "expected HOST:PORT"),
        (Hosts("node0:65536"), {}, "expected HOST:PORT"),
        (Hosts(num_processes=0), {}, "--num_processes=0: expected 1 or more"),
        (Hosts("a:1", 2, 2), {}, "--process_id=2: expected an index from 0 to --num_processes=2"),
        (Hosts(process_id=-1), {}, "--process_id=-1: expected an index"),
        (Hosts(join_timeout=0), {}, "--join_timeout=0: expected seconds"),
        (Hosts(), {"JAX_NUM_PROCESSES": "two"}, r"\$JAX_NUM_PROCESSES='two': expected an integer"),
    ],
)
def test_what_can_be_no_job_is_refused(hosts, environment, words):
    with pytest.raises(UserError, match=words):
        hosts.completed(environment)


NO_ADDRESS = ValueError("coordinator_address should be defined.\nmore")


@pytest.mark.parametrize(
    ("hosts", "error", "words"),
    [
        (
            Hosts(),
            NO_ADDRESS,
            "finds no cluster here .*give --coordinator_address, --num_processes, --process_id",
        ),
        (Hosts("node0:1234", 2), NO_ADDRESS, "finds no cluster here .*give --process_id on each"),
        (
            Hosts(),
            RuntimeError("403 Forbidden"),
            "cannot join the processes of the cluster .*give --coordinator_address.*403 Forbidden",
        ),
        (
            Hosts("node0:1234", 2, 1, 7),
            NO_ADDRESS,
            "the 2 processes .* did not meet at node0:1234 within 7 s",
        ),
    ],
)
def test_hosts_that_do_not_meet(monkeypatch, capsys, hosts, error, words):
    monkeypatch.setattr(jax.distributed, "initialize", Mock(side_effect=error))
    with pytest.raises(UserError, match=words) as error:
        join(hosts.completed({}))
    assert len(str(error.value).splitlines()) == 1
    said = capsys.readouterr().err
    assert said == "" if hosts.coordinator_address is None else "for up to" in said


def test_what_is_given_reaches_jax(monkeypatch):
    given = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **named: given.append((a, named)))
    join(Hosts("node0:1234", 2, 1, 7))
    assert given == [(("node0:1234", 2, 1), {"initialization_timeout": 67})]


def test_a_process_that_waits_in_vain_ends_in_words(tmp_path):
    """In a separate process, since XLA itself would abort with a C++ stack trace."""
    command = [sys.executable, "main.py", "--config=configs/toy_mixture.py", "--mode=sample"]
    hosts = "--multi_host --coordinator_address=localhost:1 --num_processes=2 --process_id=1 --join_timeout=1"
    done = subprocess.run(
        [*command, *hosts.split(), f"--workdir={tmp_path / 'run'}"],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    joining, words = done.stderr.splitlines()
    assert joining == "joining 2 processes at localhost:1, for up to 1 s"
    assert words.startswith(
        "main.py: the 2 processes of --multi_host did not meet at localhost:1 within 1 s"
    )
    assert not (tmp_path / "run").exists()


def test_no_device_is_said(monkeypatch):
    def fails():
        raise RuntimeError("Unable to initialize backend 'cuda': no such thing\nmore")

    monkeypatch.setattr(jax, "devices", fails)
    with pytest.raises(
        UserError, match="nothing to compute on with JAX_PLATFORMS=cpu .Unable .*; unset it"
    ):
        check_devices()
