"""The networks against the published PyTorch ones, with weights loaded by name.

Golden files (`net_*.npz`): score_sde_pytorch, commit cb1f359, small networks with every parameter randomized,
run on CPU in float32 and in float64. Images there are (b, c, h, w). Two of them (`ncsnpp_ve_residual_cat`,
`ncsnpp_ddpmblock`) needed a one-word repair of the published code, which cannot upsample without FIR.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from score_sde.configs.default import get_config
from score_sde.errors import UserError
from score_sde.foreign_weights.names import SIGMAS, from_tree, parameters, to_tree, without_prefix
from score_sde.models.ncsnpp import NCSNpp
from score_sde.models.networks import build_network

GOLDEN = Path(__file__).parents[1] / "golden"
NETWORKS = (
    "ddpm_vp",
    "ddpmpp_vp",
    "ddpmpp_wide",
    "ncsnpp_ddpmblock",
    "ncsnpp_ve_cifar10",
    "ncsnpp_ve_discrete",
    "ncsnpp_ve_residual_cat",
    "ncsnpp_ve_skip",
)
# Compiling is nearly all the time of these tests, and -O0 changes no formula.
FAST_COMPILE = {"xla_backend_optimization_level": 0}


def nhwc(x):
    return np.transpose(x, (0, 2, 3, 1))


def load(name):
    with np.load(GOLDEN / f"net_{name}.npz") as file:
        arrays = dict(file)
    config, published = get_config(), json.loads(str(arrays["config_json"]))
    config.update(model=published["model"], data=published["data"])
    state = {k.removeprefix("state_dict/"): v for k, v in arrays.items() if "state_dict/" in k}
    return SimpleNamespace(network=build_network(config), state=state, arrays=arrays)


def params_from_torch(network, state):
    return to_tree(parameters(network), state)


def relative_error(got, expected):
    """Largest error of each image over the image's largest value: outputs differ in size by 1 / sigma."""
    axes, got = (1, 2, 3), np.asarray(got)
    return np.max(np.abs(got - expected).max(axes) / np.abs(expected).max(axes))


def these_soon(*names):
    """All networks, of which the others wait for the slow run."""
    return pytest.mark.parametrize(
        "name",
        [pytest.param(name, marks=() if name in names else pytest.mark.slow) for name in NETWORKS],
    )


# Both classes, and pyramids with FIR filters; outputs of the others are below.
@these_soon("ddpm_vp", "ncsnpp_ve_skip")
def test_output_and_gradients_in_float64(name):
    golden = load(name)
    a = golden.arrays
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.float64, params_from_torch(golden.network, golden.state))
        x, v = (jnp.asarray(nhwc(a[k]), jnp.float64) for k in ("x", "v"))
        noise_input = jnp.asarray(a["labels"], jnp.float64)

        def run(params, x):
            out, pullback = jax.vjp(
                lambda p, x: golden.network.apply({"params": p}, x, noise_input), params, x
            )
            return out, *pullback(v)

        out, grad_params, grad_x = jax.jit(run, compiler_options=FAST_COMPILE)(params, x)

    # Two float64 programs that sum in different orders: measured 2e-15 to 4e-15.
    assert out.dtype == jnp.float64
    assert relative_error(out, nhwc(a["out_f64"])) < 1e-13
    assert relative_error(grad_x, nhwc(a["grad_x_f64"])) < 1e-13

    # The gradient of every parameter, by its norm, which no layout changes. Parameters that cannot matter
    # (key biases, and W which is not trained) have zero gradient up to rounding.
    norms = {k: np.linalg.norm(np.asarray(g)) for k, g in flatten_dict(grad_params).items()}
    expected = norm_by_flax_name(golden)
    scale = np.median(list(expected.values()))
    for leaf, norm in norms.items():
        assert abs(norm - expected[leaf]) < 1e-10 * max(expected[leaf], scale), leaf


def norm_by_flax_name(golden):
    """Published gradient norms under Flax names: a state dict whose every array is filled with its norm."""
    names = [str(name) for name in golden.arrays["param_names"]]
    norms = np.nan_to_num(golden.arrays["grad_norm_f64"])  # NaN stands for "not trained"
    filled = {k: np.full(golden.state[k].shape, n) for k, n in zip(names, norms, strict=True)}
    return {
        k: v.flat[0] for k, v in flatten_dict(params_from_torch(golden.network, filled)).items()
    }


