"""That all recipes can be trained, and the table of their results."""

import json
from pathlib import Path

import pytest

from benchmarks import recipes
from benchmarks.recipes import RECIPES, Row, with_recipe
from score_sde.configs.subvp_digits import get_config
from score_sde.errors import UserError
from score_sde.models.parameterization import build_parameterization
from score_sde.sde_lib import build_sde
from score_sde.training.losses import build_loss


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe[0]}-{recipe[1]}")
def test_a_recipe_changes_its_fields_alone(recipe):
    base = get_config()
    config = with_recipe(base, recipe, 0, 30)
    sde = build_sde(config)
    build_loss(config, sde)
    assert build_parameterization(config, sde) is not None
    changed = {
        f"{section}.{field}"
        for section in ("model", "optim", "data", "training", "likelihood")
        for field, value in config[section].items()
        if value != base[section][field]
    }
    assert changed <= {
        "model.predicts", "training.weighting", "training.times",
        "training.snapshot_freq", "training.eval_freq", "training.checkpoint_freq",
    }  # fmt: skip
    assert (config.model.predicts, config.sampling.num_images) == (recipe.predicts, 30)


def test_images_of_the_data_are_near_the_data():
    """For samples of size n the distance contains E|mean - m|^2 = tr C / n, with the trace by NumPy."""
    real = recipes.all_images(get_config())
    assert (len(real), real.min(), real.max()) == (1797, 0.0, 1.0)
    near = [recipes.redrawn(real, n) for n in (400, 4000)]
    trace = real.reshape(len(real), -1).var(axis=0).sum()
    assert near[0] > trace / 400 > near[1] > trace / 4000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--samples 1", "--samples=1: expected 2 or more"),
        ("--steps -3", "training.n_iters=-3"),
        (
            "--config configs/nope.py",
            "cannot read the config file configs/nope.py given to --config",
        ),
        ("--config configs/subvp_digits.py:nope", "unknown variant 'nope'"),
        ("--config configs/toy_mixture.py", "its score is exact"),
        ("--config ./configs/toy_mixture.py", "its score is exact"),
        (f"--config {Path('configs/toy_mixture.py').resolve()}", "its score is exact"),
    ],
)
def test_mistakes_are_said_before_anything_is_trained(arguments, words):
    with pytest.raises(UserError, match=words):
        recipes.main(arguments.split())


def test_the_table(monkeypatch, tmp_path):
    def known(config, recipe, real):
        assert config.training.n_iters == 7
        return Row(recipe, 2.0, 0.01, 2.5, 0.02, 0.3, 57.0)

    monkeypatch.setattr(recipes, "measure", known)
    monkeypatch.setattr(recipes, "redrawn", lambda real, number: number / 1e4)
    monkeypatch.setattr(recipes.jax, "clear_caches", lambda: None)  # nothing was compiled
    few = (RECIPES[0], RECIPES[-1])  # each is checked with its network
    monkeypatch.setattr(recipes, "RECIPES", few)
    page = tmp_path / "page.md"
    page.write_text("<!-- results: recipes.json -->\n<!-- end of results -->\n")
    rows = recipes.main(["--steps", "7", "--samples", "50", "--out", str(tmp_path)])
    assert [row.recipe for row in rows] == list(few)
    line = "| edm | edm | log_normal | EDM | 2.000 ± 0.010 | 2.500 ± 0.020 | 0.300 | 57 |"
    text = page.read_text()
    assert line in text
    assert "| the data, drawn anew | | | | | | 0.005 | |" in text
    assert "7 updates of each network, 50 samples: `python -m benchmarks.recipes" in text
    record = json.loads((tmp_path / "recipes.json").read_text())
    assert (record["steps"], len(record["rows"])) == (7, len(few))
