"""Completion in a real bash: the offers of the printed script, and their speed. Also in fish if installed; zsh only parses its script."""

import ast
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from score_sde.fields import known_fields
from score_sde.flag_table import MODES
from score_sde.samplers.names import SAMPLERS

ROOT = Path(__file__).parents[1]
SECONDS = 0.3  # of the processor, for one TAB

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")

# As readline calls the function: the line, the cursor, and the line cut at COMP_WORDBREAKS. Prints what it offers, one a line,
# and the seconds of the processor that it took.
DRIVER = r"""
source "$1"
COMP_LINE=$2 COMP_POINT=${3:-${#2}}
COMP_WORDS=("${@:4}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
spec=$(complete -p "${COMP_WORDS[0]##*/}") || exit 3
[[ $spec =~ -F\ ([^ ]+) ]] || exit 4
"${BASH_REMATCH[1]}" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s|\n' "${COMPREPLY[@]}"
times >&2
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """As it is printed, by a Python that may import neither JAX nor Flax."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('jax', 'flax', 'tensorflow_datasets'))); "
        "sys.argv = ['main.py', '--completion', 'bash']; import main; sys.exit(main.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = tmp_path_factory.mktemp("completion") / "score_sde.bash"
    path.write_text(done.stdout)
    return path


def cut(line):
    """As readline cuts a line into COMP_WORDS, with : and = as words of their own."""
    words = [""]
    for letter in line:
        if letter == " ":
            words.append("")
        elif letter in "=:":
            words += [letter, ""] if words[-1] == "" else ["", letter, ""]
            words = [word for i, word in enumerate(words) if word or i == len(words) - 1]
        else:
            words[-1] += letter
    return [word for i, word in enumerate(words) if word or i == len(words) - 1]


def offered(script, line, cwd=ROOT, before=""):
    """The words that TAB at the end of this line puts in the place of the last piece of it."""
    command = ["bash", "-c", before + DRIVER, "bash", str(script), line, "", *cut(line)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [word[:-1] for word in done.stdout.splitlines() if word != "|"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("python main.py --mode sa", ["sample "]),
        ("python main.py --mode=sa", ["sample "]),
        (".venv/bin/python ./main.py --mode ", [f"{mode} " for mode in MODES]),
        ("python3 main.py --sampler unipc_2", ["unipc_2_bh1 ", "unipc_2_bh2 "]),
        ("python main.py --sampler ", [f"{name} " for name in SAMPLERS]),
        ("python main.py --comp", ["--compilation_cache=", "--completion="]),
        ("python main.py --js", ["--json "]),
        ("python main.py --conf", ["--config="]),
        ("python main.py --config configs/subvp_d", ["configs/subvp_digits.py"]),
        ("python main.py --config=configs/subvp_d", ["configs/subvp_digits.py"]),
        (
            "python main.py --config configs/subvp_digits.py:c",
            ["conditional", "control", "consistency", "classifier"],
        ),
        ("python main.py --config=configs/toy_mixture.py:", ["vp", "subvp", "ve"]),
        ("python main.py --config configs/ve_1024.py:ff", ["ffhq"]),
        ("python main.py --mode train --config.sampling.gr", ["--config.sampling.grid."]),
        (
            "python main.py --config.sampling.grid.",
            [f"--config.sampling.grid.{n}=" for n in ("candidates", "name", "rho", "times")],
        ),
        ("python main.py --config.sampling.grid.name=l", ["log_snr "]),
        ("python main.py --config.sampling.grid.name=a", ["auto "]),
        ("python main.py --config.sampling.grid.name lo", ["log_snr "]),
        ("python main.py --config.model.fir=", ["True ", "False "]),
        ("python main.py --config.sde.name=sub", ["subvp "]),
        ("python main.py --config.training.weighting=fl", ["flow ", "flow_logit_normal "]),
        (
            "python main.py --config.sampling.pc.predictor=ancestral_sampling_l",
            ["ancestral_sampling_learned "],
        ),
        ("python main.py --json --mo", ["--mode="]),
        ("python main.py --flagfile pyproj", ["pyproject.toml "]),
    ],
)
def test_what_is_offered(script, line, words):
    assert sorted(offered(script, line)) == sorted(words)


def test_every_field_and_section_is_reached(script):
    """By completing from the first letters: offers end in . for a section and in = for a field."""
    found, sections = set(), ["--config."]
    while sections:
        for word in offered(script, f"python main.py {sections.pop()}"):
            if word.endswith("."):
                sections.append(word)
            else:
                found.add(word.removeprefix("--config.").removesuffix("="))
    assert found == set(known_fields())


