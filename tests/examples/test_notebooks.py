"""The notebooks run from top to bottom, and their assertions hold."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.py"))
LONGEST = 1500  # seconds, on a busy machine; none takes three minutes on two quiet cores


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, tmp_path):
    ran = subprocess.run(
        [sys.executable, str(notebook)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "MPLBACKEND": "Agg",
            "PYTHONWARNINGS": "error::RuntimeWarning",
        },
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    assert ran.returncode == 0, ran.stderr
    pictures = list((tmp_path / "runs" / "notebooks").glob("*.png"))
    assert pictures


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_one(notebook):
    """Text and code cells alternate, and the site lists the notebook."""
    text = notebook.read_text()
    assert text.startswith("# %% [markdown]\n# # ")
    assert text.count("\n# %%\n") >= 4
    assert f"`{notebook.name}`" in (ROOT / "docs" / "tutorials" / "from_a_script.md").read_text()
