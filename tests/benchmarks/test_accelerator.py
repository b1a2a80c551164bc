"""The accelerator benchmark on a machine without one: its counts against known values, and that it runs."""

import itertools
import json
import sys
import time
from collections import Counter
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from benchmarks.accelerator import __main__ as accelerator
from benchmarks.accelerator import beside, stages
from benchmarks.accelerator.__main__ import environment, main
from benchmarks.accelerator.agreement import per_image_error
from benchmarks.accelerator.ceilings import ceilings
from benchmarks.accelerator.ours import forward_flops
from benchmarks.accelerator.profile import kernels
from benchmarks.accelerator.setting import Setting
from benchmarks.accelerator.stages import STAGES
from benchmarks.accelerator.table import table
from benchmarks.flops import matrix_flops
from benchmarks.sampler_overhead import Overhead
from benchmarks.turns import Timing, in_turns, ratio
from score_sde.errors import UserError


@pytest.mark.parametrize(
    ("variant", "billions"),
    [
        ("ddpm", 12.04),
        pytest.param("ddpmpp", 21.69, marks=pytest.mark.slow),
        pytest.param("ddpmpp_deep", 37.09, marks=pytest.mark.slow),
        pytest.param("ncsnpp_deep", 37.15, marks=pytest.mark.slow),
    ],
)
def test_operations_of_the_published_networks(variant, billions):
    """Counts agree with PyTorch's own counter on the published modules, which upsample before a 1x1 convolution, not after."""
    config = Setting("published", block=0.0, rounds=1).config(variant)
    repeats = variant in ("ddpmpp", "ddpmpp_deep")
    saved = 0.75 * 2 * 256**2 * (32**2 + 16**2 + 8**2) / 1e9 if repeats else 0.0
    assert forward_flops(config) / 1e9 == pytest.approx(billions - saved, abs=0.005)


def test_operations_within_a_scan_count_once_a_turn():
    x = jnp.ones((3, 5))

    def f(x, y):
        return jax.lax.scan(lambda carry, _: (jnp.tanh(carry @ y), None), x, length=7)[0]

    assert matrix_flops(f, x, jnp.ones((5, 5))) == 7 * 2 * 3 * 5 * 5


def test_a_loop_of_unknown_length_is_not_counted():
    with pytest.raises(ValueError, match="unknown length"):
        matrix_flops(lambda x: jax.lax.while_loop(lambda x: x < 5.0, lambda x: x + 1.0, x), 0.0)


def test_works_take_turns():
    calls = []
    works = {name: lambda count, name=name: calls.append((name, count)) for name in "ab"}
    found = in_turns(works, block=0.0, rounds=2)
    assert calls == [("a", 2), ("b", 2), *[("a", 1), ("b", 1)] * 2]
    assert [len(timing.seconds) for timing in found.values()] == [2, 2]


def test_the_ratio_is_that_of_each_round():
    """A machine that is ten times slower in one round."""
    slow, fast = Timing(np.array([2.0, 20.0, 2.2])), Timing(np.array([1.0, 10.0, 1.0]))
    assert ratio(slow, fast) == 2.0


def ticking(size="tiny"):
    """A setting whose clock says that every timing takes a second."""
    return Setting(size, 0.0, 1, itertools.count().__next__)


def test_the_limits_are_timed_by_the_clock_that_is_given():
    """A product of n x n matrices has 2 n^3 operations; a copy of 2^14 float32 reads and writes 2^17 bytes."""
    assert [row.value for row in ceilings(ticking())] == [2 * 128**3 / 1e12] * 2 + [2**17 / 1e12]


def test_a_training_step_has_the_operations_of_three_evaluations(monkeypatch):
    """The gradient in the inputs of a layer and that in its weights take as many as the layer."""
    monkeypatch.setattr(stages, "TrainingSteps", lambda *_: lambda count: None)
    config = ticking().config()
    rows = {row.unit: row for row in stages.training("s", "float32", 8, lambda *_: {})(ticking())}
    each = rows["TFLOP/s"].value * 1e12 / rows["TFLOP/s"].batch  # in the second that a step takes
    assert each == pytest.approx(3 * forward_flops(config))