def test_variants_of_ones_own_file_and_folders(script, tmp_path):
    (tmp_path / "mine.py").write_text(
        'VARIANTS: dict = {\n    "big": (\n        A,\n    ),\n    "tiny": (),\n}\n'
    )
    (tmp_path / "notes.txt").touch()
    (tmp_path / "runs").mkdir()
    assert sorted(offered(script, "python main.py --config ", tmp_path)) == ["mine.py", "runs/"]
    assert offered(script, "python main.py --config mine.py:t", tmp_path) == ["tiny"]
    assert offered(script, "python main.py --workdir ru", tmp_path) == ["runs/"]


def test_all_variants_of_the_configs_are_found(script):
    """The variants that the files themselves define."""
    for file in sorted((ROOT / "configs").glob("*.py")):
        tables = [
            node.value
            for node in ast.parse(file.read_text()).body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and "VARIANTS" in ast.unparse(getattr(node, "target", None) or node.targets[0])
        ]
        names = [key.value for table in tables for key in table.keys]
        assert sorted(offered(script, f"python main.py --config configs/{file.name}:")) == sorted(
            names
        )


def test_another_script_is_none_of_its_business(script):
    """Files, as without the script; or an earlier completion for the arguments of python."""
    assert offered(script, "python other.py --mo") == []
    assert offered(script, "python mai") == []
    before = '_theirs() { COMPREPLY=("theirs $1"); }; complete -F _theirs python\n'
    assert offered(script, "python other.py --mo", before=before) == ["theirs python"]
    assert offered(script, "python main.py --mode sa", before=before) == ["sample "]


def test_it_answers_at_once(script):
    """Measured in processor time, so that a busy machine does not fail the test: no Python is started."""
    command = [
        "bash",
        "-c",
        DRIVER,
        "bash",
        str(script),
        line := "python main.py --config.",
        "",
        *cut(line),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    own, children = (
        [
            float(part[:-1].partition("m")[0]) * 60 + float(part[:-1].partition("m")[2])
            for part in row.split()
        ]
        for row in done.stderr.splitlines()[-2:]
    )
    assert sum(own) + sum(children) < SECONDS


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("python main.py --mode=sa\t--sam\tunipc_3", "python main.py --mode=sample --sampler=unipc_3"),
        ("python main.py --config=configs/subvp_d\t:cond\t", "python main.py --config=configs/subvp_digits.py:conditional"),
        ("python main.py --config configs/subvp_d\t:cond\t", "python main.py --config configs/subvp_digits.py:conditional"),
        ("python main.py --config.sampling.gr\tna\tlo\t", "python main.py --config.sampling.grid.name=log_snr"),
        ("python CHANGEL\t", "python CHANGELOG.md"),
    ],
)  # fmt: skip
def test_keys_pressed_at_a_terminal(script, typed, line):
    """In a bash with such a completion. An echo before the line, and colons around it, show what TAB completed."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.environ["TERM"] = "dumb"
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    try:
        os.write(terminal, f"bind 'set bell-style none'; source {script}; echo rea''dy\n".encode())
        assert read_until(terminal, "ready")
        os.write(
            terminal, f"{typed}\x01echo :\x05:\n".encode()
        )  # ^A to the beginning, ^E to the end
        assert read_until(terminal, f"\n:{line}:")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def read_until(terminal, words, seconds=60):
    """Whether they come in time; a line may end in a space before its last colon."""
    seen, end = "", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096).decode().replace("\r", "").replace(" :", ":")
            if words in seen.replace("echo:", "echo :"):
                return True
    return False


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_theirs(shell, tmp_path):
    done = subprocess.run(
        [sys.executable, "main.py", "--completion", shell], cwd=ROOT, capture_output=True, text=True
    )
    assert "--config.sampling.grid.name" in done.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here to read it")
    path = tmp_path / "script"
    path.write_text(done.stdout)
    assert subprocess.run([shell, "-n", str(path)], capture_output=True).returncode == 0


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish here")
@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("python main.py --mode sa", "sample"),
        ("python main.py --mode=sa", "--mode=sample"),
        ("python main.py --mode=train ", "--sampler="),  # the word before has its value
        ("python main.py --json ", "--mode="),  # and this takes none
        ("python main.py --flagfile pyproj", "pyproject.toml"),
    ],
)
def test_what_fish_offers(tmp_path, line, word):
    """It offers flags or files, not both."""
    done = subprocess.run(
        [sys.executable, "main.py", "--completion", "fish"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    (tmp_path / "script").write_text(done.stdout)
    asked = "source $argv[1]; complete -C $argv[2]"
    found = subprocess.run(
        ["fish", "--no-config", "-c", asked, str(tmp_path / "script"), line],
        cwd=ROOT, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert word in found
    assert word == "pyproject.toml" or not {"README.md", "configs/"} & {*found}
