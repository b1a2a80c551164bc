"""Runs that train low-rank updates of frozen weights: trained parameters, stored state, and the optimum."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_sde import data
from score_sde.devices import PmapDevices
from score_sde.errors import ConfigError, UserError
from score_sde.models.low_rank import LowRank, first_adapters
from score_sde.models.networks import NETWORKS
from score_sde.sde_lib import build_sde
from score_sde.training.adapters import write_adapter
from score_sde.training.checkpoints import restore_part
from score_sde.training.feed import feed
from score_sde.training.held_out import HeldOutLoss
from score_sde.training.low_rank_task import LowRankTask, adapting
from score_sde.training.recorded_config import record_config
from score_sde.training.score_task import build_score_task, train
from score_sde.training.start import Weights, fresh
from score_sde.training.step import build_train_step
from score_sde.training.trained_score import load_score_model
from tests.training.flat_network import Flat, flat_config, random_weights, write_folder

PIXELS = 4
LORA = {"rank": 1, "alpha": 3.0}
BASE = random_weights(0)
SHAPES = {
    "Dense_0": {
        "kernel": {
            "A": jax.ShapeDtypeStruct((4, 1), jnp.float32),
            "B": jax.ShapeDtypeStruct((1, 4), jnp.float32),
        }
    }
}


@pytest.fixture(scope="module", autouse=True)
def _flat():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "flat", Flat)
        yield


def adapted_config(source, **fields):
    config = flat_config()
    config.training.update(init_from=str(source), **fields)
    config.training.lora.update(LORA)
    return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of weights; a run of three updates of theirs, with a held-out loss; and the same in two commands, the source gone."""
    folder = tmp_path_factory.mktemp("runs")
    write_folder(flat_config(), folder / "base", BASE)
    figures = train(adapted_config(folder / "base", eval_freq=3), made(folder / "run"))
    gone = shutil.copytree(folder / "base", folder / "gone")
    train(adapted_config(gone, n_iters=2), made(folder / "resumed"))
    shutil.rmtree(gone)
    train(adapted_config(gone), folder / "resumed")
    return folder, figures


def made(folder):
    folder.mkdir()
    return folder


def stored(folder, field="ema_params"):
    """A and B of a checkpoint, read as nothing but them."""
    found = jax.device_get(restore_part(folder, field, SHAPES)[0])
    return found["Dense_0"]["kernel"]["A"], found["Dense_0"]["kernel"]["B"]


def weights(config, folder, **fields):
    """Of the score model that every mode loads."""
    config.update_from_flattened_dict(fields)
    loaded = load_score_model(config, build_sde(config), folder)
    return jax.device_get(loaded.model.params)["Dense_0"], loaded


def test_the_folder_gives_the_base_with_its_update(runs):
    """The EMA weights, not the newest parameters; layers without update are unchanged; figures of training are for the same weights."""
    folder, figures = runs
    A, B = stored(folder / "run")
    assert not np.array_equal(B, stored(folder / "run", "params")[1])
    found, loaded = weights(adapted_config(folder / "base"), folder / "run")
    np.testing.assert_array_equal(found["bias"], BASE["Dense_0"]["bias"])
    change = found["kernel"] - BASE["Dense_0"]["kernel"]
    np.testing.assert_allclose(change, 3.0 * np.outer(A, B), rtol=1e-4, atol=1e-6)
    assert np.abs(change).max() > 0.01
    plain = build_score_task(flat_config())
    # The mean over the test images, with the same noise, of the merged weights by themselves
    config = adapted_config(folder / "base")
    held_out = HeldOutLoss(config, plain.objective, data.load(config).test, PmapDevices())
    assert figures["eval_loss"] == pytest.approx(held_out({"Dense_0": found}), rel=1e-5)
    assert held_out(BASE) != pytest.approx(figures["eval_loss"], rel=1e-3)


def test_a_run_that_goes_on_needs_its_folder_only(runs):
    folder, _ = runs
    for field in ("params", "ema_params"):
        jax.tree.map(
            np.testing.assert_array_equal,
            stored(folder / "run", field),
            stored(folder / "resumed", field),
        )
    with np.load(folder / "run" / "base.npz") as file:
        assert sorted(file.files) == ["Dense_0.bias", "Dense_0.kernel"]
        np.testing.assert_array_equal(file["Dense_0.kernel"], BASE["Dense_0"]["kernel"])


def test_nothing_but_a_and_b_is_in_the_state(runs):
    """r (in + out) = 8 numbers for parameters, average and two moments each, in place of 16 and a bias; two counts and the step."""
    folder, _ = runs
    config = adapted_config(folder / "base")
    task, given = adapting(config, build_score_task(config), folder / "run", None)
    assert given is None
    state = fresh(task, PmapDevices())
    sizes = [leaf.size for leaf in jax.tree.leaves(state)]
    assert sorted(sizes) == [1, 1, 1] + 8 * [4]
    assert not np.any(state.params["Dense_0"]["kernel"]["B"])
    assert np.all(state.params["Dense_0"]["kernel"]["A"] != 0)


