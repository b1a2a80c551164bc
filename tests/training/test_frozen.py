"""Training with a frozen base network: its source, the contents of checkpoints, and the minimum that a control reaches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.data.batch import Batch
from score_sde.errors import ConfigError, UserError
from score_sde.models.networks import NETWORKS, build_network
from score_sde.sde_lib import build_sde
from score_sde.training.checkpoints import Checkpoints, checkpoint_folder, restore_part
from score_sde.training.frozen import frozen_weights, joined, keep
from score_sde.training.objective import build_objective
from score_sde.training.recorded_config import record_config
from score_sde.training.score_task import build_score_task, train
from score_sde.training.state import first_state
from score_sde.training.trained_score import load_score_model

# Data of variance L at one time; what is told has correlation R with each pixel.
N, L, R, U = 50_000, 0.5, 0.8, 0.3


class LinearControl(nn.Module):
    """eps_hat = a x of a base that stays, and b told + d x of the control."""

    from_config = classmethod(lambda cls, config: cls())
    conditions = staticmethod(lambda config: ("paired",))
    frozen = staticmethod(lambda: ("base",))
    null_condition = staticmethod(lambda condition: jax.tree.map(jnp.zeros_like, condition))

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        told = condition["image"] if condition else jnp.zeros_like(x)
        base = self.param("base", lambda key: {"a": jnp.zeros(())})
        control = self.param("control", lambda key: {"b": jnp.zeros(()), "d": jnp.zeros(())})
        return base["a"] * x + control["b"] * told + control["d"] * x


def test_a_trained_control_reaches_the_minimum_given_what_it_is_told(monkeypatch):
    """For Gaussian data the minimal loss E|z - E[z | x_t]|^2 is alpha^2 l / c with c = alpha^2 l + sigma^2; given a condition of
    correlation r it has l (1 - r^2) in place of l. Within five standard errors of 200,000 squares: a false alarm in 10^6."""
    monkeypatch.setitem(NETWORKS, "linear_control", LinearControl)
    config = toy_config()
    config.data.update(image_size=2)
    config.model.update(name="linear_control", condition_image="paired", condition_channels=1)
    sde = build_sde(config)
    objective = build_objective(config, LinearControl(), sde)
    t = objective.loss.times.at(jnp.full(1, U))
    alpha, sigma = float(sde.alpha(t)[0]), float(sde.sigma(t)[0])

    def least(variance):
        return alpha**2 * variance / (alpha**2 * variance + sigma**2)

    rng = np.random.default_rng(0)
    own, other = rng.standard_normal((2, N, 2, 2, 1)).astype(np.float32)
    told = R * own + np.sqrt(1 - R**2) * other
    batch = Batch(jnp.sqrt(L) * own, {"paired": jnp.asarray(told)}, jnp.arange(N))
    frozen = {"base": {"a": jnp.float32(sigma / (alpha**2 * L + sigma**2))}}

    def loss(vector):
        params = joined({"control": dict(zip("bd", vector, strict=True))}, frozen)
        return objective.held_out_losses(params, batch, jnp.full(N, U), jax.random.key(1)).mean()

    def close(found, expected):
        assert found == pytest.approx(expected, rel=5 * np.sqrt(2 / (4 * N)))

    value, slope, bend = jax.jit(lambda v: (loss(v), jax.grad(loss)(v), jax.hessian(loss)(v)))(
        jnp.zeros(2)
    )
    close(value, least(L))
    best = -np.linalg.solve(np.asarray(bend, float), np.asarray(slope, float))
    close(jax.jit(loss)(jnp.asarray(best, jnp.float32)), least(L * (1 - R**2)))
    assert least(L * (1 - R**2)) < 0.6 * least(L)


SMALL = {
    "data.image_size": 4,
    "model.name": "ncsnpp",
    "model.nf": 8,
    "model.ch_mult": (1,),
    "model.num_res_blocks": 1,
    "model.attn_resolutions": (),
    "training.batch_size": 8,
    "training.n_iters": 2,
    "training.eval_freq": 0,
    "training.checkpoint_freq": 1,
    "training.snapshot_freq": 0,
    "optim.warmup": 0,
}


def small_config(**model):
    config = toy_config()
    config.update_from_flattened_dict(SMALL)
    config.model.update(model)
    return config


def control_config(base, **model):
    told = {"name": "controlnet", "condition_image": "measured", "control_base": str(base)}
    return small_config(**{**told, **model})


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder of a run, in whose checkpoint parameters and average are random, and differ; and that average."""
    folder, config = tmp_path_factory.mktemp("base"), small_config()
    task = build_score_task(config)
    leaves, structure = jax.tree.flatten(
        jax.eval_shape(lambda: first_state(task.init(), task.optimizer))
    )
    rng = np.random.default_rng(0)
    drawn = [jnp.asarray(0.2 * rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    state = structure.unflatten(drawn).replace(step=jnp.int32(7))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(7, state)
    record_config(config, folder, None)
    return folder, jax.device_get(state.ema_params)


@pytest.fixture(scope="module")
def begun(base, tmp_path_factory):
    """A folder of a control as a run leaves it but for its weights, and its config, which names no base any more."""
    folder, config = tmp_path_factory.mktemp("begun"), control_config(base[0])
    keep(frozen_weights(config, build_network(config), folder, begins=True), folder)
    (checkpoint_folder(folder) / "2").mkdir(parents=True)
    record_config(config, folder, None)
    config.model.control_base = "gone"
    return folder, config


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """A folder in which a control has been trained for two updates, and its config, which names no base any more."""
    folder, config = tmp_path_factory.mktemp("control"), control_config(base[0])
    train(config, folder)
    config.model.control_base = "gone"
    return folder, config


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.slow
def test_the_base_is_kept_beside_and_only_the_control_has_a_state(base, trained):
    folder, config = trained
    network = build_network(config)
    assert_equal(frozen_weights(config, network, folder), {"base": base[1]})
    task = build_score_task(config)
    template = jax.eval_shape(lambda: first_state(task.init(), task.optimizer))
    for part in ("params", "ema_params"):
        # Only these: another name would not be read.
        found, step = restore_part(folder, part, getattr(template, part))
        assert step == 2
        assert list(found) == ["control"]
    moments = template.opt_state[1].mu
    assert jax.tree.structure(moments) == jax.tree.structure(template.params)
    loaded = load_score_model(config, build_sde(config), folder)
    assert_equal(loaded.model.params["base"], base[1])
    assert np.any(loaded.model.params["control"]["zero_middle"]["kernel"])


def test_it_goes_on_without_the_folder_of_its_base(base, begun, tmp_path):
    """One more update uses the same base; the named folder is only read at the start."""
    _, config = begun
    first = frozen_weights(config, build_network(config), begun[0], begins=True)
    assert_equal(first, {"base": base[1]})
    with pytest.raises(ConfigError, match=r"control_base='gone': .*gone.* does not exist"):
        frozen_weights(config, build_network(config), tmp_path, begins=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"control_base": ""}, "control_base='': set it to the folder of"),
        (
            {"control_scale": 0.0},
            "control_scale=0.0 in training: the control would have no gradient",
        ),
        (
            {"nf": 16},
            r"differs from the one configured: model.nf=16 \(the base has 8\); set these fields as for the base",
        ),
        (
            {"num_classes": 3},
            r"differs from the one configured: model.num_classes=3 \(the base has 0\)",
        ),
    ],
)
def test_bases_that_do_not_fit_are_refused(base, tmp_path, change, words):
    config = control_config(base[0], **change)
    with pytest.raises(ConfigError, match=words):
        frozen_weights(config, build_network(config), tmp_path, begins=True)


def test_a_base_that_is_a_control_itself_is_refused(begun, tmp_path):
    config = control_config(begun[0])
    with pytest.raises(ConfigError, match="its network has model.name='controlnet'"):
        frozen_weights(config, build_network(config), tmp_path, begins=True)


def test_a_damaged_or_foreign_file_is_refused(begun, tmp_path):
    _, config = begun
    network = build_network(config)
    with pytest.raises(
        UserError, match=r"base.npz is missing, damaged or of another network .*put back a copy"
    ):
        frozen_weights(config, network, tmp_path)
    np.savez(tmp_path / "base.npz", other=np.ones(3))
    with pytest.raises(UserError, match=r"of another network \(.* and should be .*put back a copy"):
        frozen_weights(config, network, tmp_path)
