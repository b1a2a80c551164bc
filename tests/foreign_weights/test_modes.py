"""From a published checkpoint through the command line to samples, further training, and back to a file."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_run import GOLDEN, TINY, contents_in_arrays

import main
from score_sde.errors import ConfigError, UserError
from score_sde.foreign_weights import torch_write

ROOT = Path(__file__).parents[2]

# What configs/default.py has otherwise: the recorded network, on toy images, for eight updates.
CONFIG = """
import json

from score_sde.configs.default import get_config as default_config

def get_config():
    config = default_config()
    config.sde.name = "ve"
    for section, fields in json.loads({text!r}).items():
        for name, value in fields.items():
            if name in config[section]:
                config[section][name] = type(config[section][name])(value)
    config.model.ema_rate = {ema_rate}
    config.data.update(name="mixture", num_levels=0)
    config.training.update(n_iters=8, batch_size=4, eval_freq=0, snapshot_freq=0)
    config.sampling.update(num_images=4, batch_size=4, eps=1e-3)
    config.sampling.pc.num_steps = 3
    return config
"""


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    def write(name="tiny", ema_rate=0.999):
        with np.load(GOLDEN / "train_ve_tiny.npz") as file:
            text = str(file["config_json"])
        path = tmp_path_factory.mktemp("config") / f"{name}.py"
        path.write_text(CONFIG.format(text=text, ema_rate=ema_rate))
        return path

    return write


@pytest.fixture
def command(config_file, tmp_path):
    """Run a mode in a folder, by default `tmp_path / "run"`."""
    path = config_file()

    def run(mode, *arguments, workdir=tmp_path / "run", config=path):
        main.run(
            ["main.py", f"--config={config}", f"--mode={mode}", f"--workdir={workdir}", *arguments]
        )

    return run


def figures(workdir):
    return [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]


def test_import_export(command, tmp_path, capsys):
    """Nothing is overwritten, and nothing is imported into a folder in use."""
    workdir, source = tmp_path / "run", f"--source={TINY}"
    first_steps(command, workdir, source, capsys)
    imported, exported = figures(workdir)
    assert imported["format"] == "PyTorch"
    assert imported["parameters"] == exported["parameters"] == 48_763
    assert imported["step"] == exported["step"] == 6
    path = workdir / "export" / "checkpoint_6.pth"
    before = path.read_bytes()
    with pytest.raises(UserError, match="checkpoint_6.pth exists already"):
        command("export")
    with pytest.raises(UserError, match="has checkpoints already"):
        command("import", source)
    assert path.read_bytes() == before
    assert [p.name for p in (workdir / "export").iterdir()] == ["checkpoint_6.pth"]
    assert [p.name for p in (workdir / "checkpoints").iterdir()] == ["6"]
    # Of another process its weights would be another's.
    path.unlink()
    with pytest.raises(UserError, match=r"model.sigma_max=90.0 \(trained with 50.0\)"):
        command("export", "--config.model.sigma_max=90")
    assert not path.exists()


def first_steps(command, workdir, source, capsys):
    """An import; exported at once, the file holds what it was imported from."""
    command("import", source)
    assert "Adam's moments after 6 updates" in capsys.readouterr().out

    command("export")
    path = workdir / "export" / "checkpoint_6.pth"
    written, published = contents_in_arrays(path), contents_in_arrays(TINY)
    for name, array in published["model"].items():
        np.testing.assert_allclose(
            written["model"][name], array, rtol=1e-15 * (name == "module.sigmas")
        )
    return written


@pytest.mark.slow
def test_import_sample_train_export(command, tmp_path, capsys):
    workdir, source = tmp_path / "run", f"--source={TINY}"
    written = first_steps(command, workdir, source, capsys)
    path = workdir / "export" / "checkpoint_6.pth"
    command("sample", "--sampler=pc")
    command("train")
    command("export")
    imported, first, sampled, trained, second = figures(workdir)
    assert imported["format"] == "PyTorch"
    assert imported["parameters"] == first["parameters"] == 48_763
    assert imported["step"] == first["step"] == sampled["checkpoint_step"] == 6
    assert trained["step"] == second["step"] == 8
    with np.load(sampled["arrays"]) as arrays:
        assert np.isfinite(arrays["images"]).all()
    after = contents_in_arrays(workdir / "export" / "checkpoint_8.pth")
    assert (
        after["step"] == after["ema"]["num_updates"] == after["optimizer"]["state"][1]["step"] == 8
    )
    for name, array in after["model"].items():
        fixed = name in ("module.sigmas", "module.all_modules.0.W")
        assert np.array_equal(array, written["model"][name]) == fixed, name

    # Nothing is overwritten, and nothing is imported into a folder in use.
    before = path.read_bytes()
    with pytest.raises(UserError, match="checkpoint_8.pth exists already"):
        command("export")
    with pytest.raises(UserError, match="has checkpoints already"):
        command("import", source)
    assert path.read_bytes() == before
    assert sorted(p.name for p in (workdir / "export").iterdir()) == ["checkpoint_6.pth", "checkpoint_8.pth"]  # fmt: skip
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["6", "8"]


def test_what_differs_from_the_config_is_said(command, config_file, tmp_path, capsys):
    contents = contents_in_arrays(TINY)
    del contents["optimizer"]
    torch_write.save(tmp_path / "bare.pth", contents)
    command("import", f"--source={tmp_path / 'bare.pth'}", config=config_file("other", 0.9))
    out = capsys.readouterr().out
    assert "absent; Adam's moments start at zero" in out
    assert "--config.model.ema_rate=0.999" in out
    (imported,) = figures(tmp_path / "run")
    assert (imported["ema_rate"], imported["ema_rate_of_config"]) == (0.999, 0.9)


def test_a_refused_file_leaves_nothing(command, tmp_path):
    cut = tmp_path / "cut.pth"
    cut.write_bytes(TINY.read_bytes()[:500_000])
    for source, arguments in (
        (cut, []),
        (tmp_path / "none.pth", []),
        (TINY, ["--config.model.nf=16"]),
        (TINY, ["--config.model.sigma_max=90"]),
        (TINY, ["--config.optim.decay=x"]),
    ):
        with pytest.raises(UserError):
            command("import", f"--source={source}", *arguments)
        assert [path.name for path in tmp_path.iterdir()] == ["cut.pth"]


def test_an_import_that_fails_while_it_writes_leaves_what_was_there(command, tmp_path, monkeypatch):
    def fail(config, workdir, step, classes):
        assert (workdir / "checkpoints" / "6").is_dir()
        raise OSError("disk full")

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    monkeypatch.setattr("score_sde.modes.new_folder.record_config", fail)
    with pytest.raises(OSError, match="disk full"):
        command("import", f"--source={TINY}")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "field", ["model.words='red blue'", "model.condition_interval=True"], ids=str
)
def test_layers_of_no_published_network_are_refused_before_a_file_is_read(command, tmp_path, field):
    """An export once included them in the list of layers, which shifted the numbers of all later ones."""
    fields = [f"--config.{field.replace(chr(39), '')}"]
    for mode, source in (("export", []), ("import", [f"--source={TINY}"])):
        with pytest.raises(ConfigError, match=f"^{field}: no published network has layers for it"):
            command(mode, *source, *fields)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_export_before_there_is_a_checkpoint(command, tmp_path):
    with pytest.raises(UserError, match="no checkpoint in"):
        command("export")
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