def test_adapters_in_use(runs, tmp_path):
    """Added to the base they give the run's weights, with weight 0 the base, two of them their sum, from a file or from the folder."""
    folder, _ = runs
    A, B = stored(folder / "run")
    write_adapter(tmp_path / "half.npz", {"Dense_0": {"kernel": {"A": A, "B": B}}}, 1.5)
    run, half = str(folder / "run"), str(tmp_path / "half.npz")

    def kernel(**fields):
        found, loaded = weights(flat_config(), folder / "base", **fields)
        return found["kernel"], loaded

    base, ran = BASE["Dense_0"]["kernel"], weights(flat_config(), folder / "run")[0]["kernel"]
    np.testing.assert_array_equal(kernel(adapters=run)[0], ran)
    np.testing.assert_array_equal(kernel(adapters=run, adapter_scales=(0.0,))[0], base)
    np.testing.assert_array_equal(kernel(adapters=half, adapter_scales=(2.0,))[0], ran)
    both, loaded = kernel(adapters=f"{run}, {half}", adapter_scales=(1.0, -0.5))
    np.testing.assert_allclose(both - base, 0.75 * (ran - base), rtol=1e-4, atol=1e-6)
    assert loaded.name == "step7-run1-half-0.5"
    names = [
        loaded._replace(adapters=((f"runs/{'a' * 255}", 1.0), ("b", scale))).name
        for scale in (1.0, 0.5)
    ]
    assert len({*names}) == 2
    elsewhere = loaded._replace(adapters=((f"./{'a' * 255}/", 1.0), ("../runs/b.npz", 1.0)))
    assert elsewhere.name == names[0]  # by which a dequantizer for these weights is found
    (tmp_path / f"predictor_corrector-{names[0]}-seed4294967295.npz").touch()
    assert loaded.recorded == {"checkpoint_step": 7, "adapters": [[run, 1.0], [half, -0.5]]}


def test_adapters_that_cannot_be_used_are_refused(runs, tmp_path):
    folder, _ = runs
    A, B = stored(folder / "run")

    def refusal(name, tree=None, base=folder / "base", **fields):
        if tree is not None:
            np.savez(tmp_path / name, **tree)
        config = flat_config()
        config.update_from_flattened_dict({"adapters": str(tmp_path / name), **fields})
        with pytest.raises(ConfigError) as error:
            load_score_model(config, build_sde(config), base)
        return str(error.value)

    assert "there is no such folder or file; expected" in refusal("none")
    assert "no adapters were trained in" in refusal("x", adapters=str(folder / "base"))
    assert "has no scalar 'alpha'" in refusal("a.npz", {"x": A})
    (tmp_path / "text").write_text("no archive")
    assert "damaged" in refusal("text")
    kernel = "Dense_0.kernel"
    message = refusal("b.npz", {f"{kernel}.A": A[:3], f"{kernel}.B": B, "alpha": 1.0})
    assert (
        f"{kernel}.A has shape (3, 1) and .B (1, 4); a kernel of shape (4, 4) needs (4, r)"
        in message
    )
    nan = {f"{kernel}.A": np.nan * A, f"{kernel}.B": B, "alpha": 1.0}
    assert f"{kernel}.A has non-finite or non-numeric values" in refusal("n.npz", nan)
    assert "ranks []: expected a single rank" in refusal("e.npz", {"alpha": 1.0})
    message = refusal("c.npz", {"Conv_7.kernel.A": A, "Conv_7.kernel.B": B, "alpha": 1.0})
    assert "there is no kernel for Conv_7.kernel.A" in message
    message = refusal("x", adapters=str(folder / "run"), adapter_scales=(1.0, 2.0))
    assert "has 2 numbers, but adapters=" in message
    of_x0 = flat_config()
    of_x0.model.predicts = "x0"
    other = write_folder(of_x0, tmp_path / "other", BASE)
    run = str(folder / "run")
    message = refusal("x", base=other, adapters=run, **{"model.predicts": "x0"})
    assert "model.predicts='x0' (trained with" in message


def test_adapters_of_other_classes_are_refused(tmp_path):
    """Even with as many classes, by the names recorded in both folders."""
    for name, classes in (("base", ("cat", "dog")), ("other", ("cat", "horse"))):
        write_folder(flat_config(), tmp_path / name, BASE)
        record_config(flat_config(), tmp_path / name, None, classes=classes)
    config = flat_config()
    config.adapters = str(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"^adapters=.* are cat, horse, .* are cat, dog:"):
        load_score_model(config, build_sde(config), tmp_path / "base")


