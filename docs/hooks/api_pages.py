"""Pages of the API: one for each module, a section for each folder, from the docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

from packages import copy_package, modules, packages


def on_startup(command: str, dirty: bool) -> None:
    """Copy the package to where griffe looks for it, before the configuration says where that is."""
    copy_package()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages into the navigation."""
    reference = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    reference += [{"API": api_section()}]
    return config


def api_section() -> list:
    """A section for each package; its own docstring is the first page."""
    pages = {name: page_of(name) for name in modules().values()}
    sections = []
    for package in packages():
        own = [pages[package]] if package in pages else []
        inside = [
            {name.rpartition(".")[2]: page}
            for name, page in pages.items()
            if name != package and name.rpartition(".")[0] == package and name not in packages()
        ]
        sections.append({package.removeprefix("score_sde.").replace(".", " / "): own + inside})
    return sections


def page_of(module: str) -> str:
    """Where the page of a module is, below docs/."""
    parts = module.split(".")[1:]
    if module in packages():
        return "/".join(["reference", "api", *parts, "index.md"])
    return "/".join(["reference", "api", *parts]) + ".md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each module, which mkdocstrings fills."""
    for file, module in modules().items():
        text = f"---\ntitle: {module.removeprefix('score_sde.')}\n---\n\n# {module}\n\n`{file}`\n\n::: {module}\n"
        files.append(File.generated(config, page_of(module), content=text))
    return files
