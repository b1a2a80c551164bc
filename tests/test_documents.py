"""References in the documents exist: files, links, and the registries for new entries."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
FILE = re.compile(r"(?<![\w/<.])((?:[a-z_]+/)+[a-z_]+\.py)\b")
TABLE = re.compile(r"`([A-Z][A-Z_]+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(document):
    text = document.read_text()
    named = [document.parent / link for link in LINK.findall(text)]
    named += [ROOT / name for name in FILE.findall(text)]
    missing = [str(path.relative_to(ROOT)) for path in named if not path.exists()]
    # The examples of a process and a network of one's own are not part of the code.
    assert {os.path.normpath(path) for path in missing} <= {
        "sde_lib/straight.py",
        "models/small.py",
    }


def test_every_table_of_the_guide_is_where_it_says():
    rows = [row for row in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if TABLE.search(row)]
    assert len(rows) > 10
    for row in rows:
        sources = "\n".join((ROOT / name).read_text() for name in FILE.findall(row))
        for table in TABLE.findall(row):
            assert re.search(rf"^{table}\b.*=", sources, re.MULTILINE), (table, row)
