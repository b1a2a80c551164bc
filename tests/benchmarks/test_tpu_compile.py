"""Compilation for TPUs: what is read from a compiled program, against CPU programs with known sizes."""

import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.tpu_compile import __main__ as command
from benchmarks.tpu_compile import chips, stages
from benchmarks.tpu_compile.collectives import Sent, collectives, shape_bytes
from benchmarks.tpu_compile.compiling import CompilingDevices, Memory, Program, program
from benchmarks.tpu_compile.job import Job, as_row, versions
from benchmarks.tpu_compile.table import read_rows, table
from score_sde.config_file import load_config
from score_sde.devices import AXIS, DEVICES
from score_sde.errors import UserError
from score_sde.models.exact import ProductMixtureScore
from score_sde.training.memory import size
from score_sde.training.score_task import build_score_task
from score_sde.training.start import state_shapes

# As XLA's compilers for TPUs and GPUs write them, with what they do not send around them.
HLO = """
%region (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[]{:T(128)} add(%a, %b), metadata={op_name="all-reduce(f32[9])"}
}
ENTRY %main (p: f32[64,3]) -> f32[] {
  %all-reduce.157 = (f32[64]{0:T(128)S(1)}, f32[64,3]{1,0:T(8,128)(2,1)S(1)}, /*index=2*/bf16[5]{0}, f32[]{:T(128)}) all-reduce(%x, %y, /*index=2*/%z, %loss), channel_id=1, replica_groups=mesh['devices'=8], to_apply=%region
  %get-tuple-element.1 = f32[64]{0} get-tuple-element(%all-reduce.157), index=0
  %all-gather-start = (f32[2,3]{1,0}, f32[16,3]{1,0}) all-gather-start(%p), dimensions={0}
  %all-gather-done = f32[16,3]{1,0} all-gather-done(%all-gather-start)
  %collective-permute = u8[7]{0} collective-permute(%q), source_target_pairs={{0,1}}
  ROOT %all-reduce.2 = pred[] all-reduce(%r), to_apply=%region
}
"""


def test_collectives_are_counted_once_with_the_bytes_of_their_results():
    assert collectives(HLO) == {
        "all-reduce": Sent(2, 4 * 64 + 4 * 64 * 3 + 2 * 5 + 4 + 1),
        "all-gather": Sent(1, 4 * 16 * 3),
        "collective-permute": Sent(1, 7),
    }


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("f32[]", 4), ("bf16[3,5]{1,0:T(8,128)(2,1)}", 30), ("(s32[2], u8[3], pred[4])", 15)]
    + [("f8e4m3fn[6]", 6), ("c64[2]", 16), ("f32[0]", 0), ("token[]", 0), ("()", 0)],
)
def test_bytes_of_a_shape(shape, expected):
    assert shape_bytes(shape) == expected


def compiling(way):
    """On the CPU's devices; and the programs that come."""
    programs, devices = [], (*jax.devices(),)
    return CompilingDevices(devices, way=DEVICES[way](devices), report=programs.append), programs


def test_outputs_in_the_memory_of_arguments_need_none():
    """Donated arguments of 16 bytes that become outputs of 24 need 24 at once, beside temporaries and code."""
    memory = Memory(arguments=16, outputs=24, aliased=16, temporaries=100, code=1000)
    assert memory.needed == 24 + 100 + 1000


