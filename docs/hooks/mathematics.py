"""Equations become MathML when the site is built: nothing is fetched from elsewhere and no script runs when it is read.

`$x_t$` within a line and `$$...$$` between blank lines are LaTeX, on GitHub's pages too. Browsers lay MathML out by the
tables of a mathematical font, which few machines have; STIX Two Math comes with the package ziamath and is served along.
"""

from __future__ import annotations

import html as characters
import re
from importlib.resources import files as files_of

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
FUNCTION = re.compile(r"<mi>(ln|log|exp)</mi>")
FONT = "STIXTwoMath-Regular.ttf"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the font, for assets/site.css."""
    font = files_of("ziamath").joinpath("fonts", FONT).read_bytes()
    files.append(File.generated(config, f"assets/{FONT}", content=font))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace what arithmatex has marked."""

    def rendered(found: re.Match) -> str:
        latex = characters.unescape(found["latex"]).strip()
        display = "block" if found["tag"] == "div" else "inline"
        try:
            mathml = convert(latex, display=display)
        except Exception as error:
            raise PluginError(f"{page.file.src_uri}: no equation: {latex} ({error})") from error
        mathml = FUNCTION.sub(r'\g<0><mspace width="0.17em"/>', mathml)  # ln x, and not lnx
        return f'<div class="equation">{mathml}</div>' if display == "block" else mathml

    return EQUATION.sub(rendered, html)
