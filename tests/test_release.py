"""The parts of a release: a single version number, citation, changelog, container, and the ends of version ranges."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from score_sde import version
from score_sde.version import VERSION
from tests.bounds import constraints, requirements

ROOT = Path(__file__).parents[1]
CONTAINER = (ROOT / "Containerfile").read_text()
# Of the Citation File Format 1.2.0, those that are used here with their kinds; it has more, none of them required.
REQUIRED = {"cff-version": str, "message": str, "title": str, "authors": list}
OPTIONAL = {
    "type": str, "abstract": str, "version": str, "date-released": str, "license": str, "keywords": list, "references": list,
}  # fmt: skip


def test_the_package_has_the_version_of_the_code():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in settings["project"]["dynamic"]
    where = settings["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert where == f"{version.__name__}.VERSION"
    for file in settings["tool"]["setuptools"]["package-data"]["score_sde"]:
        assert (ROOT / "score_sde" / file).is_file()


def test_the_citation():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    kinds = {**REQUIRED, **OPTIONAL}
    assert set(REQUIRED) <= set(citation) <= set(kinds)
    for name, value in citation.items():
        assert isinstance(value, kinds[name]), name
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == VERSION
    assert citation["license"] in (ROOT / "pyproject.toml").read_text()
    (paper,) = citation["references"]
    assert {"authors", "title", "type"} <= set(paper)
    assert [author["family-names"] for author in paper["authors"]] == [
        "Song", "Sohl-Dickstein", "Kingma", "Kumar", "Ermon", "Poole",
    ]  # fmt: skip
    assert paper["url"].endswith("/2011.13456")
    assert paper["title"].startswith("Score-Based Generative Modeling through Stochastic")


def test_the_changelog_has_this_version_and_day_and_the_kinds_of_keep_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## (.*)$", text, re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert releases[:2] == ["[Unreleased]", f"[{VERSION}] - {citation['date-released']}"]
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def instructions():
    """(name, words) of each, with continued lines put together."""
    lines = [line for line in CONTAINER.splitlines() if line.strip() and not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines()]


def test_the_container_names_what_there_is():
    """The container is not built here; only its file is checked."""
    found = instructions()
    assert {name for name, _ in found} <= {
        "ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "VOLUME", "ENTRYPOINT", "CMD",
    }  # fmt: skip
    assert [name for name, _ in found][:2] == ["ARG", "FROM"]
    for name, words in found:
        if name == "COPY":
            for source in words.split()[:-1]:
                assert (ROOT / source).exists(), source
        if name == "RUN":
            assert subprocess.run(["sh", "-n", "-c", words]).returncode == 0
    assert ("ENTRYPOINT", '["python", "main.py"]') in found
    (python,) = (words.partition("=")[2] for name, words in found if words.startswith("PYTHON="))
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert python in settings["project"]["requires-python"]
    assert f"{version.BUILT_FROM}=${{COMMIT}}" in CONTAINER


def test_another_commit_or_code_keeps_the_layer_of_the_requirements():
    """A layer is made anew if one before it differs."""
    words = [words for _, words in instructions()]
    installed = next(i for i, given in enumerate(words) if "pip install" in given)
    changing = [i for i, given in enumerate(words) if "COMMIT" in given or given == ". ."]
    assert len(changing) == 3
    assert installed < min(changing)


@pytest.mark.parametrize(("extra", "words"), [("", []), ("cuda13", ["jax[cuda13]"])])
def test_the_container_installs_the_requirements_and_jax_for_the_device(extra, words):
    """With a stand-in for pip that prints its arguments."""
    (run,) = (words for name, words in instructions() if name == "RUN" and "pip install" in words)
    fake = 'pip() { printf "%s\\n" "$@"; }; '
    done = subprocess.run(
        ["sh", "-c", fake + run], env={"JAX_EXTRA": extra}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["install", "--requirement", "requirements.txt", *words]
    assert not done.stderr


def test_a_container_is_started_so_that_signals_end_it():
    """Process 1 has no default signal actions, on which main.py relies for SIGINT: --init makes another process number 1."""
    commands = [
        command
        for page in (ROOT / "Containerfile", ROOT / "README.md", *(ROOT / "docs").glob("**/*.md"))
        for command in re.findall(r"(?:podman|docker) run(?:(?!docker).)*", page.read_text())
    ]
    assert len(commands) >= 3
    assert all(" --init " in command for command in commands)


def test_the_container_gets_all_of_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    left_out = (ROOT / ".dockerignore").read_text().split("\n")[1:]
    for folder in {*settings["package-dir"].values(), "main.py", "requirements.txt"}:
        assert not {folder, f"**/{folder}"} & set(left_out)


def test_a_container_has_the_commit_that_its_build_was_told(monkeypatch, tmp_path):
    monkeypatch.setattr(version, "ROOT", tmp_path)
    version.made_by.cache_clear()
    try:
        monkeypatch.setenv(version.BUILT_FROM, "0123456789abcdef")
        assert version.made_by() == {"version": VERSION, "commit": "0123456789abcdef"}
        assert version.in_words() == f"score-sde {VERSION} (commit 0123456789ab)"
        version.made_by.cache_clear()
        monkeypatch.setenv(version.BUILT_FROM, "")
        assert version.made_by()["commit"] is None
        assert version.in_words() == f"score-sde {VERSION}"
    finally:
        version.made_by.cache_clear()


def test_every_requirement_has_an_oldest_version():
    text = "".join(
        (ROOT / name).read_text() for name in ("requirements.txt", "requirements-dev.txt")
    )
    names = [name for name, _ in requirements(text)]
    oldest = constraints("oldest", text)
    assert len(names) == len(set(names)) == len(oldest) > 20
    assert any(line.startswith("jax==") for line in oldest)
    assert constraints("newest", text) == []


def test_ends_of_ranges():
    text = "# a\n-r other.txt\nfoo>=1.2,<2 # b\nbar[x] == 3\n\n"
    assert constraints("oldest", text) == ["foo==1.2", "bar==3"]
    with pytest.raises(ValueError, match="foo<2 has no lower bound: write foo>=VERSION"):
        constraints("oldest", "foo<2")
    with pytest.raises(ValueError, match="'middle' is no end of a range"):
        constraints("middle", text)