@pytest.mark.parametrize("way", list(DEVICES))
def test_a_program_whose_sizes_are_known(way):
    """A donated state of 100 numbers, and eight rows of six on four devices that exchange a gradient and a loss."""
    devices, programs = compiling(way)

    def update(state, rows):
        loss, gradient = jax.value_and_grad(lambda s: jnp.sum(jnp.outer(rows, s) ** 2))(state)
        loss, gradient = jax.lax.pmean((loss, gradient), AXIS)
        return state - gradient, loss

    run = devices.data_parallel(update, (False, True), out_mapped=False, donate=(0,))
    state = jax.ShapeDtypeStruct((100,), jnp.float32)
    after, loss = run(state, devices.split(np.zeros((8, 6), np.float32)))
    assert (after.shape, after.dtype, loss.shape) == ((100,), jnp.float32, ())
    run(after, devices.split(np.zeros((8, 6), np.float32)))  # is known
    (found,) = programs
    assert found.name == "update"
    assert sum(sent.bytes for sent in found.collectives.values()) == 4 * (100 + 1)
    assert {*found.collectives} == {"all-reduce"}
    assert found.memory.arguments == 4 * (100 + 2 * 6)
    assert found.memory.aliased == 4 * 100
    assert found.memory.outputs - found.memory.aliased == pytest.approx(4, abs=32)  # and a tuple
    assert found.flops >= 12 * 100


def test_a_mapped_result_keeps_the_axes_of_its_way():
    shapes = {}
    for way in DEVICES:
        devices, _ = compiling(way)
        run = devices.data_parallel(lambda x: (2 * x, x.sum()[None]), (True,))
        shapes[way] = [leaf.shape for leaf in run(devices.split(np.zeros((8, 3), np.float32)))]
    whole = [(8, 3), (4,)]
    assert shapes == {"pmap": [(4, 2, 3), (4, 1)], "shard_map": whole, "fsdp": whole}


def test_operations_are_those_of_one_device():
    f = jax.jit(lambda x, y: x @ y)
    lowered = f.lower(*(jax.ShapeDtypeStruct((n, n), jnp.float32) for n in (16, 16)))
    assert program("f", lowered).flops == pytest.approx(2 * 16**3, rel=0.05)


def small(way="pmap"):
    config = load_config("configs/vp_digits.py")
    config.model.update(nf=8, ch_mult=(1,), attn_resolutions=())
    config.data_parallel = way
    for section in (config.training, config.sampling, config.likelihood):
        section.batch_size = 8
    config.likelihood.bound_draws = 2
    return config


def twice(params):
    """Numbers whose gradient is another's too: a block's bias of the time beside that of the convolution it joins, and of the
    shortcut beside that of the last convolution. A compiler sees it and sends one."""
    blocks = [block for name, block in params.items() if name.startswith("Resnet")]
    return sum(
        block[of]["bias"].size for block in blocks for of in ("Dense_0", "Conv_2") if of in block
    )


@pytest.mark.slow
def test_an_update_sends_its_gradient_and_takes_its_state_over():
    """Sent with the gradient are the loss, and for each of four noise bins the sum and number of losses."""
    config = small()
    devices, programs = compiling("pmap")
    stages.training(config, devices)
    (found,) = programs
    state = state_shapes(build_score_task(config))
    assert found.name == "train_step"
    assert {*found.collectives} == {"all-reduce"}
    numbers = size(state.params) // 4 - twice(state.params)
    assert found.collectives["all-reduce"].bytes == 4 * (numbers + 1 + 2 * 4)
    assert found.memory.aliased == size(state)
    images = stages.RESIDENT["digits"] * 8 * 8
    rows = 2 * 4 * 2  # places in the split and in the batch, of two images
    assert found.memory.arguments == size(state) + images + rows


def test_what_an_update_is_given():
    """The images that it takes from those on the device, by their places, or as they come; each with its class if it is told."""
    config = small()
    resident, given = stages.fed(config)
    assert [leaf.shape for leaf in jax.tree.leaves(resident)] == [(1500, 8, 8, 1)]
    assert [leaf.shape for leaf in given] == [(8, 1), (8, 1)]
    config.data.in_memory, config.model.num_classes, config.training.steps_per_call = "no", 10, 3
    resident, given = stages.fed(config)
    assert resident is None
    assert given.images.shape == (8, 3, 8, 8, 1)
    assert given.condition["label"].shape == given.index.shape == (8, 3)


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("pc", ["first", "advance", "end"]),
        pytest.param("ode", ["sample"], marks=pytest.mark.slow),
        pytest.param("likelihood", ["measure"], marks=pytest.mark.slow),
    ],
)
def test_what_samples_or_measures_sends_nothing(monkeypatch, stage, names):
    """With a score without a network, which compiles quickly."""

    def mixture(config, sde):
        return ProductMixtureScore(*(jnp.asarray([p]) for p in (1.0, 0.1, 0.04)), sde=sde)

    monkeypatch.setattr(stages, "model", mixture)
    devices, programs = compiling("shard_map")
    stages.STAGES[stage](small("shard_map"), devices)
    assert [found.name for found in programs] == names
    assert not any(found.collectives for found in programs)


