"""The build warns, and a strict one fails, where a page's table is not what the JSON of its benchmark makes."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig

sys.path.insert(0, str(Path(__file__).parents[2]))

log = logging.getLogger("mkdocs.plugins.result_tables")


def on_pre_build(config: MkDocsConfig) -> None:
    """Look through the pages as they are in docs/."""
    from benchmarks.tables import problems  # imports JAX

    for problem in problems(Path(config.docs_dir)):
        log.warning(problem)
