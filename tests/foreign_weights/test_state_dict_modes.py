"""From a state dict of the published programs through the command line to a folder with the same network outputs, and back.

Golden files (tests/golden/peers): small networks of each program, run by its own code (named in tests/models/test_*.py). The files here
are written from their parameters, since no published file was available.
"""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from score_sde.errors import ConfigError, UserError
from score_sde.foreign_weights import safetensors, torch_write
from score_sde.foreign_weights.published_networks import network_of
from score_sde.training.checkpoints import restore_ema
from score_sde.training.classifier_task import init_classifier
from score_sde.training.init_from import weights_of
from score_sde.training.recorded_config import read_config
from score_sde.training.state import init_params
from tests.models.published_arrays import FAST_COMPILE, arrays_of, nhwc, relative_error, weights

ROOT = Path(__file__).parents[2]
U_NET = "model.nf={} model.ch_mult={} model.num_res_blocks=1 model.attn_resolutions={} model.num_classes={} "
TOKENS = "model.width=32 model.num_heads=4 model.patch_size=2 training.continuous=False "
FILTER = np.float32(np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64)[None, None]


class Program(NamedTuple):
    """A network by a configuration, a file of its parameters, and what the golden file has of its call."""

    config: str
    fields: str
    suffix: str
    within: str = ""
    """What the published program puts before the names in its golden file."""
    buffers: tuple[str, ...] = ()
    """Names of buffers that are in its state dict, all of them FILTER; the golden file has them not."""
    of: str = ""
    """Before the names of the golden call's arrays."""
    time: str = "t"
    out: str = "out_f64"


PROGRAMS = {
    "dit_learn_sigma": Program(
        "vp_cifar.py",
        "model.name=dit model.depth=2 model.num_classes=5 training.label_dropout=0.1 "
        "data.num_channels=4 model.learned_variance=True " + TOKENS,
        ".pt",
    ),
    "uvit_uncond": Program("vp_cifar.py", "model.name=uvit model.depth=4 " + TOKENS, ".npz"),
    # Of whose five classes none is "no class".
    "adm_unet_a": Program(
        "adm_imagenet.py:64_published",
        U_NET.format(32, "1,1", "4,", 5) + "model.head_channels=8 model.attention_order=heads_first",
        ".pt",
    ),
    "adm_classifier": Program(
        "adm_imagenet.py:64_published",
        "training.task=classifier training.continuous=True noisy_classifier.width=32 noisy_classifier.ch_mult=1,1 "
        "noisy_classifier.num_res_blocks=1 noisy_classifier.attn_resolutions=4, noisy_classifier.head_channels=16",
        ".pt",
    ),
    "edm_ncsnpp": Program(
        "edm_cifar.py:ncsnpp_cond",
        U_NET.format(16, "1,2", "8,", 4) + "model.emb_mult=2 training.augment=0",
        ".safetensors",
        "model.",
        (
            "enc.4x4_down.conv0", "enc.4x4_down.skip", "enc.4x4_aux_residual", "dec.8x8_up.conv0", "dec.8x8_up.skip",
        ),
        "net/",
        "noise_labels",
        "out_no_augment",
    ),
    "edm2_net_classes": Program(
        "edm2_imagenet.py:xxs",
        U_NET.format(16, "1,2", "4,", 5)
        + "model.head_channels=16 model.logvar_channels=32 training.ema.sigma_rel=()",
        ".npz",
        of="unet/",
        time="noise_labels",
    ),
}  # fmt: skip
HALVES = {"edm_ncsnpp": jnp.bfloat16, "edm2_net_classes": np.float16}  # the files' numbers, exactly


def state_dict(name):
    """The published arrays of a golden file as its program's file has them, float32."""
    arrays, _ = arrays_of(name)
    found = (
        weights(arrays)
        if "state_dict_bytes" in arrays
        else {k.removeprefix("state_dict/"): v for k, v in arrays.items() if "state_dict/" in k}
    )
    program = PROGRAMS[name]
    buffers = {f"{layer}.resample_filter": FILTER for layer in program.buffers}
    return {program.within + key: array for key, array in (found | buffers).items()}


def write(path, arrays):
    {
        ".pt": lambda: torch_write.save(path, dict(arrays)),
        ".safetensors": lambda: safetensors.write(path, arrays, {}),
        ".npz": lambda: np.savez(path, **arrays),
    }[path.suffix]()
    return path


def command(mode, name, workdir, *more):
    program = PROGRAMS[name]
    fields = [
        f"--config.{field}" for field in ("data.image_size=8", *program.fields.split(), *more)
    ]
    source = [fields.pop()[9:]] if mode == "import" else []
    main.run(
        ["main.py", f"--config={ROOT}/configs/{program.config}", f"--mode={mode}"]
        + [f"--workdir={workdir}", *source, *fields]
    )
    return json.loads((workdir / "results.jsonl").read_text().splitlines()[-1])


def imported(name, folder, arrays, suffix=None):
    path = write(folder / f"{name}{suffix or PROGRAMS[name].suffix}", arrays)
    workdir = folder / "run"
    return workdir, command("import", name, workdir, f"--source={path}")


def exported(name, workdir):
    path = Path(command("export", name, workdir)["file"])
    assert path.name == "weights_0.safetensors"
    with open(path, "rb") as file:
        return {key: array.read() for key, array in safetensors.read(file, path).items()}


# Each costs a compilation. Of the others tests/models hold the same table of names to the published outputs.
QUICK = ("adm_classifier", "edm_ncsnpp")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in PROGRAMS
    ],
)
def run(request, tmp_path_factory):
    """Name, published arrays, folder and figures of an import."""
    name, folder = request.param, tmp_path_factory.mktemp("import")
    arrays = state_dict(name)
    given = {key: a.astype(HALVES.get(name, np.float32)) for key, a in arrays.items()}
    workdir, figures = imported(name, folder, given)
    return name, arrays, workdir, figures