MIB = 2**20


def rows(needed, chip=100 * MIB):
    memory = Memory(needed, 0, 0, 0, 0)
    found = as_row(Program("train_step", 1.0, memory, 2e9, 0.0, None, {"all-reduce": Sent(1, 8)}))
    facts = {"date": "2026-11-26", "jax": "", "libtpu": "", "python": "", "machine": ""}
    job = Job("configs/vp_digits.py", "training", "v5e:2x4", 8)
    return [found | {"memory_of_chip": chip} | facts | json.loads(job.to_json())]


def test_a_job_is_compiled_once_and_one_that_was_ended_again(tmp_path, monkeypatch):
    """An interrupted job is compiled again, and all jobs are with another compiler version; the table has the newest rows."""
    monkeypatch.setattr(chips, "libtpu_version", lambda: "0.0.48")
    job = Job("configs/vp_digits.py", "training", "v5e:2x4", 8)
    ran = []

    def run_apart(self, job):
        ran.append(job.per_chip)
        row = rows(50 * MIB)[0] | json.loads(job.to_json()) | versions()
        lines = [row] if job.per_chip == 4 else [row, row | {"ended": True}]
        with open(tmp_path / "rows.jsonl", "a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        return "stopped after 3 s" if job.per_chip == 4 else "3 s"

    monkeypatch.setattr(command.Jobs, "run_apart", run_apart)
    for _ in range(2):
        compiled = command.Jobs(tmp_path, 1.0)
        assert len(compiled(job)) == 1
        assert compiled(Job("configs/vp_digits.py", "training", "v5e:2x4", 4)) is None
    assert ran == [8, 4, 4]
    written = (tmp_path / "table.md").read_text()
    assert written.count("| 50 MiB |") == 2
    assert "50.0% of 100 MiB" in written
    assert "all-reduce: 1 of 8 bytes" in written
    assert len(read_rows(tmp_path)) == 4
    monkeypatch.setattr(chips, "libtpu_version", lambda: "0.0.49")
    command.Jobs(tmp_path, 1.0)(job)
    assert ran == [8, 4, 4, 8]
    words = [
        line for line in (tmp_path / "table.md").read_text().splitlines() if "Compiled" in line
    ]
    assert [line.split("libtpu ")[1].split(",")[0] for line in words] == ["0.0.48", "0.0.49"]


def test_what_does_not_fit_is_in_the_table_with_the_compilers_words():
    row = rows(1)[0]
    for part in ("memory", "flops", "name"):
        del row[part]
    assert "| Ran out of memory |" in table([row | {"does_not_fit": "Ran out of memory"}])


def test_images_of_a_chip_by_the_published_batch():
    assert Job("configs/vp_cifar.py", "training", "v5e:2x4").in_full().per_chip == 128 // 8
    assert Job("configs/ve_256.py", "pc", "v5e:2x4").in_full().per_chip == 1
    job = Job("configs/vp_cifar.py", "training", "v5e:2x4", 16, ("model.dtype=bfloat16",))
    assert Job.from_json(job.to_json()) == job
    config = job.config_for(256)
    assert (config.training.batch_size, config.model.dtype) == (4096, "bfloat16")


def test_the_configs_that_are_compiled_by_default_exist():
    for name in command.CONFIGS:
        load_config(name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stages", "traning"], "traning"),
        (["--minutes", "nan"], "--minutes=nan: expected a positive number"),
        (["--per_chip", "-1"], "--per_chip=-1"),
        (["--topologies", "v5x:2x4"], "--topologies=v5x:2x4: expected v5e or v5p, a colon"),
        (["--topologies", "v5e"], "--topologies=v5e: expected"),
        (["--set", "model.nff=3"], "no such field in the config: model.nff"),
        (["--set", "model.nf=many"], "model.nf"),
        (["--configs", "configs/vp_cifer.py"], "did you mean --config configs/vp_cifar.py"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(tmp_path, monkeypatch, arguments, words):
    monkeypatch.setattr(chips, "libtpu_version", lambda: "0")
    monkeypatch.setattr(command.Jobs, "run_apart", lambda *_: pytest.fail("it ran"))
    with pytest.raises(UserError, match=words):
        command.main(["--out", str(tmp_path / "new"), *arguments])
    assert not (tmp_path / "new").exists()


def test_what_to_install_where_the_compiler_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"libtpu.* is not installed.*pip install -e '\.\[tpu\]'"):
        command.main(["--out", str(tmp_path)])


def test_only_a_lack_of_memory_is_a_result():
    text = "RESOURCE_EXHAUSTED: Ran out of memory on HBM"
    with chips.refusals() as words:
        raise jax.errors.JaxRuntimeError(f"{text}\nmore")
    assert words == [text]
    with pytest.raises(jax.errors.JaxRuntimeError), chips.refusals():
        raise jax.errors.JaxRuntimeError("INTERNAL: a fault")


needs_compiler = pytest.mark.skipif(
    not importlib.util.find_spec("libtpu"),
    reason="libtpu, with XLA's compiler for TPUs, is not installed: pip install -e '.[tpu]'",
)


@needs_compiler
def test_what_is_too_large_for_a_chip_is_refused_by_the_compiler_itself():
    """Two matrix products of 13 GiB each, with an argument of the same size."""
    devices = DEVICES["shard_map"](chips.devices_of("v5e:2x4"))
    run = devices.data_parallel(lambda x: jnp.sin(x @ x.T) @ x, (True,))
    with chips.refusals() as words:
        run.lower(jax.ShapeDtypeStruct((8 * 60_000, 60_000), jnp.float32)).compile()
    assert "RESOURCE_EXHAUSTED" in words[0]
    with pytest.raises(UserError, match="--topologies=v5e:3x77: "):
        chips.devices_of("v5e:3x77")


@pytest.mark.slow
@needs_compiler
def test_all_stages_compile_for_a_tpu(tmp_path):
    """Also for sixteen chips, which send as much as eight."""
    arguments = ["--out", str(tmp_path), "--configs", "configs/vp_digits.py", "--per_chip", "8"]
    arguments += ["--set", "model.dtype=bfloat16"]
    command.main(arguments)
    command.main([*arguments, "--stages", "training", "--topologies", "v5e:4x4"])
    kept = [row for row in read_rows(tmp_path) if "ended" not in row]
    found = {(row["stage"], row["name"], row["chips"]): row for row in kept}
    sampled = [("pc", name, 8) for name in ("first", "advance", "end")]
    beside = [*sampled, ("ode", "sample", 8), ("likelihood", "measure", 8)]
    assert {*found} == {*beside, *(("training", "train_step", chips) for chips in (8, 16))}
    assert not any(found[name]["collectives"] for name in beside)
    state = state_shapes(build_score_task(load_config("configs/vp_digits.py")))
    for chips_of_job in (8, 16):
        row = found["training", "train_step", chips_of_job]
        numbers = row["collectives"]["all-reduce"]["bytes"] // 4 - (1 + 2 * 4)
        assert 0 <= size(state.params) // 4 - numbers <= twice(state.params)
        assert size(state) <= row["memory"]["aliased"] <= row["memory"]["arguments"]
        assert row["memory"]["needed"] < row["memory_of_chip"] // 100
