"""Tables of the pages: the committed tables are those made from the JSON, and a change of either is detected."""

import importlib.util
import logging
import shutil
from types import SimpleNamespace

import pytest

from benchmarks.tables import (
    BEGIN,
    END,
    MADE_BY,
    main,
    pages,
    problems,
    read,
    renew,
    renewed,
    tables_of,
)
from score_sde.errors import UserError
from tests.documented_commands import ROOT

DOCS = ROOT / "docs"
TABLES = {("a.json", ""): "| 1 |", ("b.json", "law"): "| 2 |"}
ONE, LAW = "<!-- results: a.json -->", "<!-- results: b.json law -->"

# A figure of the JSON, another in its place, and the row that shows it.
CHANGED = [
    ("digits_networks.json", "748737", "748738", "| `fast` | ncsnpp | subvp | 748,738 |"),
    ("error_versus_nfe.json", '"uniform", 10.0, 0.055065576143432646', '"uniform", 10.0, 0.0444', "| euler | 1 | 0.044 uniform | 0.023 uniform |"),
    ("few_steps.json", "0.10560267191965442", "0.20560267191965442", "| consistency training | 2 |  | 0.206 |"),
    ("few_steps_digits.json", "1.5640271869306162", "2.5640271869306162", "| distilled | 11.0 | 1,800 | consistency | 1 | 2.56 ± 0.47 |"),
    ("growth.jsonl", '"value": 27.0', '"value": 28.0', "| 1 / tolerance | evaluations of Dopri5 | 100 | 28 evaluations | 0.27 |"),
    ("metric_power.json", '"honest", 50, 0.1008', '"honest", 50, 0.0208', "| > 1600 (16%) | 2% to 18% |"),
    ("posterior_methods.jsonl", '"PiGDM, ODE", "distance": 0.003271524640164971', '"PiGDM, ODE", "distance": 0.00532', "| PiGDM, ODE | 1600 | 1600 | 0.0053 |"),
    ("recipes.json", "1.9684", "1.5684", "| edm | edm | log_normal | EDM | 1.568 ± 0.014 |"),
    ("speed_h100.jsonl", '"value": 3354.536', '"value": 3254.536', "| training, images/s, bfloat16 (`training_bfloat16`) | 128 | 3,255 | 218 TFLOP/s, 31% | 1,094 | 3.01 |"),
    ("tpu.jsonl", '"seconds": 80.88', '"seconds": 79.88', "| 163 | nothing | 80 s |"),
    ("training_times.json", "897.171", "794.171", "| uniform | independent | 794 ± 160 |"),
]  # fmt: skip


def test_the_pages_have_the_tables_of_their_json():
    """If this fails, run python -m benchmarks.tables docs and review the changes."""
    assert problems(DOCS) == []


@pytest.mark.parametrize(("name", "old", "new", "row"), CHANGED, ids=[row[0] for row in CHANGED])
def test_a_changed_figure_is_noticed_and_renewed(tmp_path, name, old, new, row):
    """The page is stale until the command has run, which changes only the table."""
    (shows,) = [path for path, text in pages(DOCS).items() if f"<!-- results: {name}" in text]
    page = tmp_path / shows.name
    text = shutil.copy(shows, page).read_text()
    for shown, _ in BEGIN.findall(text):
        shutil.copy(DOCS / shown, tmp_path)
    stored = (DOCS / name).read_text()
    assert problems(tmp_path) == []
    assert old in stored
    (tmp_path / name).write_text(stored.replace(old, new, 1))
    (problem,) = problems(tmp_path)
    assert problem == f"{page}: a table is not what its JSON makes; run python -m benchmarks.tables {tmp_path}"  # fmt: skip
    main([str(tmp_path)])
    assert row in page.read_text()
    assert row not in text
    assert problems(tmp_path) == []
    (tmp_path / name).write_text(stored)
    assert renew(tmp_path) == [page]
    assert page.read_text() == text


def test_every_json_of_the_pages_has_a_changed_figure():
    assert {name for name, *_ in CHANGED} == {name for name in MADE_BY if (DOCS / name).exists()}


def test_prose_stays_as_it_is():
    text = f"# Title \n\nBefore.\n\n{ONE}\nold\n\n{END}\n\n{LAW}\n{END}\nAfter."
    expected = f"# Title \n\nBefore.\n\n{ONE}\n\n| 1 |\n\n{END}\n\n{LAW}\n\n| 2 |\n\n{END}\nAfter."
    assert renewed(text, TABLES) == expected
    assert renewed(expected, TABLES) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{ONE}\n", f"{ONE}: the page has no '{END}' after it"),
        (f"{END}\n", f"{END}: expected '{END}' once after each"),
        (f"{ONE}\n{LAW}\n{END}\n", f"{LAW}: expected '{END}' once after each"),
        (f"{ONE}\n{END}\n{END}\n", f"{END}: expected '{END}' once after each"),
        (f"<!-- results: b.json -->\n{END}\n", "b.json -->: no such table; name one of a.json; b.json law"),
        (f"<!-- results b.json law -->\n{END}\n", f"{END}: expected '{END}' once after each"),
    ],
)  # fmt: skip
def test_wrong_markers_are_refused(text, words):
    with pytest.raises(UserError) as refused:
        renewed(text, TABLES)
    assert words in str(refused.value)


def test_a_table_that_no_page_shows_is_a_problem(tmp_path):
    """So is a marker without an end, and the problem names the page."""
    shutil.copy(DOCS / "recipes.json", tmp_path)
    page, marker = tmp_path / "recipes.md", "<!-- results: recipes.json -->"
    page.write_text("# Recipes\n")
    unshown = f"{tmp_path}/recipes.json: no page shows it; put '{marker}' and '{END}' into one"
    assert problems(tmp_path) == [unshown]
    with pytest.raises(UserError, match="no page shows it"):
        main([str(tmp_path)])
    page.write_text(f"# Recipes\n{marker}\n")
    assert problems(tmp_path) == [f"{page}: {marker}: the page has no '{END}' after it"]
    with pytest.raises(UserError, match=r"recipes\.md: .* has no"):
        renew(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        main([str(tmp_path / "nowhere")])


def test_a_folder_without_results_has_none(tmp_path):
    (tmp_path / "page.md").write_text("Prose.\n")
    assert (tables_of(tmp_path), renew(tmp_path), problems(tmp_path)) == ({}, [], [])


def test_lines_are_read_as_a_list(tmp_path):
    (tmp_path / "of.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    assert read(tmp_path / "of.jsonl") == [{"a": 1}, {"a": 2}]


def test_the_sites_build_warns_of_it(tmp_path, caplog):
    """A strict build fails on any warning of a logger below `mkdocs`."""
    file = DOCS / "hooks" / "result_tables.py"
    spec = importlib.util.spec_from_file_location("result_tables", file)
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    shutil.copy(DOCS / "training_times.json", tmp_path)
    with caplog.at_level(logging.WARNING, "mkdocs"):
        hook.on_pre_build(SimpleNamespace(docs_dir=str(tmp_path)))
    (record,) = caplog.records
    assert record.name.startswith("mkdocs.")
    assert "training_times.json: no page shows it" in record.getMessage()
