"""Source files that are named become links to the pages of their modules; links out of docs/ lead to a page, or become plain text."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

sys.path.insert(0, str(Path(__file__).parent))

from api_pages import page_of
from packages import ROOT, modules
from root_pages import PAGES

OUTSIDE = re.compile(r"\[([^\]]*)\]\((?:\.\./)+([^)#]+)(#[^)]*)?\)")
NAMED = re.compile(r"(<a [^>]*>\s*)?<code>((?:[a-z_]+/)+[a-z_]+\.py)</code>")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Resolve `../data/digits.py` of a page, which GitHub shows and a site of docs/ alone does not have."""

    def replaced(link: re.Match) -> str:
        text, path = link[1], link[2]
        if path in PAGES:
            moved = posixpath.relpath(PAGES[path], posixpath.dirname(page.file.src_uri))
            return f"[{text}]({moved}{link[3] or ''})"
        if (ROOT / "docs" / path).exists() or files.get_file_from_path(path) is not None:
            return link[0]
        if not (ROOT / path).exists():
            return link[0]  # for mkdocs to say
        return text if "`" in text else f"`{path}`"

    return OUTSIDE.sub(replaced, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """`models/exact.py` in code type links to the page of that module."""
    known = modules()

    def linked(name: re.Match) -> str:
        path = name[2]
        target = files.get_file_from_path(page_of(known[path])) if path in known else None
        if name[1] or target is None or target is page.file:
            return name[0]
        return f'<a href="{get_relative_url(target.url, page.url)}"><code>{path}</code></a>'

    return NAMED.sub(linked, html)
