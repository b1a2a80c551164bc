"""Power-function averages of a run: agreement with the definition, storage during training, and reconstruction of any width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.errors import UserError
from score_sde.sde_lib import build_sde
from score_sde.training.checkpoints import Checkpoints, restore_part
from score_sde.training.kept_averages import averages_folder, kept_steps, read, reconstructed
from score_sde.training.power_average import exponent
from score_sde.training.recorded_config import record_config
from score_sde.training.score_task import build_score_task
from score_sde.training.state import first_state, parts
from score_sde.training.task import Evaluator
from score_sde.training.trained_score import load_score_model
from tests.training.test_left_alone import Recorded, run

TEMPLATE = {"p": jax.ShapeDtypeStruct((), jnp.float32)}


def task(*widths):
    """The mean of test_task.py, with averages of these widths; its folder says so."""
    config = get_config()
    config.training.ema.sigma_rel = widths
    record = lambda folder: record_config(config, folder, None)  # noqa: E731
    return Recorded(widths=widths, record=record)


def by_definition(width, updates):
    """In float64: after n updates p = 27 - 27 / 2^n, and of the average (1 - 1/n)^(gamma + 1) is left."""
    average = 0.0
    for n in range(1, updates + 1):
        left = (1 - 1 / n) ** (exponent(width) + 1)
        average = left * average + (1 - left) * (27 - 27 / 2**n)
    return average


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve updates, the averages of every third kept."""
    folder = tmp_path_factory.mktemp("averages")
    run(folder, 12, task(0.1, 0.05), averages_freq=3)
    return folder


def test_averages_are_those_of_the_definition(folder):
    assert kept_steps(folder) == [3, 6, 9, 12]
    newest, step = restore_part(folder, "averages", {"0.1": TEMPLATE, "0.05": TEMPLATE})
    assert step == 12
    for width in ("0.05", "0.1"):
        expected = by_definition(float(width), 12)
        assert newest[width]["p"] == pytest.approx(expected, rel=1e-6)
        for earlier in (3, 6, 9):
            with np.load(averages_folder(folder) / f"{earlier}.npz") as file:
                expected = by_definition(float(width), earlier)
                assert file[f"{width}/p"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("width", "tolerance"), [(0.05, 1e-6), (0.1, 1e-6), (0.08, 2e-3)])
@pytest.mark.parametrize("step", [0, 11])
def test_one_of_any_width_is_made_of_them(folder, capsys, width, tolerance, step):
    """For a stored width it is that average; for another, nearly what storing it would have given. Also at an earlier checkpoint."""
    found, at = reconstructed(folder, TEMPLATE, width, step)
    assert at == (step or 12)
    assert found["p"] == pytest.approx(by_definition(width, at), rel=tolerance)
    assert found["p"].dtype == np.float32
    assert (
        f"of width {width} at step {at} is computed from 8 of widths 0.1, 0.05; its profile is "
        in (capsys.readouterr().err)
    )


def test_a_resumed_run_keeps_the_same_and_forgets_what_comes_again(folder, tmp_path):
    run(tmp_path, 7, task(0.1, 0.05), averages_freq=2)
    run(tmp_path, 7, task(0.1, 0.05))
    assert kept_steps(tmp_path) == [2, 4, 6]
    for late in ("8", "30"):  # of a run that was killed before its next checkpoint
        (averages_folder(tmp_path) / f"{late}.npz").write_bytes(b"")
    state, _ = run(tmp_path, 12, task(0.1, 0.05), averages_freq=3)
    assert kept_steps(tmp_path) == [2, 4, 6, 9, 12]
    whole, _ = restore_part(folder, "averages", {"0.1": TEMPLATE, "0.05": TEMPLATE})
    jax.tree.map(np.testing.assert_array_equal, state.averages, whole)


