"""Retention of checkpoints, and loading the best of them."""

import json

import jax
import jax.numpy as jnp
import pytest

from score_sde.configs.default import get_config
from score_sde.errors import ConfigError, UserError
from score_sde.training.about import FORMAT, read_about, write_about, write_later
from score_sde.training.checkpoints import BEST, Checkpoints, restore_ema, saved_steps
from score_sde.training.manifest import write_manifest
from score_sde.training.settings import check_config
from score_sde.training.staying import Staying
from score_sde.training.task import Evaluator
from score_sde.version import VERSION
from tests.training.test_left_alone import Recorded, run

LOSSES = {1: 5.0, 2: 1.0, 3: 4.0, 4: 2.0, 5: 3.0, 6: 6.0}


@pytest.mark.parametrize(
    ("latest", "every", "best", "kept"),
    [
        (0, 0, 0, {1, 2, 3, 4, 5, 6}),
        (0, 3, 1, {1, 2, 3, 4, 5, 6}),
        (2, 0, 0, {5, 6}),
        (1, 3, 0, {3, 6}),
        (1, 0, 1, {2, 6}),
        (1, 0, 3, {2, 4, 5, 6}),
        (2, 3, 1, {2, 3, 5, 6}),
    ],
)
def test_what_stays(latest, every, best, kept):
    staying = Staying(latest, every, best, lambda: LOSSES)
    assert staying.of([3, 1, 2, 6, 5, 4], LOSSES) == kept


def test_one_whose_loss_nobody_knows_is_not_the_best():
    assert Staying(1, 0, 2, dict).of(range(1, 7), {3: 4.0}) == {3, 6}


def judged(losses, frequency=1):
    """A task whose held-out losses are these."""
    said = {"held_out": Evaluator(frequency, lambda averaged, step: {"eval_loss": losses[step]})}
    return Recorded(evaluators=said)


def test_a_run_keeps_its_best_also_when_it_is_resumed(tmp_path):
    run(tmp_path, 4, judged(LOSSES), keep_checkpoints=1, keep_best=1)
    assert saved_steps(tmp_path / "checkpoints") == [2, 4]
    run(tmp_path, 6, judged(LOSSES), keep_checkpoints=1, keep_best=2)
    assert saved_steps(tmp_path / "checkpoints") == [2, 4, 6]
    found = {step: read_about(tmp_path / "checkpoints" / str(step)) for step in (2, 4, 6)}
    assert found == {step: (FORMAT, {"eval_loss": LOSSES[step]}, "eval_loss") for step in found}
    template = {"p": jax.ShapeDtypeStruct((), jnp.float32)}
    assert restore_ema(tmp_path, template, BEST)[1] == 2
    assert restore_ema(tmp_path, template)[1] == 6


def test_the_last_is_compared_too(tmp_path):
    """Its step is not a multiple of the frequency; it is evaluated before it is saved."""
    run(tmp_path, 5, judged(LOSSES, 3), checkpoint_freq=3, keep_checkpoints=1, keep_best=1)
    assert saved_steps(tmp_path / "checkpoints") == [5]
    assert read_about(tmp_path / "checkpoints" / "5").figures == {"eval_loss": 3.0}


def test_the_best_is_of_the_figure_that_is_named(tmp_path):
    """Also for readers that do not know the name of the figure; if a run continues with another figure, by that."""
    losses = {step: {"eval_loss": loss, "frechet": -loss} for step, loss in LOSSES.items()}
    said = {"all": Evaluator(1, lambda averaged, step: losses[step])}
    task, best = Recorded(evaluators=said), {"keep_checkpoints": 1, "keep_best": 1}
    run(tmp_path, 5, task, keep_best_by="frechet", **best)
    assert saved_steps(tmp_path / "checkpoints") == [1, 5]
    template = {"p": jax.ShapeDtypeStruct((), jnp.float32)}
    assert restore_ema(tmp_path, template, BEST)[1] == 1
    run(tmp_path, 6, task, **best)
    assert saved_steps(tmp_path / "checkpoints") == [5, 6]
    assert restore_ema(tmp_path, template, BEST)[1] == 5


