"""Commands in the documents are valid: flags, fields, values, files. The short ones are run in the slow test."""

import ast
import importlib.util
import os
import re
import subprocess
import sys

import pytest

from score_sde.command_line import QUICK, config_name, parse
from score_sde.config_file import load_config
from score_sde.configs.default import check_options, sections
from tests.documented_commands import DOCUMENTS, INLINE, MAIN, MODULE, ROOT, code_blocks, commands

OF_MAIN = commands(MAIN)
OF_MODULES = commands(MODULE)
MARKDOWN = [path for path in DOCUMENTS if path.suffix == ".md"]
WITH_CODE = [path for path in MARKDOWN if code_blocks(path, "python")]
# The changelog has the names that were.
OF_NOW = [path for path in MARKDOWN if path.name != "CHANGELOG.md"]
FIELDS = {
    ".".join(filter(None, (section, name)))
    for section, part in sections()
    for name in part.options()
}
SECTIONS = {field.rpartition(".")[0] for field in FIELDS} - {""}
# Folders that the documents suppose to be trained, by the configuration that they were trained with.
TRAINED = {"demo": "configs/subvp_digits.py", "faces": "examples/own_images.py"}


def of(command):
    return f"{command.document}: {command.text}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder with the checkout's files, and the trained folders that commands name by --workdir alone."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in ("runs", ".git"):
            (folder / path.name).symlink_to(path)
    trained = dict(TRAINED)
    for command in OF_MAIN:
        given = dict(zip(command.arguments, command.arguments[1:], strict=False))
        if name := given.get("--config"):
            place = given.get("--workdir", f"runs/{config_name(name)}")
            trained.setdefault(place.removeprefix("runs/"), name)
    for place, name in trained.items():
        if not place.startswith("/"):
            (folder / "runs" / place).mkdir(parents=True)
            config = load_config(str(ROOT / name))
            (folder / "runs" / place / "config.json").write_text(config.to_json())
    return folder


@pytest.mark.parametrize("command", OF_MAIN, ids=of)
def test_a_command_is_understood(command, checkout, monkeypatch):
    """By main.py's parser, with values in the ranges of their fields."""
    monkeypatch.chdir(checkout)
    options = parse(["main.py", *command.arguments], "")
    if options is not None and options.mode not in QUICK:  # None as for --help
        check_options(options.config)


def test_there_are_commands():
    """In case a change of format hides them from this test."""
    assert len(OF_MAIN) > 80
    assert len(OF_MODULES) > 12
    assert len({command.document for command in OF_MAIN}) > 15


@pytest.mark.parametrize("command", OF_MODULES, ids=of)
def test_a_module_is_there_and_knows_its_flags(command):
    module, *rest = command.arguments
    if module.partition(".")[0] not in ("benchmarks", "score_sde", "tests"):
        return
    found = importlib.util.find_spec(module)
    assert found is not None, module
    folder = ROOT.joinpath(*module.split("."))
    sources = [*folder.glob("*.py")] if folder.is_dir() else [folder.with_suffix(".py")]
    text = "".join(path.read_text() for path in sources if path.exists())
    shared = ROOT / "benchmarks" / "arguments.py"
    text += shared.read_text() if shared.exists() else ""
    for flag in rest:
        if flag.startswith("--"):
            assert f'"{flag.partition("=")[0]}"' in text, flag


@pytest.mark.parametrize("document", OF_NOW, ids=lambda path: path.name)
def test_fields_that_are_named_exist(document):
    """Fields such as `training.keep_best` within a sentence, with or without a value."""
    names = {
        code.partition("=")[0].removeprefix("--config.")
        for code in INLINE.findall(document.read_text())
    }
    named = {name for name in names if re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)+", name)}
    of_sections = {
        name for name in named if name.split(".")[0] in {s.split(".")[0] for s in SECTIONS}
    }
    assert {
        name for name in of_sections if name not in FIELDS | SECTIONS and not is_file(name)
    } == set()


def is_file(name):
    return name.endswith((".py", ".md", ".json", ".npz"))


@pytest.mark.parametrize("document", WITH_CODE, ids=lambda path: path.name)
def test_code_of_documents_imports_what_is_there(document):
    for block in code_blocks(document, "python"):
        imports = [
            node
            for node in ast.walk(ast.parse(block))
            if isinstance(node, ast.ImportFrom | ast.Import)
        ]
        for node in imports:
            exec(ast.unparse(node), {})


# Without training, on a law that is known or on digits that come along; each some seconds.
SHORT = [
    command
    for command in OF_MAIN
    if "configs/toy_mixture.py" in command.text
    and {"sample", "likelihood"} & set(command.arguments)
] + [command for command in OF_MAIN if "digits" in command.text and "--mode data" in command.text]


@pytest.mark.slow
@pytest.mark.parametrize("command", SHORT, ids=of)
def test_a_short_command_runs_as_printed(command, checkout):
    ran = subprocess.run(
        [sys.executable, "main.py", *command.arguments],
        cwd=checkout,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout
