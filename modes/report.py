"""--mode report: write report.html, a self-contained page about the contents of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from score_sde.errors import UserError
from score_sde.files import write_whole
from score_sde.json_output import note
from score_sde.output import show
from score_sde.reports.page import page, read_folder
from score_sde.reports.reading import pictures_in
from score_sde.sde_lib import SDE

FOLDERS = ("snapshots", "samples", "likelihood", "interpolation", "tradeoff")


def check(config: Any, sde: SDE) -> None:
    """Check nothing: the page shows the config recorded in the folder, not this one."""


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Write <workdir>/report.html and print its path.

    Raises:
      UserError: there is nothing to report.
    """
    folder = read_folder(workdir)
    if not any((*folder[1:], *(pictures_in(workdir / name) for name in FOLDERS))):
        raise UserError(
            f"nothing to report in --workdir={workdir}: it has no config.json, metrics.jsonl, results.jsonl or pictures; give the "
            "folder of a training, or train in it first"
        )
    path = workdir / "report.html"
    write_whole(path, page(folder).encode(errors="replace"))
    note({"mode": "report", "report": str(path)})
    show(str(path))
    return {"report": str(path)}
