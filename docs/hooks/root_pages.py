"""Pages of the site that are files of the checkout's root: what contributors read, and the changelog."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each, with its links as they are from docs/."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text().replace("](docs/", "](")
        text = re.sub(r"\]\(README\.md(#[^)]*)?\)", "](index.md)", text)
        for other, moved in PAGES.items():
            text = text.replace(f"]({other}", f"]({moved}")
        files.append(File.generated(config, page, content=text))
    return files
