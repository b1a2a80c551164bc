"""The start of a run: from an earlier one's last checkpoint, else from given weights, else from scratch."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.devices import PmapDevices
from score_sde.errors import ConfigError, UserError
from score_sde.foreign_weights.names import from_tree, parameters
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.init_from import weights_of
from score_sde.training.recorded_config import record_config
from score_sde.training.score_task import build_score_task, train
from score_sde.training.start import start
from score_sde.training.state import first_state
from tests.foreign_weights.tiny_run import GOLDEN, TINY, config_from_json, contents_in_arrays


def other_run(config, folder, step=7):
    """A run's folder, in whose checkpoint all arrays differ."""
    task = build_score_task(config)
    shapes = jax.eval_shape(lambda: first_state(task.init(), task.optimizer))
    leaves, structure = jax.tree.flatten(shapes)
    rng = np.random.default_rng(step)
    leaves = [jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    state = structure.unflatten(leaves).replace(step=jnp.int32(step))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(step, state)
    return state


def begin(config, folder):
    with Checkpoints(folder) as checkpoints:
        return start(build_score_task(config), checkpoints, PmapDevices(), weights_of(config))


def assert_equal(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_newest_checkpoint_then_other_weights_then_scratch(config, tmp_path):
    source = other_run(config, tmp_path / "source")
    fresh = build_score_task(config)
    scratch, how = begin(config, tmp_path / "scratch")
    assert_equal(scratch.params, fresh.init())
    assert how == ""

    config.training.init_from = str(tmp_path / "source")
    state, how = begin(config, tmp_path / "new")
    assert how == f"starting from the averaged weights of {tmp_path / 'source'}"
    assert_equal(state, first_state(source.ema_params, fresh.optimizer))
    assert all(len(leaf.addressable_shards) == 4 for leaf in jax.tree.leaves(state))

    # A folder with a checkpoint of its own goes on from that, and the source may be gone.
    own = other_run(config, tmp_path / "own", step=3)
    config.training.init_from = str(tmp_path / "gone")
    state, how = begin(config, tmp_path / "own")
    assert_equal(state, own)
    assert how.startswith("resuming from step 3")


def test_a_run_trains_on_from_the_weights(config, tmp_path):
    """At learning rate 0 an update does not change them."""
    source = other_run(config, tmp_path / "source")
    config.training.update(init_from=str(tmp_path / "source"), n_iters=1, eval_freq=0)
    config.optim.lr = 1e-30
    assert train(config, tmp_path / "new")["step"] == 1
    began_with = json.loads((tmp_path / "new" / "config.json").read_text())["began_with"]
    config.training.init_from = ""
    train(config, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "config.json").read_text())["began_with"] == began_with
    state, _ = begin(config, tmp_path / "new")
    assert began_with["step"] == int(source.step)
    assert_equal((state.params, state.ema_params), (source.ema_params, source.ema_params))


@pytest.mark.slow
def test_weights_of_a_published_file(tmp_path):
    """The file's list of averages is in its own order."""
    with np.load(GOLDEN / "train_ve_tiny.npz") as file:
        config = config_from_json(str(file["config_json"]))
    config.training.init_from = str(TINY)
    state, _ = begin(config, tmp_path)
    every = parameters(build_score_task(config).network)
    for tree in (state.params, state.ema_params):
        ours = from_tree(every, tree)
        moving = [ours[p.name] for p in every if p.trained]
        assert_equal(moving, contents_in_arrays(TINY)["ema"]["shadow_params"])
    assert int(state.step) == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state.opt_state))


def test_what_cannot_be_begun_with_is_refused_before_anything_is_compiled(
    config, tmp_path, monkeypatch
):
    other_run(config, tmp_path / "source")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no checkpoint")
    monkeypatch.setattr("score_sde.training.start.compiled", None)

    def refusal(init_from):
        config.training.init_from = str(tmp_path / init_from)
        with pytest.raises(ConfigError) as error:
            begin(config, tmp_path / "new")
        assert str(error.value).startswith(f"training.init_from='{tmp_path / init_from}'")
        return str(error.value)

    assert "does not exist; give a working directory" in refusal("nowhere")
    assert "no checkpoint in" in refusal("empty")
    assert "model.name=stub has no published format to import or export" in refusal("text")
    config.model.nf = 12
    message = refusal("source")
    assert "5 arrays differ" in message
    assert "ema_params.Dense_0.bias: checkpoint (8,), config (12,)" in message


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "Conv",
            r"trainable='Conv' matches no parameter; .* the 6 names Dense_0.bias, Dense_0.kernel",
        ),
        ("Dense_[", r"trainable='Dense_\[': unterminated character set .*; expected a regular"),
    ],
)
def test_a_pattern_that_chooses_nothing_is_refused(config, tmp_path, pattern, message):
    config.training.trainable = pattern
    with pytest.raises(UserError, match=message):
        train(config, tmp_path)


@pytest.mark.parametrize("task", ["consistency", "mean_flow"])
def test_other_tasks_of_the_network_refuse_weights_of_another_meaning_too(config, tmp_path, task):
    other_run(config, tmp_path / "source")
    record_config(config, tmp_path / "source", None)
    shapes = jax.eval_shape(build_score_task(config).init)
    config.training.update(init_from=str(tmp_path / "source"), task=task)
    config.model.predicts = "x0"
    with pytest.raises(ConfigError, match="its network is another: model.predicts='x0'"):
        weights_of(config).read(shapes)


def test_weights_of_another_network_of_the_same_shapes_are_refused(config, tmp_path, capsys):
    """The error names the first fields that differ; weights of another process, size or loss are accepted with a note."""
    other_run(config, tmp_path / "source")
    record_config(config, tmp_path / "source", None)
    shapes = jax.eval_shape(build_score_task(config).init)
    config.training.init_from = str(tmp_path / "source")
    config.training.weighting = "likelihood"
    weights_of(config).read(shapes)
    assert not capsys.readouterr().err
    config.sde.name, config.model.beta_max, config.data.image_size = "subvp", 10.0, 2
    weights_of(config).read(shapes)
    said = capsys.readouterr().err
    assert (
        "trained with different settings: data.image_size=2 (there 4), model.beta_max=10.0 (there 20.0), "
        in said
    )
    assert "sde.name='subvp' (there 'vp')" in said
    config.data.centered = not config.data.centered
    config.model.update(predicts="x0", nonlinearity="relu", scale_by_sigma=True, fir=True)
    with pytest.raises(ConfigError) as error:
        weights_of(config).read(shapes)
    message = str(error.value)
    assert "its network is another: data.centered=" in message
    assert "model.fir=True (there False), model.nonlinearity='relu' (there 'swish'), " in message
    assert "and 1 more; give the fields that it was trained with" in message
