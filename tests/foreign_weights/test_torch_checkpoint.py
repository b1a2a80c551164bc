"""A checkpoint of the published PyTorch code: outputs of its network, its continued run, and refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_run import GOLDEN, TINY, assert_trees_equal, config_from_json, contents_in_arrays, nhwc

from score_sde.errors import UserError
from score_sde.foreign_weights import checkpoint_file, torch_checkpoint, torch_write
from score_sde.foreign_weights.names import from_tree, parameters, to_tree
from score_sde.foreign_weights.record import Moments, Record, from_state, to_state
from score_sde.models.networks import build_network
from score_sde.models.parameterization import build_parameterization
from score_sde.models.score import NetworkScore
from score_sde.sde_lib import build_sde
from score_sde.training.losses import build_loss
from score_sde.training.optimizer import build_optimizer
from score_sde.training.state import ema_rate, first_state, update_ema

# Their gradient is zero: Adam turns its rounding noise into steps as large as any.
NOISE = [f"all_modules.{i}.NIN_1.b" for i in (8, 10, 14)]


@pytest.fixture(scope="module")
def expected():
    with np.load(GOLDEN / "tiny_checkpoint_expected.npz") as file:
        return dict(file)


@pytest.fixture
def contents():
    return contents_in_arrays(TINY)


def output(network, params, expected, dtype):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
    x, labels = jnp.asarray(nhwc(expected["x"]), dtype), jnp.asarray(expected["labels"], dtype)
    return applied(network)({"params": params}, x, labels)


@functools.cache
def applied(network):
    return jax.jit(network.apply)


def relative_error(got, expected):
    """Of each image, over its largest value: outputs differ in size by 1 / sigma."""
    scale = np.abs(expected).max(axis=(1, 2, 3), keepdims=True)
    return np.max(np.abs(np.asarray(got) - expected) / scale)


@pytest.mark.parametrize(("tree", "name"), [("params", "out_raw"), ("ema_params", "out_ema")])
def test_the_networks_give_the_recorded_outputs(record, network, expected, tree, name):
    out = output(network, getattr(record, tree), expected, jnp.float32)
    assert relative_error(out, nhwc(expected[name])) < 1e-5


@pytest.mark.slow
def test_the_average_in_float64(record, network, expected):
    """The recorded run was in float64 from the start, so the float32 rounding of six updates lies between."""
    with jax.enable_x64(True):
        out = output(network, record.ema_params, expected, jnp.float64)
    between = relative_error(nhwc(expected["out_ema"]), nhwc(expected["out_ema_f64"]))
    assert relative_error(out, nhwc(expected["out_ema_f64"])) < 2 * between < 1e-4


def test_step_rate_and_count(record, expected):
    assert record.step == record.moments.updates == expected["step"]
    assert record.ema_rate == 0.999
    assert record.format == "PyTorch"


def test_names_are_those_of_the_file(network, contents, expected):
    every = parameters(network)
    assert [f"module.{p.name}" for p in every] == list(contents["model"])[1:]
    assert [p.name for p in every if p.trained] == list(expected["ema_names"])


@pytest.mark.slow  # tests/training/test_published_training.py repeats the run, and the import keeps all bits, below
def test_the_recorded_run_goes_on(run, config, network, record):
    """Updates 6 and 7 from the imported state, with the recorded images, times and noise."""
    optimizer, sde = build_optimizer(config), build_sde(config)
    parameterization, loss = build_parameterization(config, sde), build_loss(config, sde)

    def mean_loss(params, x0, u, z):
        return jnp.mean(loss(NetworkScore(params, network.apply, parameterization), x0, u, z))

    @jax.jit
    def update(state, x0, u, z):  # training/step.py, with the draws given
        value, gradient = jax.value_and_grad(mean_loss)(state.params, x0, u, z)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema_params = update_ema(state.ema_params, params, ema_rate(config, state.step))
        norm = optax.tree.norm(gradient)
        return type(state)(state.step + 1, params, ema_params, opt_state), value, norm

    state = to_state(record, optimizer)
    held_out = jax.jit(mean_loss)(
        state.ema_params, *(jnp.asarray(run[f"eval_{k}"]) if k == "u" else nhwc(run[f"eval_{k}"]) for k in ("batch", "u", "z"))
    )  # fmt: skip
    assert float(held_out) == pytest.approx(float(run["eval_loss"]), rel=1e-5)
    for k in (6, 7):
        state, value, norm = update(state, nhwc(run["batch"][k]), run["u"][k], nhwc(run["z"][k]))
        assert float(value) == pytest.approx(float(run["loss"][k]), rel=1e-5)
        assert float(norm) == pytest.approx(float(run["grad_norm"][k]), rel=1e-5)
    assert int(state.step) == 8

    every = parameters(network)
    last = {
        "final": from_tree(every, state.params),
        "final_ema": from_tree(every, state.ema_params),
    }
    for kind, arrays in last.items():
        for p in every:
            if p.trained and p.name not in NOISE:
                # An update moves a parameter by up to lr = 1e-3: see how much of that differs.
                difference = np.abs(arrays[p.name] - run[f"{kind}/{p.name}"]).max()
                assert difference < 2e-5, (kind, p.name, difference)


@pytest.mark.slow
def test_moments_matter_to_the_run_that_goes_on(config, record):
    """Without them the next update would differ, which a laxer version of the test above would miss."""
    optimizer = build_optimizer(config)
    gradient = jax.tree.map(lambda leaf: np.full_like(leaf, 1e-3), record.params)

    @jax.jit
    def norm(gradient, state):
        return optax.tree.norm(optimizer.update(gradient, state.opt_state, state.params)[0])

    kinds = (record, record._replace(moments=None))
    moved = [float(norm(gradient, to_state(kept, optimizer))) for kept in kinds]
    assert abs(moved[0] / moved[1] - 1) > 0.1


# ---- round trips --------------------------------------------------------------------------------------


def exported(record, network, config, path):
    torch_write.save(path, torch_checkpoint.contents_of(record, network, config))
    return path


def test_import_export_import(record, network, config, contents, tmp_path):
    """Bit for bit through our state; the file keeps its names, order, shapes and numbers."""
    again = from_state(to_state(record, build_optimizer(config)), record.ema_rate)
    path = exported(again, network, config, tmp_path / "again.pth")
    back = checkpoint_file.read(path, config)
    for tree in ("params", "ema_params"):
        assert_trees_equal(getattr(back, tree), getattr(record, tree))
    for tree in ("mu", "nu"):
        assert_trees_equal(getattr(back.moments, tree), getattr(record.moments, tree))
    assert (back.step, back.moments.updates, back.ema_rate) == (6, 6, 0.999)

    written = contents_in_arrays(path)
    assert list(written) == list(contents)
    assert list(written["model"]) == list(contents["model"])
    assert_lists_equal(written["model"].values(), contents["model"].values())
    assert_lists_equal(written["ema"]["shadow_params"], contents["ema"]["shadow_params"])
    assert {**written["ema"], "shadow_params": 0} == {**contents["ema"], "shadow_params": 0}
    old, new = contents["optimizer"], written["optimizer"]
    assert list(new["state"]) == list(old["state"])
    for number, state in new["state"].items():
        assert_lists_equal(
            (state["exp_avg"], state["exp_avg_sq"]),
            (old["state"][number]["exp_avg"], old["state"][number]["exp_avg_sq"]),
        )
        assert state["step"] == old["state"][number]["step"]
    (group,), (old_group,) = new["param_groups"], old["param_groups"]
    # The rate went through float32.
    assert group.pop("lr") == pytest.approx(old_group["lr"], rel=1e-7)
    assert group == {name: old_group[name] for name in group}


def assert_lists_equal(given, expected):
    for a, b in zip(given, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        # The table of noise levels, the one array in float64, is computed anew.
        np.testing.assert_allclose(a, b, rtol=1e-15 * (b.dtype == np.float64))


NETWORKS = sorted(path.stem for path in GOLDEN.glob("net_*.npz"))


# The smallest of each class, one of them with Fourier features, and one of noise levels.
QUICK = ("net_ddpm_vp", "net_ncsnpp_ve_cifar10", "net_ncsnpp_ve_discrete")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NETWORKS],
)
def test_any_network_is_exported_as_published(name, config, tmp_path):
    """Continuous or discrete, NCSN++, DDPM++ or DDPM: the published state dict, name by name, comes back."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = dict(file)
    config.model.update(
        {
            key: value
            for key, value in config_from_json(str(arrays["config_json"])).model.items()
            if key not in ("ema_rate",)
        }
    )
    config.data.update(config_from_json(str(arrays["config_json"])).data)
    network = build_network(config)
    state_dict = {k.removeprefix("state_dict/"): v for k, v in arrays.items() if "state_dict/" in k}
    every = parameters(network)
    params, ema, mu, nu = (
        to_tree(every, {p.name: np.float32(factor) * state_dict[p.name] for p in every})
        for factor in (1, 0.5, 0.25, 2)
    )
    nu = jax.tree.map(np.abs, nu)  # means of squares
    # What is never trained has no average and no moments of its own.
    for p in every:
        if not p.trained:
            layer, leaf = p.leaf
            ema[layer][leaf] = params[layer][leaf]
            mu[layer][leaf] = nu[layer][leaf] = np.zeros_like(params[layer][leaf])
    record = Record("", 70_000, params, ema, Moments(69_999, mu, nu), 0.999)
    path = exported(record, network, config, tmp_path / "any.pth")

    written = contents_in_arrays(path)["model"]
    assert list(written) == [f"module.{key}" for key in state_dict]
    assert_lists_equal(written.values(), state_dict.values())
    back = checkpoint_file.read(path, config)
    assert (back.step, back.moments.updates) == (70_000, 69_999)
    pairs = zip((params, ema, mu, nu), (back.params, back.ema_params, *back.moments[1:]))
    for given, read in pairs:
        assert_trees_equal(read, given)