# Of the networks whose gradients wait, those with other blocks, filters, joins or embeddings.
@these_soon(
    "ddpmpp_vp",
    "ncsnpp_ddpmblock",
    "ncsnpp_ve_cifar10",
    "ncsnpp_ve_discrete",
    "ncsnpp_ve_residual_cat",
)
def test_output_in_float64(name):
    golden = load(name)
    a = golden.arrays
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.float64, params_from_torch(golden.network, golden.state))
        x, noise_input = (
            jnp.asarray(nhwc(a["x"]), jnp.float64),
            jnp.asarray(a["labels"], jnp.float64),
        )
        apply = jax.jit(golden.network.apply, compiler_options=FAST_COMPILE)
        out = apply({"params": params}, x, noise_input)
    assert relative_error(out, nhwc(a["out_f64"])) < 1e-13


@pytest.mark.slow  # test_torch_checkpoint.py holds a trained network's float32 to the published output
@pytest.mark.parametrize("name", NETWORKS)
def test_output_and_input_gradient_in_float32(name):
    golden = load(name)
    a = golden.arrays
    params = jax.tree.map(jnp.float32, params_from_torch(golden.network, golden.state))
    x, v = (jnp.asarray(nhwc(a[k])) for k in ("x", "v"))
    noise_input = jnp.asarray(a["labels"], jnp.float32)

    def run(x):
        out, pullback = jax.vjp(
            lambda x: golden.network.apply({"params": params}, x, noise_input), x
        )
        return out, *pullback(v)

    out, grad_x = jax.jit(run, compiler_options=FAST_COMPILE)(x)
    # The published float32 result is itself up to 7e-6 (output) and 1.4e-5 (gradient) from its float64 one;
    # the embeddings' arguments are hundreds of radians. Measured here: up to 6e-6 and 9e-6.
    assert out.dtype == jnp.float32
    assert relative_error(out, nhwc(a["out"])) < 1e-5
    assert relative_error(grad_x, nhwc(a["grad_x"])) < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_names_order_and_shapes_are_the_published_ones(name):
    """In the order of parameters(); a parameter is trained if the published file has its gradient (NaN: none)."""
    golden = load(name)
    found = parameters(golden.network)
    assert [p.name for p in found] == [str(n) for n in golden.arrays["param_names"]]
    assert [p.shape for p in found] == [golden.state[p.name].shape for p in found]
    assert [p.trained for p in found] == [not np.isnan(g) for g in golden.arrays["grad_norm_f64"]]


@pytest.mark.parametrize("name", NETWORKS)
def test_to_our_tree_and_back(name):
    golden = load(name)
    every = parameters(golden.network)
    back = from_tree(every, to_tree(every, golden.state))
    assert list(back) == [p.name for p in every]
    for key, array in back.items():
        np.testing.assert_array_equal(array, golden.state[key])


def test_module_prefix_is_taken_off():
    state = {"module.all_modules.0.W": 1, "module.sigmas": 2, "all_modules.1.bias": 3}
    assert without_prefix(state) == {"all_modules.0.W": 1, SIGMAS: 2, "all_modules.1.bias": 3}


def test_layers_without_weights_between_ddpm_blocks_are_refused():
    """They have numbers in the published list that cannot be determined here."""
    network = load("ncsnpp_ddpmblock").network
    with pytest.raises(UserError, match="resamp_with_conv=False"):
        parameters(network.copy(resamp_with_conv=False))


def test_layers_are_listed_in_the_order_of_the_calls():
    """The order of the published list, written by hand for the smallest network."""
    network = NCSNpp(image_size=8, nf=8, ch_mult=(1, 1), num_res_blocks=1, attn_resolutions=())
    block, dense, attention = "ResnetBlockBigGANpp", "Dense", "AttnBlockpp"
    assert list(dict.fromkeys(p.leaf[0] for p in parameters(network))) == [
        *(f"{dense}_{i}" for i in (0, 1)),
        "Conv_0",
        *(f"{block}_{i}" for i in (0, 1, 2)),  # block, down, block
        *(f"{block}_3", f"{attention}_0", f"{block}_4"),  # middle
        *(f"{block}_{i}" for i in (5, 6, 7, 8, 9)),  # two blocks, up, two blocks
        *("GroupNorm_0", "Conv_1"),
    ]
