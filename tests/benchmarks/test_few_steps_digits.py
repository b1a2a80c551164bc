"""The table of few-step samplers, from lines in the format of --mode tradeoff."""

import json

import pytest

from benchmarks.few_steps_digits import main
from score_sde.errors import UserError


def line(name, steps, nfe, frechet, **changes):
    others = {f"{figure}{end}": 0.5 for figure in ("kid", "precision", "recall") for end in ("", "_error")}  # fmt: skip
    judged = {"features": "classifier", "features_image_size": 8, "reference": "test"}
    return {
        "mode": "tradeoff", "name": name, "steps": steps, "nfe": nfe, "num_images": 40, "num_reference": 30,
        "frechet": frechet, "frechet_error": 0.25, **judged, **others, **changes,
    }  # fmt: skip


def written(folder, *lines):
    folder.mkdir()
    (folder / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return str(folder)


def trained(seconds):
    return {"mode": "train", "seconds": seconds}


def test_the_newest_of_each_sampler_beside_its_training(tmp_path):
    """The newest of two calls counts; real images appear once, at the end."""
    real = line("real images (train)", "", None, 0.125)
    one = written(
        tmp_path / "one",
        trained(60.0),
        trained(30.0),
        real,
        line("consistency", "1 on rho", 1.0, 9.0, checkpoint_step=1200),
        line("consistency", "2 on rho", 2.0, 3.0, checkpoint_step=1300),
        line("consistency", "1 on rho", 1.0, 4.0, checkpoint_step=1300),
        {"mode": "likelihood"},
    )
    two = written(tmp_path / "two", real, line("dopri5 adaptive", "tolerance 0.1", 37.6, 1.0, checkpoint_step=7))  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text("<!-- results: few_steps_digits.json -->\n<!-- end of results -->\n")
    main([one, two, "--out", str(tmp_path)])
    rest = "0.50 ± 0.50 | 0.50 ± 0.50 | 0.50 ± 0.50 |"
    shown = [row for row in page.read_text().splitlines() if "±" in row]
    assert shown == [
        f"| one | 1.5 | 1,300 | consistency | 1 | 4.00 ± 0.25 | {rest}",
        f"| one | 1.5 | 1,300 | consistency | 2 | 3.00 ± 0.25 | {rest}",
        f"| two |  | 7 | dopri5 adaptive | 38 | 1.00 ± 0.25 | {rest}",
        f"|  |  |  | real images (train) |  | 0.12 ± 0.25 | {rest}",
    ]
    assert "40 samples of each beside 30 real images: `python -m benchmarks.few_steps_digits" in page.read_text()  # fmt: skip


def test_what_makes_no_table_is_refused(tmp_path):
    one = written(tmp_path / "one", line("ddim", "", 1.0, 1.0))
    more = written(tmp_path / "more", line("ddim", "", 1.0, 1.0, num_images=50))
    pixels = written(tmp_path / "pixels", line("ddim", "", 1.0, 1.0, features="pixels"))
    train = written(tmp_path / "train", line("ddim", "", 1.0, 1.0, reference="train"))
    empty = written(tmp_path / "empty", trained(60.0))
    broken = tmp_path / "broken"
    written(broken)
    (broken / "results.jsonl").write_text("{")
    wrong = {
        (one, more): "samples of 40 beside 30 and 50 beside 30 real images",
        (one, pixels): "have rows of features='classifier' and of 'pixels'; measure all alike",
        (one, train): "have rows of reference='test' and of 'train'",
        (empty,): "has no rows of --mode tradeoff",
        (str(tmp_path / "nowhere"),): "nowhere/results.jsonl cannot be read",
        (str(broken),): "cannot be read",
    }
    for folders, words in wrong.items():
        with pytest.raises(UserError, match=words):
            main([*folders, "--out", str(tmp_path / "out")])
