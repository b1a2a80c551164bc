"""The documentation site builds without warnings, loads nothing from other servers, and is complete."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from score_sde.configs.default import sections

ROOT = Path(__file__).parents[1]
# What a browser fetches to show a page; links to follow are another matter.
FETCHED = re.compile(
    r'<(?:script|img|iframe|source)[^>]* src="(\w+:)?//|<link(?![^>]*rel="canonical")[^>]* href="(\w+:)?//'
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages, by their path."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={
            **os.environ,
            "NO_MKDOCS_2_WARNING": "1",
            "SITE_SEARCH": "false",
            "JAX_PLATFORMS": "cpu",
        },
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return {
        path.relative_to(folder).parent.as_posix(): path.read_text()
        for path in folder.rglob("*.html")
    }


def test_every_module_has_a_page(site):
    modules = {
        path.relative_to(ROOT)
        for path in ROOT.glob("*/*.py")
        if path.parts[len(ROOT.parts)]
        in ("samplers", "sde_lib", "models", "training", "likelihood")
        and path.stem != "__init__"
    }
    assert len(modules) > 100
    for module in modules:
        page = site[f"reference/api/{module.with_suffix('')}"]
        assert f"<code>{module}</code>" in page


def test_docstrings_are_on_the_pages(site):
    page = site["reference/api/sde_lib/base"]
    assert "Standard deviation of x_t | x_0, in the units of the images" in page
    assert "prior_log_density" in page


def test_every_field_is_listed(site):
    page = site["reference/fields"]
    for section, part in sections():
        heading = f"config.{section}" if section else "config"
        assert f'id="{heading.replace(".", "").lower()}"' in page
        for name in part.options():
            assert f"<code>{name}</code>" in page


def test_equations_are_mathml(site):
    """No formula is left as LaTeX, and none needs a script."""
    assert sum(page.count("<math") for page in site.values()) > 60
    for name, page in site.items():
        assert 'class="arithmatex"' not in page, name
    assert "<mfrac>" in site["how/sampling"]


def test_no_page_fetches_from_elsewhere(site):
    for name, page in site.items():
        assert not FETCHED.search(page), name


def test_source_files_link_to_their_pages(site):
    assert (
        'href="../../reference/api/sde_lib/base/"><code>sde_lib/base.py</code>'
        in site["how/processes_and_scores"]
    )


def test_links_to_the_guide_for_contributors_lead_to_its_page(site):
    """On GitHub they lead to the file, which is outside docs/."""
    assert 'href="../../contributing/#where-things-go"' in site["tutorials/extending"]
    assert 'href="../contributing/"' in site["mutants"]
    assert 'id="where-things-go"' in site["contributing"]