def test_runs_that_cannot_be_are_refused(runs, tmp_path):
    folder, _ = runs

    def refusal(**fields):
        config = adapted_config(folder / "base")
        config.update_from_flattened_dict(fields)
        with pytest.raises(UserError) as error:
            train(config, tmp_path)
        return str(error.value)

    message = refusal(**{"training.init_from": ""})
    assert "training.lora.rank=1 without weights to update: set training.init_from" in message
    message = refusal(**{"training.trainable": "bias"})
    assert "training.trainable='bias' with training.lora.rank=1" in message
    assert "lora.rank=2: updates of this rank have 16" in refusal(**{"training.lora.rank": 2})
    assert "matches no kernel" in refusal(**{"training.lora.targets": "Conv"})
    assert not list(tmp_path.iterdir())
    config = adapted_config(folder / "base", n_iters=9)
    config.training.lora.alpha = 1.0
    with pytest.raises(UserError, match="training.lora.alpha=1.0 .trained with 3.0."):
        train(config, folder / "run")
    broken = shutil.copytree(folder / "run", tmp_path / "broken")
    (broken / "base.npz").unlink()
    with pytest.raises(UserError, match="base.npz is missing, damaged or of another network"):
        weights(flat_config(), broken)


@dataclasses.dataclass(frozen=True)
class Expected:
    """The expected loss of a linear prediction of the noise eps in x = alpha x_0 + sigma eps, x_0 Gaussian, as every image's loss.

    E |eps - x W|^2 = d - 2 sigma tr W + tr W^T (alpha^2 C + sigma^2 I) W, since E x^T eps = sigma I.
    """

    covariance: np.ndarray
    alpha: float
    sigma: float
    optimizer: optax.GradientTransformation = dataclasses.field(
        default_factory=lambda: optax.adam(optax.cosine_decay_schedule(0.05, 600))
    )
    constants = ()
    trainable = name = advice = ""
    widths = ()
    quick_init = True

    def init(self):
        return {"kernel": jnp.zeros((PIXELS, PIXELS))}

    def losses(self, params, averaged, constants, step, batch):
        W = params["kernel"]
        moments = self.alpha**2 * self.covariance + self.sigma**2 * np.eye(PIXELS)
        loss = PIXELS - 2 * self.sigma * jnp.trace(W) + jnp.trace(W.T @ moments @ W)
        return jnp.full(batch.index.shape, loss)

    def learning_rate(self, step):
        return 0.05

    def ema_rate(self, step):
        return 0.9


def test_a_change_in_one_direction_is_learnt_by_rank_one():
    """Data of covariance s^2 I gain variance v along u, which changes the optimum sigma (alpha^2 C + sigma^2)^-1 by a matrix of rank 1.

    The minimal loss is sum_i alpha^2 l_i / (alpha^2 l_i + sigma^2) over the eigenvalues l of C, far below the loss of the base.
    """
    s2, v, alpha, sigma = 0.25, 3.0, 0.8, 0.6
    u = np.array([1.0, -1.0, 2.0, 0.5])
    u /= np.linalg.norm(u)
    base = {"kernel": np.float32(sigma / (alpha**2 * s2 + sigma**2) * np.eye(4))}
    target = Expected(s2 * np.eye(4) + v * np.outer(u, u), alpha, sigma)
    task, devices = LowRankTask(target, base, LowRank(1, 2.0, "kernel"), 0), PmapDevices()
    state, step = fresh(task, devices), build_train_step(task, devices)
    constants = jax.device_put(task.constants, devices.replicated())
    config = flat_config()
    resident, steps = feed(0, 8, data.load(config).train, 0, devices)
    given = devices.split(jax.tree.map(lambda x: x[:, None], next(steps)))
    losses = []
    for _ in range(600):
        state, metrics = step(state, constants, resident, given)
        losses.append(float(metrics["loss"][0]))
    levels = np.array([s2, s2, s2, s2 + v])
    least = np.sum(alpha**2 * levels / (alpha**2 * levels + sigma**2))
    # Of the base: what it loses along u, by the same expectation
    assert losses[0] - least == pytest.approx(v * alpha**2 * base["kernel"][0, 0] ** 2 - (
        alpha**2 * (s2 + v) / (alpha**2 * (s2 + v) + sigma**2)
        - alpha**2 * s2 / (alpha**2 * s2 + sigma**2)
    ), rel=1e-4)  # fmt: skip
    assert losses[-1] == pytest.approx(least, abs=2e-6)
    found = jax.device_get(task.updated(state.params, base))["kernel"]
    optimum = sigma * np.linalg.inv(alpha**2 * target.covariance + sigma**2 * np.eye(4))
    np.testing.assert_allclose(found, optimum, atol=2e-3)


def test_where_adapters_come_from(tmp_path):
    """From given weights if the folder has no checkpoint; shapes come from the task."""
    config = adapted_config(tmp_path / "nowhere")
    given = Weights("a test", lambda shapes: jax.tree.map(lambda like, p: p, shapes, BASE))
    task, _ = adapting(config, build_score_task(config), tmp_path, given)
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    expected = first_adapters(LowRank(1, 3.0, "kernel"), BASE, key)
    jax.tree.map(np.testing.assert_array_equal, task.init(), expected)
    plain = build_score_task(flat_config())
    assert adapting(flat_config(), plain, tmp_path, given) == (plain, given)
