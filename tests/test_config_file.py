"""Sources of a configuration: a Python file, whose errors keep their file and line, or a trained folder."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from score_sde.command_line import parse
from score_sde.config_file import load_config
from score_sde.configs.digits import digits_config
from score_sde.errors import UserError
from score_sde.generation.start_images import check_start_images
from score_sde.models.networks import NETWORKS
from score_sde.modes.classify import class_folder
from score_sde.training.init_from import weights_of
from score_sde.training.recorded_config import as_json, record_config

DEFAULT = "from score_sde.configs.default import get_config as default\n"


@pytest.fixture
def trained(tmp_path):
    """A folder as a training leaves it, as far as its config goes."""
    config = digits_config("ve")
    config.model.ch_mult = (1, 4)
    record_config(config, tmp_path, None)
    return tmp_path, config


def given(*arguments):
    return parse(["main.py", *arguments], "")


@pytest.mark.parametrize("way", ["--workdir={}", "--config={}/config.json", "--config={}"])
@pytest.mark.parametrize("mode", ["train", "sample"])
def test_a_trained_folder_is_enough_by_itself(trained, way, mode):
    folder, config = trained
    options = given(way.format(folder), f"--mode={mode}")
    assert options.workdir == folder
    assert as_json(options.config) == as_json(config)
    assert options.config.is_locked
    assert given(way.format(folder), "--mode=train", "--config.seed=7").config.seed == 7


def test_a_folders_config_for_another_folder(trained, tmp_path):
    folder, config = trained
    options = given(f"--config={folder}/config.json", f"--workdir={tmp_path}/b", "--mode=train")
    assert options.workdir == tmp_path / "b"
    assert options.config.model.ch_mult == (1, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--workdir={}/none --mode=sample", "--config is missing: .*none has no config.json of an"),
        ("--config={}/none/config.json --mode=sample", "none/config.json does not exist: give"),
        ("--config={}/config.json:deep --mode=sample", "a recorded config has no variants"),
        ("--workdir= --mode=sample", "--workdir is empty"),
        (
            "--workdir={} --mode=sample --num_processes=2",
            "--num_processes=2 goes with --multi_host",
        ),
        ("--flagfile={}/none --mode=sample", "Unable to open flagfile"),
        ("--workdir={} --mode=sample --config.seed[0]=3", "no such field in the config: seed"),
        (
            "--workdir={} --mode=sample --config.data.name.x=3",
            "no such field in the config: data.name.x",
        ),
        (
            "--workdir={} --mode=sample --config.sde=vp",
            "config.sde is a section: set its fields one by one, as --config.sde.name=VALUE",
        ),
        ("--workdir={} --mode=sample more", "unexpected argument 'more'"),
        ("--workdir={} --mode=sample --config.seed 3 more", "unexpected argument 'more'"),
        ("--workdir={} --mode=sample --config.seed", "Missing value for flag --config.seed"),
    ],
)
def test_mistakes(trained, arguments, words):
    with pytest.raises(UserError, match=words) as error:
        given(*arguments.format(trained[0]).split(" "))
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_with_a_colon_in_its_name(trained, tmp_path):
    """Such as a time of day: a colon is taken for that of a variant only if no folder has the name."""
    folder = tmp_path / "at_10:00"
    record_config(trained[1], folder, None)
    for way in ("--workdir={}", "--config={}", "--config={}/config.json"):
        options = given(way.format(folder), "--mode=sample")
        assert (options.workdir, options.config.model.ch_mult) == (folder, (1, 4))


def test_a_list_that_is_given_twice_is_not_joined(trained):
    """For a number the last value counts; a list from a flag file and the command line would be concatenated by config_flags."""
    folder, _ = trained
    flags = folder / "flags"
    flags.write_text(f"--workdir={folder}\n--config.model.ch_mult=1,2,2\n")
    with pytest.raises(UserError, match="--config.model.ch_mult is given twice; give it once"):
        given(f"--flagfile={flags}", "--mode=train", "--config.model.ch_mult=1,2")
    assert given(f"--flagfile={flags}", "--mode=train").config.model.ch_mult == (1, 2, 2)


def test_flags_from_a_file(trained):
    folder, _ = trained
    flags = folder / "flags"
    flags.write_text(f"# a comment\n--workdir={folder}\n--config.seed=5\n\n--sampler=ddim\n")
    options = given(f"--flagfile={flags}", "--mode=sample", "--config.seed", "6")
    assert (options.config.seed, options.config.sampling.sampler) == (6, "ddim")


MINE = f"{DEFAULT}\ndef get_config():\n    config = default()\n"
FILES = [
    ("def get_config(:\n", "mine.py:1: SyntaxError: invalid syntax"),
    ("import nothing_such\n", "mine.py:1: ModuleNotFoundError: No module named 'nothing_such'"),
    (f"{DEFAULT}\ndef get_config():\n    config = default()\n    config.seed = 'x'\n    return config\n", "mine.py:5: TypeError: "),
    (f"{DEFAULT}\ndef get_config():\n    config = default()\n    return config.modle\n", "mine.py:5: AttributeError: .*model"),
    ("def get_config():\n    return {'seed': 3}\n", "gives a dict; expected the ConfigDict"),
    ("def get_config():\n    pass\n", "gives a NoneType; expected"),
    (f"{MINE}    config.sampling.num_imags = 4\n    return config\n", "mine.py: no such field in the config: sampling.num_imags; did you mean .*num_images"),
    (f"{MINE}    config.model.drpout = .7\n    return config\n", "mine.py: no such field in the config: model.drpout; did you mean"),
    (f"{MINE}    config.sampling = type(config)(dict(num_images=4))\n    return config\n", "mine.py: the config has no sampling.batch_size: begin"),
    ("get_config = 3\n", "is no configuration: it has no get_config"),
    ("def get_config(name):\n    pass\n", "has variants only; choose one"),
    ("(" * 2000, "mine.py(:1)?: (MemoryError|SyntaxError|RecursionError)"),
    ("x = '\0'", "mine.py.*(SyntaxError|ValueError): .*null"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), FILES, ids=[words for _, words in FILES])
def test_an_error_in_a_users_file_keeps_its_line(tmp_path, text, words):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as error:
        load_config(str(path))
    assert len(str(error.value).splitlines()) == 1


def test_numbers_of_numpy_are_recorded_as_numbers(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        f"import numpy as np\n{MINE}    config.sampling.labels = tuple(np.arange(3))\n"
        "    config.model.ch_mult = tuple(np.array([1, 2]))\n    return config\n"
    )
    config = load_config(str(path))
    assert json.loads(config.to_json())["sampling"]["labels"] == [0, 1, 2]
    assert config.model.ch_mult == (1, 2)


def test_a_network_of_ones_own_reads_the_fields_it_likes(tmp_path, monkeypatch):
    """Both in a file and in a folder trained with it, if the named network declares no options."""
    monkeypatch.setitem(NETWORKS, "mine", type("Mine", (), {}))
    path = tmp_path / "mine.py"
    path.write_text(f"{MINE}    config.model.update(name='mine', my_width=7)\n    return config\n")
    config = load_config(str(path))
    assert config.model.my_width == 7
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(config.to_json())
    assert load_config(str(tmp_path / "run")).model.my_width == 7


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    for name in (tmp_path / "pipe.py", "/dev/zero"):
        with pytest.raises(UserError, match="cannot read the config file .*: it is no file"):
            load_config(str(name))


def test_a_users_file_may_have_dataclasses_and_helpers(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        f"from __future__ import annotations\nimport dataclasses\n{DEFAULT}\n@dataclasses.dataclass\nclass Choice:\n    seed: int\n\n"
        "def get_config(seed='3'):\n    config = default()\n    config.seed = Choice(int(seed)).seed\n    return config\n"
    )
    assert load_config(str(path)).seed == 3
    assert load_config(f"{path}:8").seed == 8


def test_home_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = digits_config("vp")
    record_config(config, tmp_path / "run", None)
    options = given("--config=~/run/config.json", "--mode=import", "--source=~/x.pth")
    assert options.workdir == tmp_path / "run"
    assert options.source == tmp_path / "x.pth"
    config.classifier.workdirs = "~/{label}"
    assert class_folder(config, 3) == tmp_path / "3"
    np.savez(tmp_path / "x.npz", images=np.zeros(3))
    config.sampling.update(t_start=0.5, start_images="~/x.npz")
    check_start_images(config.sampling)
    config.training.init_from = "~/none"
    with pytest.raises(UserError, match=f"init_from='{tmp_path}/none' does not exist"):
        weights_of(config).read(None)
    assert (
        Path("~nobody_such/x")
        == given("--workdir=~nobody_such/x", "--config=~/run", "--mode=train").workdir
    )
