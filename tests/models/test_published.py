"""The networks against the published PyTorch ones, with weights read by name.

Golden files (`net_*.npz`): score_sde_pytorch, commit cb1f359, small networks with every parameter randomised,
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
from ml_collections import ConfigDict

from models.ncsnpp import NCSNpp
from models.networks import build_network
from models.published import params_from_torch, survey

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
# In float32 the fast tests run one network of each kind: the formulas are those of the float64 tests.
FAST_IN_FLOAT32 = ("ddpm_vp", "ddpmpp_vp", "ncsnpp_ve_cifar10")
# Compiling is nearly all the time of these tests, and -O0 changes no formula.
FAST_COMPILE = {"xla_backend_optimization_level": 0}


def nhwc(x):
    return np.transpose(x, (0, 2, 3, 1))


def load(name):
    with np.load(GOLDEN / f"net_{name}.npz") as file:
        arrays = dict(file)
    config = ConfigDict(json.loads(str(arrays["config_json"])))
    if "fourier_scale" not in config.model:
        config.model.fourier_scale = 16
    state = {k.removeprefix("state_dict/"): v for k, v in arrays.items() if "state_dict/" in k}
    return SimpleNamespace(network=build_network(config), state=state, arrays=arrays)


def relative_error(got, expected):
    """Largest error of each image over the image's largest value: outputs differ in size by 1 / sigma."""
    axes, got = (1, 2, 3), np.asarray(got)
    return np.max(np.abs(got - expected).max(axes) / np.abs(expected).max(axes))


@pytest.mark.parametrize("name", NETWORKS)
def test_output_and_gradients_in_float64(name):
    golden = load(name)
    a = golden.arrays
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.float64, params_from_torch(golden.network, golden.state))
        x, v = (jnp.asarray(nhwc(a[k]), jnp.float64) for k in ("x", "v"))
        cond = jnp.asarray(a["labels"], jnp.float64)

        def run(params, x):
            out, pullback = jax.vjp(
                lambda p, x: golden.network.apply({"params": p}, x, cond), params, x
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


@pytest.mark.parametrize(
    "name",
    [
        name if name in FAST_IN_FLOAT32 else pytest.param(name, marks=pytest.mark.slow)
        for name in NETWORKS
    ],
)
def test_output_and_input_gradient_in_float32(name):
    golden = load(name)
    a = golden.arrays
    params = jax.tree.map(jnp.float32, params_from_torch(golden.network, golden.state))
    x, v = (jnp.asarray(nhwc(a[k])) for k in ("x", "v"))
    cond = jnp.asarray(a["labels"], jnp.float32)

    def run(x):
        out, pullback = jax.vjp(lambda x: golden.network.apply({"params": params}, x, cond), x)
        return out, *pullback(v)

    out, grad_x = jax.jit(run, compiler_options=FAST_COMPILE)(x)
    # The published float32 result is itself up to 7e-6 (output) and 1.4e-5 (gradient) from its float64 one;
    # the embeddings' arguments are hundreds of radians. Measured here: up to 6e-6 and 9e-6.
    assert out.dtype == jnp.float32
    assert relative_error(out, nhwc(a["out"])) < 1e-5
    assert relative_error(grad_x, nhwc(a["grad_x"])) < 2e-5


@pytest.fixture(scope="module")
def skip_network():
    return load("ncsnpp_ve_skip")


def test_module_prefix_is_accepted(skip_network):
    plain = params_from_torch(skip_network.network, skip_network.state)
    wrapped = {f"module.{name}": value for name, value in skip_network.state.items()}
    prefixed = params_from_torch(skip_network.network, wrapped)
    jax.tree.map(np.testing.assert_array_equal, plain, prefixed)


def test_missing_parameter_is_refused(skip_network):
    state = dict(skip_network.state)
    del state["all_modules.7.Conv_2.bias"]
    with pytest.raises(ValueError, match=r"all_modules\.7 .* is not ResnetBlockBigGANpp_2"):
        params_from_torch(skip_network.network, state)


def test_wrong_shape_is_refused(skip_network):
    name = "all_modules.3.weight"
    state = skip_network.state | {name: skip_network.state[name][:, :1]}
    with pytest.raises(ValueError, match=r"kernel \(3, 3, 1, 32\)[^$]*kernel \(3, 3, 3, 32\)"):
        params_from_torch(skip_network.network, state)


def test_missing_layer_is_refused(skip_network):
    state = {k: v for k, v in skip_network.state.items() if not k.startswith("all_modules.21.")}
    with pytest.raises(ValueError, match="21 layers and the network 22"):
        params_from_torch(skip_network.network, state)


def test_unknown_name_is_refused(skip_network):
    with pytest.raises(ValueError, match="'optimizer' is not the name of a published parameter"):
        params_from_torch(skip_network.network, {"optimizer": np.zeros(3)})


def test_weights_of_other_options_are_refused(skip_network):
    """Same layers, same count, but the pyramid is joined by another kind of layer."""
    other = skip_network.network.copy(progressive_input="residual")
    with pytest.raises(ValueError, match=r"is not Downsample_0 of the network"):
        params_from_torch(other, skip_network.state)


def test_layers_are_listed_in_the_order_of_the_calls():
    """The order of the published list, by hand for the smallest network (score_sde.md, section 3.7)."""
    network = NCSNpp(image_size=8, nf=8, ch_mult=(1, 1), num_res_blocks=1, attn_resolutions=())
    block, dense, attention = "ResnetBlockBigGANpp", "Dense", "AttnBlockpp"
    assert survey(network)[1] == [
        *(f"{dense}_{i}" for i in (0, 1)),
        "Conv_0",
        *(f"{block}_{i}" for i in (0, 1, 2)),  # block, down, block
        *(f"{block}_3", f"{attention}_0", f"{block}_4"),  # middle
        *(f"{block}_{i}" for i in (5, 6, 7, 8, 9)),  # two blocks, up, two blocks
        *("GroupNorm_0", "Conv_1"),
    ]
