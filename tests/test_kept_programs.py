"""Files of compiled programs: complete or absent, valid or unused, bounded in size, and never an error."""

import os
import threading

import pytest

from score_sde.kept_programs import KeptPrograms
from tests.limited import room_for

KEY = "jit_f-0123"
PROGRAM = bytes(range(256)) * 40


@pytest.fixture
def said():
    return []


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "machine"
    path.mkdir()
    return path


@pytest.fixture
def kept(folder, said):
    return KeptPrograms(folder, 10**6, said.append)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_put_is_there_for_the_next_process(folder, kept, said):
    assert kept.get(KEY) is None
    kept.put(KEY, PROGRAM)
    assert KeptPrograms(folder, 10**6, said.append).get(KEY) == PROGRAM
    assert (names(folder), said) == ([f"{KEY}.program"], [])


@pytest.mark.parametrize("place", [0, 31, 32, 5000, -1])
def test_a_changed_bit_is_noticed(folder, kept, said, place):
    kept.put(KEY, PROGRAM)
    path = kept.path_of(KEY)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert kept.get(KEY) is None
    assert said == [f"{path} is damaged: it is compiled again"]
    assert not path.exists()  # so that it can be put anew, and is said once


@pytest.mark.parametrize("length", [0, 1, 32, 33, 9999])
def test_a_part_is_no_program(kept, said, length):
    kept.put(KEY, PROGRAM)
    path = kept.path_of(KEY)
    path.write_bytes(path.read_bytes()[:length])
    assert kept.get(KEY) is None
    assert len(said) == 1


def test_a_file_under_another_name_is_no_program(kept, said):
    kept.put(KEY, PROGRAM)
    kept.path_of(KEY).rename(kept.path_of("jit_g-0123"))
    assert kept.get("jit_g-0123") is None
    assert len(said) == 1


def test_the_least_recently_used_go(tmp_path, said):
    """Over all machines and versions together: the folders of unused ones age."""
    here, beside = tmp_path / "here", tmp_path / "beside"
    for path in (here, beside):
        path.mkdir()
    size = len(PROGRAM) + 32
    old = KeptPrograms(beside, 10 * size, said.append)
    kept = KeptPrograms(here, 5 * size, said.append)
    for seconds, (programs, key) in enumerate(
        [(old, "a"), (kept, "b"), (old, "c"), (kept, "d"), (kept, "e")]
    ):
        programs.put(key, PROGRAM)
        os.utime(programs.path_of(key), (seconds, seconds))
    assert kept.get("b") == PROGRAM  # now the last that was used
    KeptPrograms(here, 5 * size, said.append).put("f", PROGRAM)
    # Six are one too many, and a tenth of the room is made free: two go.
    assert names(beside) == []
    assert names(here) == [f"{key}.program" for key in "bdef"]
    assert not said


def test_what_is_larger_than_all_room_is_not_kept(folder, said):
    kept = KeptPrograms(folder, 100, said.append)
    kept.put(KEY, PROGRAM)
    assert (names(folder), said) == ([], [])


def test_what_killed_processes_left_is_cleared_away(folder, kept):
    """Removed once no process can still be writing it."""
    left, writing = folder / "jit_f-9.program.77.partial", folder / "jit_f-8.program.78.partial"
    for path in (left, writing):
        path.write_bytes(PROGRAM)
    os.utime(left, (0, 0))
    kept.put(KEY, PROGRAM)
    assert names(folder) == [f"{KEY}.program", writing.name]


def test_a_full_disk_is_said_once(folder, kept, said):
    with room_for(1000):
        kept.put(KEY, PROGRAM)
        kept.put("jit_g-1", PROGRAM)
    assert said == [f"compiled programs cannot be kept in {folder} (File too large)"]
    assert names(folder) == []


def test_a_folder_that_is_gone_is_said_once(folder, kept, said):
    folder.rmdir()
    assert kept.get(KEY) is None
    kept.put(KEY, PROGRAM)
    kept.put(KEY, PROGRAM)
    assert said == [f"compiled programs cannot be kept in {folder} (No such file or directory)"]


def test_what_jax_cannot_load_is_not_offered_again(folder, kept, said):
    """Intact files of another program: JAX cannot load them, compiles, and replaces them."""
    for key in (KEY, "jit_g-1"):
        kept.put(key, PROGRAM)
    assert kept.get(KEY) == PROGRAM
    kept.put(KEY, PROGRAM[::-1])
    assert kept.get("jit_g-1") is None
    assert said == [
        f"the compiled programs in {folder} cannot be loaded here: they are compiled again"
    ]
    assert KeptPrograms(folder, 10**6, said.append).get(KEY) == PROGRAM[::-1]


def test_many_at_once(folder, said):
    """Concurrent writers of the same entries in too little space: whatever any of them reads is complete."""
    programs = {f"key{i}": bytes([i]) * 20_000 for i in range(8)}
    wrong = []

    def work():
        kept = KeptPrograms(folder, 100_000, said.append)
        for _ in range(20):
            for key, program in programs.items():
                found = kept.get(key)
                if found is None:
                    kept.put(key, program)
                elif found != program:
                    wrong.append(key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not said