def test_an_evaluation_that_fails_leaves_no_gap(tmp_path):
    """The run that goes on makes the evaluation up, from the checkpoint that was saved, and cannot go back for the averages."""

    def look(averaged, step):
        if step == 4 and not failed:
            failed.append(step)
            raise ZeroDivisionError
        return {"found": 1.0}

    failed, looked = [], task(0.1)
    looked.evaluators = {"look": Evaluator(4, look, figures=("found",))}
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, 8, looked, averages_freq=2, checkpoint_freq=0)
    run(tmp_path, 8, looked, averages_freq=2, checkpoint_freq=0)
    assert kept_steps(tmp_path) == [2, 4, 6, 8]


def test_a_run_that_goes_back_sets_later_ones_aside(tmp_path):
    run(tmp_path, 6, task(0.1), averages_freq=2, keep_checkpoints=0)
    run(tmp_path, 5, task(0.1), from_step=3, averages_freq=5)
    assert kept_steps(tmp_path) == [2, 5]
    assert kept_steps(tmp_path / "after_step_3") == [4, 6]


def test_damage_is_named(folder, tmp_path):
    state, _ = run(tmp_path, 4, task(0.1, 0.05), averages_freq=3)
    path = averages_folder(tmp_path) / "3.npz"
    whole = path.read_bytes()
    at = whole.index(np.asarray(by_definition(0.1, 3), np.float32).tobytes()[1:])
    for broken in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:100], b""):
        path.write_bytes(broken)
        with pytest.raises(
            UserError, match=r"3.npz is damaged or belongs to another network .*remove it"
        ):
            reconstructed(tmp_path, TEMPLATE, 0.08)
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"3.npz is .*p has shape \(\), the network \(2,\)"):
        read(tmp_path, 3, "0.1", {"p": jax.ShapeDtypeStruct((2,), jnp.float32)})
    assert "averages" in parts(state)


def test_a_run_without_them_is_as_before(tmp_path):
    """No folder, and a checkpoint with the same arrays; asking for an average gives a message."""
    state, _ = run(tmp_path, 2, task(), averages_freq=1)
    assert not averages_folder(tmp_path).exists()
    assert list(parts(state)) == ["step", "params", "ema_params", "opt_state"]
    with Checkpoints(tmp_path) as checkpoints:
        stored = checkpoints.manager.item_metadata(2).tree
    assert sorted(stored) == sorted(parts(state))
    with pytest.raises(UserError, match=r"ema_sigma_rel=0.1: .* without power-function averages"):
        reconstructed(tmp_path, TEMPLATE, 0.1)
    with pytest.raises(UserError, match=r"averages\.0\.1\.p: checkpoint absent, config \(\)"):
        run(tmp_path, 3, task(0.1))


def test_weights_of_a_width_are_a_score_model(config, tmp_path):
    """Made only of the checkpoint's own averages; for a width that it has, the weights are that average."""
    config.training.ema.sigma_rel = (0.05, 0.1)
    network_task = build_score_task(config)
    state = first_state(network_task.init(), network_task.optimizer, network_task.widths)
    rng = np.random.default_rng(0)
    drawn = {
        width: jax.tree.map(lambda p: np.float32(rng.normal(size=p.shape)), params)
        for width, params in state.averages.items()
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(300, state.replace(averages=drawn))
    record_config(config, tmp_path, None)
    config.ema_sigma_rel, config.training.ema.sigma_rel = 0.1, ()
    loaded = load_score_model(config, build_sde(config), tmp_path)
    assert (loaded.name, loaded.recorded["ema_sigma_rel"]) == ("step300-ema0.1", 0.1)
    for found, expected in zip(
        jax.tree.leaves(loaded.model.params), jax.tree.leaves(drawn["0.1"]), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    config.ema_sigma_rel = 0.0
    loaded = load_score_model(config, build_sde(config), tmp_path)
    assert (loaded.name, loaded.recorded) == ("step300", {"checkpoint_step": 300})
    jax.tree.map(np.testing.assert_array_equal, loaded.model.params, state.ema_params)