def test_what_is_found_after_a_checkpoint_is_written_belongs_to_it(tmp_path):
    """The last evaluation comes after the last save; the choice of the best by a later command includes it."""
    run(tmp_path, 3, judged(LOSSES, 5), keep_checkpoints=0)
    found = {step: read_about(tmp_path / "checkpoints" / str(step)).figures for step in (2, 3)}
    assert found == {2: {}, 3: {"eval_loss": 4.0}}
    run(tmp_path, 4, judged(LOSSES, 5), keep_checkpoints=0)
    template = {"p": jax.ShapeDtypeStruct((), jnp.float32)}
    assert restore_ema(tmp_path, template, BEST)[1] == 4
    (tmp_path / "checkpoints" / "4" / "later.json").write_text("{")
    assert restore_ema(tmp_path, template, BEST)[1] == 3


def test_a_figure_found_again_counts_and_others_stay(tmp_path):
    write_about(tmp_path, {"loss": 3.0})
    for found in ({"frechet": 9.0, "eval_loss": 2.0}, {"frechet": 1.0}):
        write_later(tmp_path, found)
    assert read_about(tmp_path).figures == {"loss": 3.0, "frechet": 1.0, "eval_loss": 2.0}


def test_there_is_no_best_where_nothing_was_measured(tmp_path):
    run(tmp_path, 2)
    with pytest.raises(UserError, match="checkpoint_step=-1: no checkpoint .* steps 1, 2"):
        restore_ema(tmp_path, {"p": jax.ShapeDtypeStruct((), jnp.float32)}, BEST)


@pytest.mark.parametrize(("every", "judged"), [(100, 0), (100, 30), (100, 200)])
@pytest.mark.parametrize(
    ("figure", "frequency"),
    [("eval_loss", "eval_freq"), ("frechet", "quality_freq"), ("frechet_limit", "quality_freq")],
)
def test_the_best_of_checkpoints_without_a_figure_is_refused(every, judged, figure, frequency):
    config = get_config()
    config.training.update(keep_best=1, keep_best_by=figure, eval_freq=50, checkpoint_freq=every)
    config.training[frequency] = judged
    with pytest.raises(ConfigError, match=f"keep_best=1 with {frequency}=.*a divisor of it"):
        check_config(config)
    config.training[frequency] = 50
    check_config(config)


@pytest.mark.parametrize(
    ("keep", "every", "calls"), [(50_000, 10_000, 64), (25_000, 10_000, 1), (10_000, 20_000, 1)]
)
def test_multiples_at_which_there_is_no_checkpoint_are_refused(keep, every, calls):
    """But not if all are kept, or only the last is saved."""
    config = get_config()
    given = {"keep_every": keep, "checkpoint_freq": every, "steps_per_call": calls}
    config.training.update(given)
    with pytest.raises(ConfigError, match=f"keep_every={keep} with .*would not fall"):
        check_config(config)
    for allowed in (
        {"keep_every": 2 * every, "steps_per_call": 50},
        {"keep_every": 0},
        {"keep_checkpoints": 0},
        {"checkpoint_freq": 0},
    ):
        config = get_config()
        config.training.update({**given, **allowed})
        check_config(config)


def test_a_newer_format_is_no_damage_and_an_older_one_is_read(tmp_path, monkeypatch):
    run(tmp_path, 2)
    newest = tmp_path / "checkpoints" / "2"
    assert json.loads((newest / "about.json").read_text())["version"] == VERSION
    template = {"p": jax.ShapeDtypeStruct((), jnp.float32)}
    monkeypatch.setattr("score_sde.training.about.FORMAT", 3)
    write_about(newest, {})
    (newest / "sha256.json").unlink()
    write_manifest(newest)
    monkeypatch.undo()
    with pytest.raises(UserError, match="step 2 .* has format 3, .* up to 2: use the version"):
        restore_ema(tmp_path, template)
    for name in ("about.json", "sha256.json"):
        (newest / name).unlink()
    assert restore_ema(tmp_path, template)[1] == 2
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.judged() == {}
