"""--compilation_cache: equal results without it and with a cold, warm, damaged or shared cache; and the location of its folder."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from jax._src import compilation_cache as of_jax
from jax.experimental.compilation_cache import compilation_cache

import main
from score_sde import compilation_cache as ours
from score_sde.compilation_cache import machine, processor, users_cache
from score_sde.kept_programs import KeptPrograms
from score_sde.models.networks import NETWORKS
from score_sde.training.checkpoints import Checkpoints
from tests.training.stub_network import StubNetwork

ROOT = Path(__file__).parent.parent
SMALL = (
    "main.py --config=configs/vp_digits.py --config.model.nf=8 --config.model.ch_mult=(1,) --config.model.attn_resolutions=() "
    "--config.training.batch_size=8 --config.training.log_freq=1 --config.training.eval_freq=2 --config.training.checkpoint_freq=2 "
    "--config.training.snapshot_freq=0 --config.sampling.num_images=8 --config.sampling.batch_size=8 "
    "--config.sampling.ode.steps=grid --config.sampling.ode.num_steps=3 --config.sampling.ode.solver=heun --sampler=ode"
).split()
OPTIONS = [name for name in jax.config.values if "cache" in name]


@pytest.fixture(autouse=True)
def _as_before():
    """JAX's settings go back to what they were; its programs are forgotten, from before and from within."""
    settings = {name: jax.config.values[name] for name in OPTIONS}
    get_file_cache, filters = of_jax.get_file_cache, warnings.filters[:]
    forget()
    yield
    for name, value in settings.items():
        jax.config.update(name, value)
    of_jax.get_file_cache, warnings.filters[:] = get_file_cache, filters
    forget()


@pytest.fixture
def counts():
    """How many programs came from files, and how many were put there."""
    found = {"compile_requests_use_cache": 0, "cache_hits": 0, "cache_misses": 0}

    def count(event, **_):
        name = event.removeprefix("/jax/compilation_cache/")
        if name in found:
            found[name] += 1

    jax.monitoring.register_event_listener(count)
    yield found
    jax.monitoring.unregister_event_listener(count)


def forget():
    """As in a new process."""
    jax.config.update("jax_enable_compilation_cache", True)
    jax.clear_caches()
    compilation_cache.reset_cache()


def command(folder, cache, mode, *arguments):
    return [
        *SMALL,
        f"--mode={mode}",
        f"--workdir={folder}",
        f"--compilation_cache={cache}",
        *arguments,
    ]


def run(folder, cache, mode, *arguments):
    """One command of main.py, whose programs are not in this process yet."""
    forget()
    return main.run(command(folder, cache, mode, *arguments))


def train(folder, cache, n_iters):
    run(folder, cache, "train", f"--config.training.n_iters={n_iters}")


def arrays_of(folder, cache):
    """All arrays of a run that goes on to four updates, and of what is sampled from it."""
    train(folder, cache, 4)
    images = dict(np.load(run(folder, cache, "sample")["arrays"]))
    return [*state_of(folder), images["images"]]


def state_of(folder):
    with Checkpoints(folder) as checkpoints, warnings.catch_warnings(action="ignore"):
        state = checkpoints.manager.restore(4)  # Orbax warns that nobody says on which devices
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def assert_same(a, b):
    assert len(a) == len(b) > 10
    for one, other in zip(a, b):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def programs(cache):
    return sorted(cache.glob("*/*.program"))


def damage(cache):
    """Cut a third of the files, and change a bit in another third."""
    files = programs(cache)
    for path in files[::3]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for path in files[1::3]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)


def test_numbers_do_not_depend_on_it(tmp_path, counts, capsys, monkeypatch):
    """No cache, an empty one, and a partly damaged one, with which the run continues: equal bit for bit."""
    monkeypatch.setitem(NETWORKS, "ncsnpp", StubNetwork)
    cache = tmp_path / "cache"
    without = arrays_of(tmp_path / "without", "off")
    assert not any(counts.values())
    train(tmp_path / "with", cache, 2)
    made = counts["cache_misses"]
    assert made == len(programs(cache)) > 20
    assert "compiled again" not in capsys.readouterr().err
    damage(cache)
    before = counts["cache_hits"]
    assert_same(arrays_of(tmp_path / "with", cache), without)
    said = capsys.readouterr().err.splitlines()
    damaged = sum("is damaged: it is compiled again" in line for line in said)
    assert damaged > 5
    assert counts["cache_hits"] - before > 5
    # A file for each that was compiled, in the place of a damaged one or a new one.
    assert counts["cache_misses"] == len(programs(cache)) + damaged
    # Of each program: none calls back into Python, which JAX would not keep.
    asked, hits, misses = (
        counts[name] for name in ("compile_requests_use_cache", "cache_hits", "cache_misses")
    )
    assert asked == hits + misses