def test_a_comparison_is_timed_by_the_clock_that_is_given():
    works = {who: lambda count: None for who in ("ours", "PyTorch")}
    rows = [*stages.compared(ticking(), "s", "training", "float32", 8, works)]
    assert [(row.measure, row.value) for row in rows] == [
        *[("training, first call", 1.0)] * 2,
        *[("training", 8.0)] * 2,
        ("training, ours over PyTorch", 1.0),
    ]


def test_the_loop_is_beside_a_step_by_the_same_clock(monkeypatch):
    """The loop's speed is by wall clock, whatever clock is given: a step of 0.05 s beside a loop of 0.1 s for each."""
    figures = {"loss": 1.0, "images_per_second": 40.0}
    monkeypatch.setattr(stages, "TrainingSteps", lambda *_: lambda count: time.sleep(0.05 * count))
    monkeypatch.setattr(stages, "train_task", lambda *_: SimpleNamespace(figures=figures))
    *_, row = stages.run(ticking())
    assert (row.unit, row.batch) == ("of the bare step", 4)
    assert 0.5 <= row.value < 5  # by the clock that ticks, 10; a busy machine sleeps longer


def test_a_first_call_from_the_cache_is_named_so():
    def read(count):
        jax.monitoring.record_event(stages.CACHE_HIT)

    works = {"ours": read, "PyTorch": lambda count: None}
    rows = [*stages.compared(ticking(), "s", "training", "float32", 8, works)]
    assert [row.measure for row in rows[:2]] == ["training, first call, cached"] * 2


def test_the_cache_says_when_a_program_is_read_from_it(tmp_path):
    """By the name of the event that is listened to."""
    options = {"jax_compilation_cache_dir": str(tmp_path), "jax_persistent_cache_min_compile_time_secs": 0.0, "jax_enable_compilation_cache": True}  # fmt: skip
    before = {name: getattr(jax.config, name) for name in options}
    found = []
    try:
        for name, value in options.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        for _ in range(2):
            with stages.cache_hits() as hits:
                jax.jit(lambda x: jnp.sin(x) * 1.234567)(np.ones(3, np.float32))
            found.append(bool(hits))
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
    assert found == [False, True]


def test_memory_is_named_after_what_ran(monkeypatch):
    cuda = SimpleNamespace(max_memory_allocated=lambda: 2**31)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(beside, "comparable", lambda: True)
    monkeypatch.setattr(beside, "device", lambda: SimpleNamespace(type="cuda"))
    eager = ("ours", beside.EAGER)
    assert [*beside.peak_memory(eager)] == [("PyTorch", 2.0)]
    assert [*beside.peak_memory((*eager, beside.COMPILED))] == [
        ("PyTorch, eager and compiled", 2.0)
    ]


def test_the_overhead_of_a_sampler_is_that_of_each_round(monkeypatch):
    """5 % in each round; the medians are those of different rounds."""
    found = Overhead("ddim", 4, 5, 10.5, 1.0, 0.05, 0.05, 0.05, 0.0)
    bench = SimpleNamespace(measure=lambda entry: found)
    monkeypatch.setattr(stages, "Bench", lambda *_: bench)
    assert next(stages.samplers(ticking())).value == pytest.approx(1.05)


