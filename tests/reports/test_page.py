"""The report of a folder: its contents, even if little is there, and that text from files is always escaped."""

import json
import os
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import main
from score_sde.configs.default import get_config
from score_sde.errors import UserError
from score_sde.reports.page import page, read_folder
from score_sde.reports.reading import curve
from score_sde.training.environment import record_environment
from score_sde.training.recorded_config import as_json

MODES = {
    "train": {"step": 1300, "seconds_step": 3.0, "seconds_data": 1.0},
    "likelihood": {
        "checkpoint_step": 1300, "split": "test", "num_images": 297, "ode_bits_per_dim": 2.0014, "ode_standard_error": 0.0142,
        "bound_bits_per_dim": 2.0513, "bound_standard_error": 0.016, "dequantization": "uniform", "eps": 1e-5, "ode_nfe": 57.0,
    },
    "sample": {"sampler": "ode", "nfe": 57.0, "picture": "runs/elsewhere/samples/ode-step1300.png"},
    "quality": {"fid": 12.25, "precision": 0.5},
}  # fmt: skip


class Elements(HTMLParser):
    """Tags with their attributes, and the letters of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.letters = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.letters.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.letters).split())


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)


def config(folder):
    given = {
        **as_json(get_config()),
        "changes": [{"step": 50, "field": "optim.lr", "from": 1, "to": 2}],
    }
    given["data"]["name"] = "folder"
    given["optim"]["lr"] = 0.0625
    given["training"]["n_iters"] = 1300
    (folder / "config.json").write_text(json.dumps(given))


def metrics(folder):
    lines = [
        {"step": step, "loss": 100 / step, "grad_norm": 1.0, "images_per_second": 133.0, "loss_by_log_snr/9_to_2": 0.1,
         "mine": 7.0}
        for step in range(25, 1300, 25)
    ]  # fmt: skip
    lines += [{"step": 650, "eval_loss": 0.15}, {"step": 1300, "eval_loss": 0.16}]
    lines += [{"step": 1300, "frechet": 0.11, "frechet_error": 0.01, "frechet_limit": 0.05}]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def results(folder):
    lines = [{"mode": mode, **figures, "date": "2026-11-26"} for mode, figures in MODES.items()]
    (folder / "results.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def snapshots(folder):
    for step in range(100, 2100, 100):
        picture(folder / "snapshots" / f"step{step:08d}.png")


def samples(folder):
    picture(folder / "samples" / "ode-step1300.png")


# What makes each part of a folder, and what the report then says.
PARTS = {
    config: ["optim.lr", "0.0625", "Changed during the run", "ncsnpp of folder, vp process"],
    metrics: ["1,275", "held-out loss; lowest 0.15 at step 650", "133 images per second", "Gradient norm", "log-SNR 9 to 2",
              "mine", "Frechet distance", "limit for infinitely many 0.05"],
    results: ["2.001 ± 0.014", "date (UTC)", "2.051 ± 0.016", "297 test", "--mode quality", "12.25", "--mode sample",
              "step 75.0 %", "data 25.0 %"],
    snapshots: ["Samples over time", "step 100", "step 2,000"],
    samples: ["ode-step1300.png"],
    lambda folder: record_environment(folder, 0): ["jax", "orbax-checkpoint", "cpu_cores"],
}  # fmt: skip


@pytest.mark.parametrize("number", range(len(PARTS)))
def test_each_part_is_shown_without_the_others(tmp_path, number):
    make, said = list(PARTS.items())[number]
    make(tmp_path)
    text = Elements(page(read_folder(tmp_path))).text
    for words in said:
        assert words in text
    assert "frechet_error" not in text
    for other, words in PARTS.items():
        if other is not make:
            assert words[0] not in text


def test_a_whole_folder_is_one_page_that_loads_nothing(tmp_path):
    for make in PARTS:
        make(tmp_path)
    read = Elements(page(read_folder(tmp_path)))
    for words in sum(PARTS.values(), []):
        assert words in read.text
    # The caption of a picture has what results.jsonl says of it, though that was another folder then.
    assert "ode-step1300.png , sampler ode, evaluations 57" in read.text.replace(".png,", ".png ,")
    images = [attributes for tag, attributes in read.tags if tag == "img"]
    assert len(images) == 8 + 1  # of twenty snapshots eight
    assert all(image["src"].startswith("data:image/webp;base64,") for image in images)
    assert {"html", "main", "svg", "table", "details"} <= {tag for tag, _ in read.tags}
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in read.tags}
    for _, attributes in read.tags:
        assert not {"href", "onload", "onerror", "srcset"} & set(attributes)
    (policy,) = [a["content"] for tag, a in read.tags if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def test_the_newest_are_shown_and_come_first(tmp_path):
    """The bits/dim at the top, six pictures of seven, fifty rows of fifty-one, and the environment of the last start."""
    lines = [{"mode": "likelihood", "ode_bits_per_dim": value} for value in (7.125, 2.125)]
    lines += [{"mode": "quality", "fid": 100.5 + k} for k in range(51)]
    starts = [{"command": f"start {k}", "jax": f"0.{k}"} for k in (3, 4)]
    for name, rows in (("results", lines), ("environment", starts)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for k in range(7):
        path = tmp_path / "samples" / f"{'gfedcba'[k]}.png"  # the newest is not the last by name
        picture(path)
        os.utime(path, (1000 + k, 1000 + k))
    text = Elements(page(read_folder(tmp_path))).text
    assert "2.125 bits/dim, the ODE's" in text
    assert "7.125 bits/dim" not in text
    assert text.index("2.125", text.index("Likelihood")) < text.index("7.125")
    assert [name for name in "gfedcba" if f" {name}.png" in text] == [*"fedcba"]
    assert "150.5" in text
    assert "100.5" not in text
    assert text.index("150.5") < text.index("149.5")
    environment = text[text.index("Environment") :]
    assert environment.index("start 4") < environment.index("All 2 starts")
    assert environment.index("start 3") > environment.rindex("start 4")


@pytest.mark.parametrize("bound_on", [None, "the chain, of integer images"])
def test_a_bound_is_named_by_what_it_bounds(tmp_path, bound_on):
    """That of a network trained on a chain bounds the chain's likelihood, which is not the SDE's."""
    record = {"mode": "likelihood", "bound_bits_per_dim": 1.75, "bound_standard_error": 0.5}
    given = {} if bound_on is None else {"bound_on": bound_on}
    (tmp_path / "results.jsonl").write_text(json.dumps(record | given))
    text = Elements(page(read_folder(tmp_path))).text
    assert f"1.750 bits/dim, bound on {bound_on or 'the SDE'}" in text


EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\x00\x1b[31m\ud800\u202e"


def test_what_files_say_stays_letters(tmp_path):
    """In names and values of every file, and in the names of a picture and of the folder."""
    folder = tmp_path / "<b>bold"
    folder.mkdir()
    line = json.dumps(
        {
            "step": 1,
            "mode": EVIL,
            EVIL: 1.5,
            "date": EVIL,
            f"loss_by_log_snr/{EVIL}": 2,
            "picture": EVIL,
        }
    )
    told = {"mode": "likelihood", **dict.fromkeys(MODES["likelihood"], EVIL)}
    for name in ("metrics.jsonl", "results.jsonl", "environment.jsonl"):
        (folder / name).write_text(f"{line}\n{line}\n{json.dumps(told)}\n")
    given = {
        EVIL: {EVIL: EVIL},
        "dataset": {EVIL: EVIL},
        "changes": [{EVIL: EVIL}],
        "training": EVIL,
        "model": {"name": EVIL},
    }
    (folder / "config.json").write_text(json.dumps(given))
    for part in ("snapshots", "samples"):
        picture(folder / part / "<script>alert(1)<!--.png")
    html = page(read_folder(folder)).encode(errors="replace").decode()
    read = Elements(html)
    usual = Elements(page(read_folder(empty(tmp_path / "usual"))))
    assert "b" not in {tag for tag, _ in read.tags[: len(usual.tags)]}
    assert "alert(1)" in read.text
    assert "<b>bold" in read.text
    for tag, attributes in read.tags:
        assert tag not in ("script", "base", "link")
        assert "onerror" not in attributes
        assert tag != "img" or attributes["src"].startswith("data:image/webp;base64,")
    assert not any(c in html for c in "\x00\x1b\u202e")


def empty(folder):
    folder.mkdir()
    return folder


BROKEN = [
    b'{"step": 30, "lo',
    b"",
    b"7",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a": ' + b"1" * 5000 + b"}",
]
# Lines of JSON whose figures are none that can be drawn.
UNDRAWABLE = [
    {"step": 10, "loss": True}, {"step": None, "loss": 1.0}, {"step": 10, "loss": "1"}, {"step": 10, "loss": [1]},
    {"loss": 1.0}, {"step": 1e400, "loss": float("nan")}, {"step": 10, "loss": 10**400}, {"step": 10, "loss": float("-inf")},
    {"step": 10, "images_per_second": 0.0},
]  # fmt: skip


def test_only_numbers_are_drawn():
    assert curve([*UNDRAWABLE, {"step": 3, "loss": 2}], "loss") == [(3.0, 2.0)]


def test_damaged_lines_are_counted_and_their_neighbours_shown(tmp_path):
    good = [json.dumps({"step": step, "loss": 0.5}).encode() for step in (10, 20)]
    odd = [json.dumps(row).encode() for row in UNDRAWABLE]
    (tmp_path / "metrics.jsonl").write_bytes(
        b"\n".join([good[0], *BROKEN, *odd, good[1], b'{"step'])
    )
    text = Elements(page(read_folder(tmp_path))).text
    assert (
        "metrics.jsonl: 7 of 18 lines are damaged and left out (line 2, 3, 4, 5, 6, ...)." in text
    )
    assert "20 updates" in text


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\0\0", b'{"changes": 3}', b'{"a":' * 900 + b"1" + b"}" * 900]
)
def test_a_damaged_config_is_said(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    metrics(tmp_path)
    text = Elements(page(read_folder(tmp_path))).text
    assert "config.json is left out: " in text or "Configuration" in text
    assert "Gradient norm" in text


def test_what_is_no_file_or_no_picture_is_said(tmp_path):
    for name in ("metrics.jsonl", "config.json"):
        (tmp_path / name).mkdir()
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "step00000100.png").write_bytes(b"no picture")
    (tmp_path / "snapshots" / "step00000200.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "snapshots" / "step00000300.png").mkdir()
    picture(tmp_path / "snapshots" / "step00000400.png")
    text = Elements(page(read_folder(tmp_path))).text
    assert "metrics.jsonl is not a file" in text
    assert "config.json is not a file" in text
    for step in (100, 200, 300):
        assert f"snapshots/step{step:08d}.png cannot be read as a picture." in text
    assert "step 400" in text


def test_the_mode_needs_no_config_and_refuses_a_folder_with_nothing(tmp_path, capsys):
    metrics(tmp_path)
    figures = main.run(["main.py", "--mode=report", f"--workdir={tmp_path}"])
    assert figures == {"report": str(tmp_path / "report.html")}
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    with pytest.raises(UserError, match="nothing to report in --workdir="):
        main.run(["main.py", "--mode=report", f"--workdir={tmp_path / 'none'}"])
    with pytest.raises(UserError, match="--config is missing"):
        main.run(["main.py", "--mode=report"])
