"""The page of all configuration fields, from the sections that state them: `python -m score_sde.configs.default` prints the same."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[2]))

PAGE = "reference/fields.md"
BEGIN = """# Configuration fields

Every field can be set on the command line as `--config.FIELD=VALUE`, in a configuration file, or in the `options` of
`Trained.load`. An unknown name, a value of another type or one out of its range is refused before anything is compiled.
`python -m score_sde.configs.default` prints this list.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=field_page()))
    return files


def field_page() -> str:
    """The page's text: a table for each section."""
    from score_sde.configs.default import sections  # imports JAX

    listed: dict[str, dict[str, tuple[object, str]]] = {}
    for section, part in sections():
        rows = listed.setdefault(section, {})
        for name, field in part.options().items():
            rows[name] = (field.default, field.metadata["what"])
    parts = [BEGIN]
    for section, rows in listed.items():
        title = f"config.{section}" if section else "config"
        parts += ["", f"## {title}", "", "| field | default | meaning |", "|---|---|---|"]
        parts += [
            f"| `{name}` | `{cell(repr(default))}` | {cell(what)} |"
            for name, (default, what) in rows.items()
        ]
    return "\n".join(parts) + "\n"


def cell(text: str) -> str:
    """Text within a table of Markdown."""
    for character in ("|", "<", "*"):
        text = text.replace(character, {"|": "\\|", "<": "&lt;", "*": "&#42;"}[character])
    return text