def test_a_run_that_has_not_begun(config, network, record, tmp_path):
    """PyTorch's Adam has no state before its first update."""
    optimizer = build_optimizer(config)
    state = first_state(record.params, optimizer)
    path = exported(from_state(state, 0.999), network, config, tmp_path / "fresh.pth")
    assert contents_in_arrays(path)["optimizer"]["state"] == {}
    back = to_state(checkpoint_file.read(path, config), optimizer)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- strictness ---------------------------------------------------------------------------------------


def refusal(contents, config, tmp_path):
    """The words with which a file of these contents is refused."""
    torch_write.save(tmp_path / "changed.pth", contents)
    with pytest.raises(UserError) as error:
        checkpoint_file.read(tmp_path / "changed.pth", config)
    return str(error.value)


def test_without_optimizer(contents, config, tmp_path):
    """Adam's state starts anew, the learning-rate schedule does not."""
    del contents["optimizer"]
    torch_write.save(tmp_path / "bare.pth", contents)
    record = checkpoint_file.read(tmp_path / "bare.pth", config)
    assert record.moments is None
    state = to_state(record, build_optimizer(config))
    _, adam, _, rate = state.opt_state
    assert (int(state.step), int(adam.count), int(rate.count)) == (6, 0, 6)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves((adam.mu, adam.nu)))