@pytest.mark.slow
def test_processes_at_once(tmp_path):
    """Two simultaneous trainings of a convolutional network with one cold cache; one more with the warm cache, and one without."""
    cache = tmp_path / "cache"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}

    def start(name, place):
        training = command(tmp_path / name, place, "train", "--config.training.n_iters=4")
        return subprocess.Popen(
            [sys.executable, *training],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    for together in (["a", "b"], ["warm"], ["off"]):
        for process in [start(name, "off" if name == "off" else cache) for name in together]:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
            assert "compiled programs" not in said
            assert "Warning" not in said
    without = state_of(tmp_path / "off")
    for name in ("a", "b", "warm"):
        assert_same(state_of(tmp_path / name), without)
    assert len([*cache.glob("*/*.program")]) > 20
    assert not [*cache.glob("*/*.partial")]


def compiled_under(environment, asked=None):
    """Where the program of a function went, as the settings are after keep_programs."""
    forget()
    ours.keep_programs(asked, environment)
    jax.jit(lambda x: 3 * x + len(str(asked)))(np.float32(1))


@pytest.mark.parametrize(
    ("environment", "asked", "folder"),
    [
        ({"XDG_CACHE_HOME": "{}/xdg"}, None, "xdg/score_sde/xla"),
        ({"XDG_CACHE_HOME": "{}/xdg", "JAX_COMPILATION_CACHE_DIR": "{}/jax"}, None, "jax"),
        ({"JAX_COMPILATION_CACHE_DIR": "{}/jax"}, "{}/asked", "asked"),
    ],
)
def test_where_programs_go(tmp_path, environment, asked, folder):
    environment = {name: value.format(tmp_path) for name, value in environment.items()}
    compiled_under(environment, asked and asked.format(tmp_path))
    (path,) = (tmp_path / folder / machine()).iterdir()
    assert path.name.startswith("jit__lambda")
    assert [p.name for p in tmp_path.iterdir()] == [Path(folder).parts[0]]


def test_the_cache_of_a_user_without_variables():
    assert users_cache({}) == Path.home() / ".cache" / "score_sde" / "xla"
    assert users_cache({"XDG_CACHE_HOME": "relative"}) == users_cache({})


def test_off_is_off_whatever_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compiled_under({"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax")}, "off")
    assert not [*tmp_path.iterdir()]


def test_a_bucket_is_left_to_jax(monkeypatch):
    ours.keep_programs(None, {"JAX_COMPILATION_CACHE_DIR": "gs://bucket/programs"})
    assert jax.config.jax_compilation_cache_dir == "gs://bucket/programs"


def occupied(path):
    path.write_text("a file")


def of_another(path):
    (path / machine()).mkdir(parents=True)
    os.chown(path / machine(), 12345, -1)


def of_everybody(path):
    (path / machine()).mkdir(parents=True)
    (path / machine()).chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (occupied, "Not a directory"),
        pytest.param(
            of_another,
            "it belongs to another user",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
        ),
        (of_everybody, "everybody may write to it"),
    ],
)
def test_a_folder_that_will_not_do_is_said_in_a_line(tmp_path, capsys, spoil, words):
    spoil(tmp_path / "cache")
    compiled_under({}, str(tmp_path / "cache"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"compiled programs are not kept in {tmp_path}/cache/{machine()} ({words}"
    )
    assert not [*tmp_path.glob("cache/*/*")]


def test_a_folder_is_its_users_unless_they_open_it_to_a_group(tmp_path, capsys):
    """Also if files are group-writable by default, as with the umask of user-private groups."""
    umask = os.umask(0o002)
    try:
        compiled_under({}, str(tmp_path))
    finally:
        os.umask(umask)
    folder = tmp_path / machine()
    assert folder.stat().st_mode & 0o777 == 0o700
    (program,) = folder.iterdir()
    program.unlink()
    folder.chmod(0o770)
    compiled_under({}, str(tmp_path))
    assert program.exists()
    assert not capsys.readouterr().err


def test_programs_that_jax_cannot_load(tmp_path, capsys):
    """Complete files that XLA cannot read: one line, no warning from JAX, and the same result."""
    environment = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    compiled_under(environment)
    (path,) = (tmp_path / machine()).iterdir()
    KeptPrograms(path.parent, 10**6, print).put(path.stem, b"no program")
    forget()
    with warnings.catch_warnings(record=True) as seen:
        ours.keep_programs(None, environment)
        assert jax.jit(lambda x: 3 * x + len("None"))(np.float32(1)) == 7
    assert not seen
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("cannot be loaded here: they are compiled again")


INTEL = "processor\t: 0\nmodel name\t: Xeon\ncpu MHz\t\t: 2100.1\nflags\t\t: fpu avx2 avx512f\n\nprocessor\t: 1\nflags\t\t: fpu\n"


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("2100.1", "900.0", True),
        ("processor\t: 1", "processor\t: 7", True),
        (" avx512f", "", False),
        ("Xeon", "EPYC", False),
    ],
)
def test_a_machine_of_other_instructions_has_another_folder(
    tmp_path, monkeypatch, before, after, same
):
    names = []
    for text in (INTEL, INTEL.replace(before, after)):
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        monkeypatch.setattr(ours, "CPU_INFO", path)
        names.append(machine())
    assert (names[0] == names[1]) == same
    assert processor(INTEL) == "model name\t: Xeon\nflags\t\t: fpu avx2 avx512f"
