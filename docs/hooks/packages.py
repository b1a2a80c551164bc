"""The package score_sde as it is when imported, for tools that read files and import nothing.

In a checkout the folders stand beside `score_sde/`, which finds them by a path computed at import. A copy has
them below it.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ROOT / "build" / "documented"


@functools.cache
def packages() -> dict[str, Path]:
    """Every package of the distribution with its folder, by its dotted name, in the order of pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    return {name: folder_of(name, settings["package-dir"]) for name in settings["packages"]}


def folder_of(name: str, roots: dict[str, str]) -> Path:
    """The folder of a package: that of pyproject's package-dir, or the one of its parent's of its name."""
    if name in roots:
        return ROOT / roots[name]
    parent, _, last = name.rpartition(".")
    return folder_of(parent, roots) / last


@functools.cache
def modules() -> dict[str, str]:
    """Dotted names of all modules, by their paths in the checkout: {"samplers/ode.py": "score_sde.samplers.ode"}."""
    return {
        path.relative_to(ROOT).as_posix(): name
        if path.stem == "__init__"
        else f"{name}.{path.stem}"
        for name, folder in packages().items()
        for path in sorted(folder.glob("*.py"))
    }


def copy_package() -> None:
    """Make the package below build/documented, or renew it: copies, since griffe follows links to where they lead."""
    copied = set()
    for file, name in modules().items():
        parts = name.split(".") + (["__init__"] if file.endswith("__init__.py") else [])
        copy = COPIED.joinpath(*parts).with_suffix(".py")
        copied.add(copy)
        text = (ROOT / file).read_bytes()
        if not copy.exists() or copy.read_bytes() != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)
    for copy in set(COPIED.rglob("*.py")) - copied:
        copy.unlink()