def test_a_network_of_other_layers_is_refused(config):
    config.model.embedding_type = "positional"
    with pytest.raises(UserError, match=r"model.all_modules.0.W: checkpoint \(8,\), config absent"):
        checkpoint_file.read(TINY, config)


@pytest.mark.parametrize(
    ("section", "name", "changed", "words"),
    [
        ("model", "module.all_modules.7.Conv_2.bias", None, r"7.Conv_2.bias: checkpoint absent, config (16,)"),
        ("model", "module.extra", np.zeros(3, np.float32), "model.extra: checkpoint (3,), config absent"),
        ("model", "module.all_modules.3.bias", np.zeros(9, np.float32), "checkpoint (9,), config (8,)"),
        ("model", "module.all_modules.3.bias", np.zeros(8), "model.all_modules.3.bias of the file is float64"),
        ("model", "module.all_modules.3.bias", 1.5, "all_modules.3.bias: checkpoint absent"),
        ("model", "module.sigmas", np.geomspace(348, 0.01, 1000), "from 348 to 0.01"),
        ("model", "module.sigmas", np.geomspace(50, 0.01, 999), "knows 999 noise levels"),
        ("model", "module.sigmas", 3, "noise levels"),
        ("ema", "shadow_params", [], "has 0 arrays; expected the 156"),
        ("ema", "shadow_params", None, "the file has no ema.shadow_params"),
        ("ema", "shadow_params", 3, "not laid out"),
        ("ema", "decay", "x", "not laid out"),
        ("optimizer", "param_groups", [{"params": [0, 1]}], "has 2 parameters, the config's network 157"),
        ("optimizer", "state", 3, "not laid out"),
    ],
)  # fmt: skip
def test_differences_are_named(contents, config, tmp_path, section, name, changed, words):
    contents[section] = {**contents[section], name: changed}
    if changed is None:
        del contents[section][name]
    assert words in refusal(contents, config, tmp_path)