def restored(workdir):
    """The network of a folder, by the config that it has."""
    config = read_config(workdir)
    network = network_of(config)
    init = init_classifier if config.training.task == "classifier" else init_params
    params, step = restore_ema(workdir, jax.eval_shape(lambda: init(config, network)))
    assert step == 0
    return network, params


def test_the_network_gives_the_published_output(run):
    name, _, workdir, _ = run
    program, (arrays, _) = PROGRAMS[name], arrays_of(name)
    network, params = restored(workdir)
    x, t = nhwc(arrays[f"{program.of}x"]), arrays[f"{program.of}{program.time}"]
    condition = ()
    if "class_labels" in arrays:
        one_hot = arrays["class_labels"]
        condition = np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), one_hot.shape[1])
    elif "y" in arrays and name != "adm_classifier":
        condition = arrays["y"]
    told = ({"label": jnp.asarray(condition, jnp.int32)},) if len(condition) else ()
    apply = jax.jit(network.apply, compiler_options=FAST_COMPILE)
    out = apply({"params": params}, jnp.asarray(x), jnp.asarray(t), *told)
    expected = arrays[f"{program.of}{program.out}"]
    assert relative_error(out, nhwc(expected) if expected.ndim == 4 else expected) < 1e-5


def test_what_was_done_is_said(run):
    name, arrays, _, figures = run
    notes = {
        "adm_unet_a": ["label_emb.weight has no vector for no class; it was set to zeros"],
        "edm_ncsnpp": [
            "map_augment.weight was left out: it says how an image was augmented",
            f"{len(arrays) - 1} arrays of bfloat16 were converted to float32",
        ],
        "edm2_net_classes": [f"{len(arrays)} arrays of float16 were converted to float32"],
    }.get(name, [])
    assert len(figures.get("notes", [])) == len(notes)
    assert all(note.startswith(words) for note, words in zip(figures.get("notes", []), notes, strict=True))  # fmt: skip
    assert figures["step"] == 0
    file_format = {".pt": "PyTorch", ".npz": "NumPy"}.get(PROGRAMS[name].suffix, "safetensors")
    assert figures["format"] == file_format


def test_export_has_the_same_names_and_bits(run):
    name, arrays, workdir, _ = run
    found = exported(name, workdir)
    arrays = {key: a for key, a in arrays.items() if "map_augment" not in key}
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        assert found[key].dtype == np.float32
        assert found[key].shape == array.shape, key
        error = 1e-7 if key == "pos_embed" and name.startswith("dit") else 0  # which is computed
        np.testing.assert_allclose(found[key], array, rtol=0, atol=error, err_msg=key)


def test_no_class_of_a_file_without_it_can_be_learned_but_not_used(tmp_path, capsys):
    """Zeros are where its training may start."""
    name, dropped = "adm_unet_a", "training.label_dropout=0.1"
    path = write(tmp_path / "a.pt", state_dict(name))
    words = "label_emb.weight of the file has a vector for each of the 5 classes but none for no"
    with pytest.raises(ConfigError, match=words):
        command("import", name, tmp_path / "run", dropped, f"--source={path}")
    workdir, _ = imported(name, tmp_path, state_dict(name))
    assert exported(name, workdir)["label_emb.weight"].shape[0] == 5
    config = read_config(workdir)
    config.training.update(init_from=str(path), label_dropout=0.1)
    params = weights_of(config).read(None)
    np.testing.assert_array_equal(params["label_emb"]["table"][-1], 0)
    note = "label_emb.weight has no vector for no class; it was set to zeros, from which its training starts (training.label_dropout=0.1)"
    assert f"training.init_from={str(path)!r}: {note}\n" in capsys.readouterr().err


def test_bad_files_are_refused_and_leave_nothing(tmp_path):
    name = "uvit_uncond"
    arrays = state_dict(name)
    one = next(iter(arrays))
    for given, words in (
        (arrays | {one: arrays[one][:, 1:]}, f"{one} has shape .*16, 32.*, expected .*17, 32"),
        (arrays | {one: np.full_like(arrays[one], np.nan)}, "values that no training produces"),
    ):
        with pytest.raises(UserError, match=words):
            imported(name, tmp_path, given)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "fields", "refused"),
    [
        ("edm_ncsnpp", ("model.condition_interval=True",), "model.condition_interval=True"),
        (
            "uvit_uncond",
            ("model.condition_image=measured", "model.condition_noise=0.5"),
            "model.condition_noise=0.5",
        ),
    ],
)
def test_arrays_that_no_program_has_are_refused_before_a_file_is_read(
    name, fields, refused, tmp_path
):
    for mode, source in (("export", []), ("import", [f"--source={tmp_path / 'none.npz'}"])):
        with pytest.raises(ConfigError, match=f"^{refused}: no published network has such layers"):
            command(mode, name, tmp_path / "run", *fields, *source)


def test_averages_of_a_training_are_refused_with_what_to_set(tmp_path, monkeypatch):
    program = PROGRAMS["edm2_net_classes"]
    fields = program.fields.replace("sigma_rel=()", "sigma_rel=0.05,")
    monkeypatch.setitem(PROGRAMS, "edm2_net_classes", program._replace(fields=fields))
    path = write(tmp_path / "a.npz", {"a": np.ones(1)})
    with pytest.raises(ConfigError, match=r"set training.ema.sigma_rel=\(\), or"):
        command("import", "edm2_net_classes", tmp_path / "run", f"--source={path}")