def test_a_host_with_more_evaluations_is_no_slower_for_that(monkeypatch):
    """Both take a second, in which the host evaluates three times as often."""
    device = SimpleNamespace(draw=lambda: None, nfe=20)
    found = Overhead("ddim", 4, 20, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    bench = SimpleNamespace(measure=lambda _: found, sampler=lambda _: device, model=None)
    monkeypatch.setattr(stages, "Bench", lambda *_: bench)
    monkeypatch.setattr(stages, "host_driven", lambda *_: (lambda count: None, 60))
    monkeypatch.setattr(stages.beside, "samplers", lambda *_: ())
    *_, host, gain = stages.samplers(ticking())
    assert (host.measure, host.unit) == ("RK45 on the host, an evaluation", "ms")
    assert host.value == pytest.approx(1000 / 60)
    assert gain.value == pytest.approx(1 / 3)


def test_the_gain_of_one_pass_over_two_is_that_of_each_round(monkeypatch):
    """3, 4 and 1 times as long: a gain of 3, where the medians of the times, 4 and 2, would say 2."""
    nfe, ours, passes = 7, np.array([1.0, 2.0, 4.0]), np.array([3.0, 8.0, 4.0])
    timed = {
        "ours": Timing(nfe * ours),
        "forward": Timing(passes / 4),
        "forward and backward": Timing(3 * passes / 4),
    }
    monkeypatch.setattr(stages, "in_turns", lambda *_: timed)
    monkeypatch.setattr(stages, "repeated", lambda *_: lambda count: None)
    monkeypatch.setattr(stages.beside, "divergence", lambda *_: {})
    solved = {"ode": {"nfe": jnp.full((4, 1), nfe)}}
    monkeypatch.setattr(stages, "build_compiled", lambda *_: lambda *_: solved)
    *_, row = stages.likelihoods(ticking())
    assert (row.measure, row.value) == ("over two separate passes", pytest.approx(3.0))


def test_the_error_is_that_of_the_worst_image_beside_its_own_norm():
    """A large image without error, and a small one in whose place there is nothing."""
    expected = np.ones((2, 3, 4, 1)) * np.array([1000.0, 1.0])[:, None, None, None]
    got = expected * np.array([1.0, 0.0])[:, None, None, None]
    assert per_image_error(got, expected) == pytest.approx(1.0)


def test_kernels_of_a_gpu_by_kind():
    """Only events of GPU streams are kernels, not those of the host or XLA's own lines."""
    names = [
        {"name": "process_name", "pid": 1, "args": {"name": "/device:GPU:0"}},
        {"name": "process_name", "pid": 2, "args": {"name": "/host:CPU"}},
        {"name": "thread_name", "pid": 1, "tid": 7, "args": {"name": "Stream #7(Compute)"}},
        {"name": "thread_name", "pid": 1, "tid": 8, "args": {"name": "XLA Ops"}},
        {"name": "thread_name", "pid": 2, "tid": 7, "args": {"name": "Stream of the host"}},
    ]
    ran = [
        (1, 7, "sm90_wgrad_1", 2.0),
        (1, 7, "loop_add_fusion_3", 4.0),
        (1, 7, "loop_add_fusion", 1.0),
    ]
    ran += [(1, 8, "loop_add_fusion", 5.0), (2, 7, "python", 9.0)]
    events = [
        {"ph": "X", "pid": pid, "tid": tid, "name": name, "dur": duration}
        for pid, tid, name, duration in ran
    ]
    expected = Counter({"loop_add_fusion": 5.0, "convolution, gradient in its kernel": 2.0})
    assert kernels({"traceEvents": names + events}) == expected


def test_rates_are_shares_of_the_matrix_product():
    row = {"stage": "s", "measure": "m", "who": "ours", "precision": "bfloat16", "batch": 2}
    facts = dict.fromkeys(("command", "date", "machine", "device", "load", "jax", "python"), "")
    ceiling = row | {"stage": "ceilings", "measure": "matrix product", "value": 200.0}
    rows = [r | {"unit": "TFLOP/s"} | facts for r in (ceiling, row | {"value": 50.0})]
    assert "50 TFLOP/s, 25% of the matrix product's" in table(rows, {})


def test_the_table_names_the_command_of_each_stage():
    row = {"stage": "s", "measure": "m", "who": "ours", "precision": "p", "batch": 2, "value": 1.0, "unit": "s"}  # fmt: skip
    facts = dict.fromkeys(("date", "machine", "device", "load", "jax", "python"), "")
    text = table([row | facts | {"command": command} for command in ("one", "two", "two")], {})
    assert [text.count(f"`{command}`") for command in ("one", "two")] == [1, 1]


def check_ceilings(folder):
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert [row["measure"] for row in rows] == ["matrix product", "matrix product", "copy"]
    assert all(row["value"] > 0 for row in rows)


def test_a_stage(tmp_path):
    """A second run replaces only its own rows; another size or card requires another folder."""
    ceilings = ["--size", "tiny", "--out", str(tmp_path), "--stage", "ceilings"]
    main(ceilings)
    check_ceilings(tmp_path)
    rows = tmp_path / "rows.jsonl"
    before = rows.read_text()
    other = json.loads(before.splitlines()[0])
    other |= {"stage": "run", "command": other["command"].replace("ceilings", "run")}
    rows.write_text(json.dumps(other) + "\n" + before)
    main(ceilings)
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row["stage"] for row in found] == ["run", *["ceilings"] * 3]
    with pytest.raises(UserError, match="has rows of .*--size tiny .*: give another folder"):
        main(["--out", str(tmp_path), "--stages", "ceilings"])
    elsewhere = json.dumps(other | {"device": "1 x NVIDIA H100"}) + "\n"
    rows.write_text(elsewhere)
    with pytest.raises(UserError, match="rows of .*, 1 x NVIDIA H100, jax .*: give another folder"):
        main(ceilings)
    assert rows.read_text() == elsewhere