def test_the_list_of_averages_is_checked_shape_by_shape(contents, config, tmp_path):
    """A list of the same length with two shapes exchanged; and one longer, including the Fourier frequencies."""
    averages = contents["ema"]["shadow_params"]
    averages[1], averages[5] = averages[5], averages[1]
    words = refusal(contents, config, tmp_path)
    assert "2 arrays differ" in words
    assert "ema.all_modules.1.bias: checkpoint (8,), config (32,)" in words
    averages.insert(0, contents["model"]["module.all_modules.0.W"])
    assert "has 157 arrays; expected the 156" in refusal(contents, config, tmp_path)


def test_the_moments_are_checked(contents, config, tmp_path):
    state = contents["optimizer"]["state"]
    kept = state.pop(5)
    assert "all_modules.3.weight.exp_avg: checkpoint absent" in refusal(contents, config, tmp_path)
    state[5] = {**kept, "exp_avg_sq": kept["exp_avg_sq"][:1]}
    words = refusal(contents, config, tmp_path)
    assert "3.weight.exp_avg_sq: checkpoint (1, 3, 3, 3), config (8, 3, 3, 3)" in words
    state[5] = {**kept, "step": 7}
    assert "6 updates of some parameters and 7" in refusal(contents, config, tmp_path)


@pytest.mark.parametrize("step", [-1, 2**31, 1.5, None, "6", [6]])
def test_a_step_is_a_number_of_steps(contents, config, tmp_path, step):
    assert "step of the file is" in refusal({**contents, "step": step}, config, tmp_path)


@pytest.mark.parametrize("other", [{"state_dict": {}}, {"step": 6}, [1, 2], 3, None, "text"])
def test_other_contents_are_refused(config, tmp_path, other):
    assert "no checkpoint of the published training" in refusal(other, config, tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *((content, "neither a PyTorch nor a Flax|damaged") for content in (b"", b"text", b"PK\x03\x04", b"\x93NUMPY")),
        (b"\x80\x04N.", "is a pickle of objects"),
    ],
)  # fmt: skip
def test_other_files_are_refused(config, tmp_path, content, words):
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        checkpoint_file.read(path, config)


def test_no_such_file(config, tmp_path):
    with pytest.raises(UserError, match="cannot read .*No such file"):
        checkpoint_file.read(tmp_path / "none.pth", config)
    with pytest.raises(UserError, match="cannot read .*directory"):
        checkpoint_file.read(tmp_path, config)
