"""Two processes as two hosts: how they are ended by a signal, by a mistake that one of them finds, and by work that only the first does."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

BEGIN = """
import sys, time
rank, port = int(sys.argv[1]), sys.argv[2]
import jax
from score_sde import hosts

def join():
    hosts.join(hosts.Hosts(f"localhost:{port}", 2, rank, 60))
"""


@pytest.fixture
def start():
    """Starts two processes of a script that calls join(); none is left behind."""
    started = []

    def two(script, command=None, devices=(1, 1)):
        """Of a script, or of a command with the rank in place of RANK."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        for rank in (0, 1):
            arguments = ["-c", BEGIN + script, str(rank), str(port)]
            if command:
                at = f"--multi_host --coordinator_address=localhost:{port} --num_processes=2"
                arguments = command.replace("RANK", str(rank)).split() + at.split()
                arguments.append(f"--process_id={rank}")
            own = {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
            environment = {**os.environ, **own, "JAX_NUM_CPU_DEVICES": str(devices[rank])}
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=REPOSITORY, env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            started.append(process)
        return started

    yield two
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def statuses(processes, seconds):
    for process in processes:
        process.wait(timeout=seconds)
    return [process.returncode for process in processes]


TRAINS = """
join()
from jax.experimental.multihost_utils import reached_preemption_sync_point
from score_sde.training.interrupts import Interrupts
with Interrupts() as interrupts:
    interrupts.listen()
    print("listens", flush=True)
    step = 0
    while not reached_preemption_sync_point(step := step + 1):
        time.sleep(0.1)
print("saved", flush=True)
time.sleep(100)
"""


def test_a_signal_ends_processes_that_have_nothing_to_save(start):
    processes = start('join()\nprint("joined", flush=True)\ntime.sleep(100)\n')
    assert [process.stdout.readline() for process in processes] == ["joined\n"] * 2
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert statuses(processes, 10) == [-signal.SIGTERM] * 2


def test_a_signal_ends_hosts_that_sample(start, tmp_path):
    """Through main.py, after the first batch."""
    command = (
        f"main.py --config=configs/toy_mixture.py --mode=sample --workdir={tmp_path} --sampler=ddim "
        "--config.data.image_size=2 --config.sampling.num_images=100000 --config.sampling.batch_size=2"
    )
    processes, until = start("", command), time.monotonic() + 60
    while not list(tmp_path.glob("samples/unfinished-*/*.npz")):
        assert time.monotonic() < until
        time.sleep(0.1)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert statuses(processes, 10) == [-signal.SIGTERM] * 2


def test_a_signal_to_one_host_is_told_to_both_while_they_train(start):
    """Both stop at the same step, and are ended at once by a signal after that."""
    processes = start(TRAINS)
    assert [process.stdout.readline() for process in processes] == ["listens\n"] * 2
    processes[1].send_signal(signal.SIGTERM)
    for process in reversed(processes):
        assert process.stdout.readline() == "saved\n"
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert statuses(processes, 10) == [-signal.SIGTERM] * 2


MISTAKE = """
join()
import main
from jax.experimental.multihost_utils import sync_global_devices
from score_sde.errors import UserError

def run(argv):
    sync_global_devices("begun")
    if rank in found_by:
        time.sleep(2 * rank)  # one is slower to find it
        raise UserError("no such thing")
    sync_global_devices("never")

hosts.GRACE, main.run = 2.0, run
sys.exit(main.main())
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_host_that_finds_a_mistake_ends_alone_and_the_others_are_told(start, rank):
    processes = start(f"found_by = [{rank}]" + MISTAKE)
    assert processes[rank].wait(timeout=30) == 2
    assert "main.py: no such thing\n" in processes[rank].stderr.read()
    assert processes[1 - rank].wait(timeout=30) != 0


def test_hosts_that_find_the_same_mistake_end_together(start):
    processes = start("found_by = [0, 1]" + MISTAKE.replace("2.0", "30.0"))
    assert statuses(processes, 20) == [2, 2]


def test_a_folder_that_the_hosts_do_not_share_is_refused_on_all(start, tmp_path):
    """Through main.py, before anything is computed; the folders that were made for it go again."""
    command = f"main.py --config=configs/toy_mixture.py --mode=sample --workdir={tmp_path}/RANK"
    processes = start("", command)
    assert statuses(processes, 100) == [2, 2]
    for process in processes:
        assert (
            "is not the same folder on all hosts: what process 0 writes there is not seen by process 1"
            in process.stderr.read()
        )
    assert not list(tmp_path.iterdir())


def test_a_folder_that_the_hosts_share_is_left_as_it_is(start, tmp_path):
    script = f"""
join()
from pathlib import Path
from score_sde.same_folder import check_same_folder
check_same_folder(Path({str(tmp_path)!r}))
"""
    assert statuses(start(script), 60) == [0, 0]
    assert not list(tmp_path.iterdir())


def test_hosts_with_different_numbers_of_devices_are_refused(start):
    processes = start("join()\nhosts.check_devices()", devices=(1, 2))
    assert statuses(processes, 60) == [1, 1]
    for process in processes:
        assert "have different numbers of devices (0: 1, 1: 2), but" in process.stderr.read()


ONE_AT_WORK = """
import functools, types, main
given = {"shutdown_timeout_seconds": 2}  # in place of five minutes
jax.distributed.initialize = functools.partial(jax.distributed.initialize, **given)
join()

def work(*given):
    time.sleep(6 * (rank == 0))
    return {}

mode = types.SimpleNamespace(check=lambda *given: (), run=work)
main.importlib = types.SimpleNamespace(import_module=lambda name: mode)
sys.argv = ["main.py", "--config=configs/toy_mixture.py", "--mode=sample", "--workdir=FOLDER"]
sys.exit(main.main())
"""


def test_the_others_wait_for_what_only_the_first_host_does(start, tmp_path):
    """For longer than JAX lets a process wait that has ended."""
    assert statuses(start(ONE_AT_WORK.replace("FOLDER", str(tmp_path))), 60) == [0, 0]


DECIDED = """
join()
from score_sde.devices import of_first_host
for own in ([[3, 7, 12]], [None, 0.1, "x"][rank], {"a": [rank]}, "long" * (1 + 99 * rank)):
    print(of_first_host(own), flush=True)
"""


def test_every_host_gets_what_the_first_one_has(start):
    """Also where the texts that hold it are of different lengths."""
    processes = start(DECIDED)
    assert statuses(processes, 60) == [0, 0]
    for process in processes:
        assert process.stdout.read().endswith("[[3, 7, 12]]\nNone\n{'a': [0]}\nlong\n")
