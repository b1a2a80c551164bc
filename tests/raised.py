"""List the errors for users (refusals) that no test triggers.

    python -m tests.raised [arguments for pytest]     such as tests/data, or -m "slow or not slow"

A refusal is a place in the code that raises UserError or a subclass. Those in processes started by a test are not seen.
"""

import ast
import os
import sys
import tempfile
from pathlib import Path

import pytest

from score_sde import errors

ROOT = Path(__file__).parents[1]
FOLDER = (
    "SCORE_SDE_RAISED"  # in the environment: where each process of pytest writes what it has seen
)
NOT_THE_CODE = ("tests", "benchmarks", ".venv", ".mypy_path", "build")

seen = set()


def pytest_configure(config):
    """Every kind of UserError is made through this."""

    def note(self, *arguments):
        frame = sys._getframe(1)
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        Exception.__init__(self, *arguments)

    errors.UserError.__init__ = note


def pytest_sessionfinish(session):
    lines = [f"{os.path.realpath(file)}:{line}\n" for file, line in seen]
    Path(os.environ[FOLDER], f"{os.getpid()}").write_text("".join(lines))


def trees():
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] not in NOT_THE_CODE:
            yield path, ast.parse(path.read_text())


def places():
    """file:line of every refusal."""
    parsed = list(trees())
    kinds = {"UserError"}
    for _ in range(3):  # of kinds of kinds
        for _, tree in parsed:
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and kinds & {
                    getattr(base, "id", "") for base in node.bases
                }:
                    kinds.add(node.name)
    for path, tree in parsed:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in kinds:
                yield f"{path}:{node.lineno}"


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder
        status = pytest.main(["-p", "tests.raised", *sys.argv[1:]])
        executed = {line for path in Path(folder).iterdir() for line in path.read_text().split()}
    every = list(places())
    missed = [place for place in every if place not in executed]
    print(f"\n{len(every) - len(missed)} of {len(every)} refusals were made; these were not:")
    for place in missed:
        file, _, line = place.rpartition(":")
        print(
            f"{os.path.relpath(file, ROOT)}:{line}  {Path(file).read_text().splitlines()[int(line) - 1].strip()}"
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