def test_a_stage_sees_one_card_and_the_cpu(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    found = environment(tmp_path)
    assert (found["CUDA_VISIBLE_DEVICES"], found["JAX_PLATFORMS"]) == ("3", "cuda,cpu")


def test_pytorch_computes_where_jax_does(monkeypatch):
    """On a TPU, or a GPU that PyTorch cannot use, nothing is compared."""
    torch = pytest.importorskip("torch")
    for backend, cuda, expected in (
        ("cpu", True, True), ("cpu", False, True), ("gpu", True, True), ("gpu", False, False), ("tpu", True, False),
    ):  # fmt: skip
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        assert beside.comparable() is expected
        assert beside.device().type == ("cuda" if backend == "gpu" else "cpu")


def test_failed_stages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(accelerator, "run_apart", lambda name, *_: f"failed: see {name}.log")
    with pytest.raises(UserError, match="failed: ceilings, run; .* has a log of each"):
        main(["--size", "tiny", "--out", str(tmp_path), "--stages", "ceilings", "run"])


@pytest.mark.slow
def test_a_run(tmp_path):
    """A run of this stage in its own process."""
    ended = main(["--size", "tiny", "--out", str(tmp_path), "--stages", "ceilings"])
    check_ceilings(tmp_path)
    assert "copy" in (tmp_path / "table.md").read_text()
    assert ended["ceilings"].endswith(" s")


def test_no_stage_begins_without_the_time_it_needs(tmp_path):
    ended = main(["--minutes", "0.1", "--out", str(tmp_path), "--stages", "run"])
    assert ended == {"run": "no time"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stages", "trainings"], "trainings"),
        (["--minutes", "nan"], "--minutes=nan: expected a positive number"),
        (["--minutes", "-1"], "--minutes=-1.0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        main(["--out", str(tmp_path / "new"), *arguments])
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/new cannot be made .Not a directory"):
        main(["--out", str(tmp_path / "file" / "new")])


@pytest.mark.slow
def test_every_stage_runs(tmp_path):
    ended = main(["--size", "tiny", "--out", str(tmp_path)])
    assert list(ended) == list(STAGES)
    assert all(how.endswith(" s") for how in ended.values()), ended
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    # On a CPU all but bfloat16's are round-off.
    errors = [(row["precision"], row["value"]) for row in rows if row["stage"] == "agreement"]
    assert all(error < (0.02 if precision == "bfloat16" else 1e-4) for precision, error in errors)
    assert {row["stage"] for row in rows} == {*STAGES} - {"profile"}  # which needs a GPU
