"""Check of an accelerator's scores, gradients and likelihood against known values and a CPU."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accelerator.ours import random_split
from benchmarks.accelerator.setting import Row, Setting
from benchmarks.random_network import first_params
from score_sde.configs.default import get_config
from score_sde.foreign_weights.names import parameters, to_tree
from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace
from score_sde.models.exact import GaussianScore
from score_sde.models.networks import build_network
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.sde_lib import VP
from score_sde.training.score_task import build_score_task

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
GOLDEN_RUNS = (
    ("ddpmpp_vp", "highest"),
    ("ncsnpp_ve_cifar10", "highest"),
    ("ncsnpp_ve_skip", "highest"),
    ("ddpmpp_vp", "TF32"),
)
MATMUL = {"highest": "highest", "TF32": "default", "bfloat16": "default"}
QUICK = {
    "xla_backend_optimization_level": 0
}  # on the CPU, where compiling would take most of the time


def agreement(setting: Setting) -> Iterator[Row]:
    """Yield relative errors of outputs and input gradients of published networks against float64 and of parameter gradients
    against the CPU, and the error in bits/dim of a Gaussian against its closed form."""
    yield gaussian_likelihood()
    for name, precision in () if setting.tiny else GOLDEN_RUNS:
        with jax.default_matmul_precision(MATMUL[precision]):
            yield from golden(name, precision)
    yield from gradients(setting)


def golden(name: str, precision: str) -> Iterator[Row]:
    """Errors of a published network with random weights, whose results in float64 are stored as (b, c, h, w)."""
    with np.load(GOLDEN / f"net_{name}.npz") as file:
        arrays = dict(file)
    config, published = get_config(), json.loads(str(arrays["config_json"]))
    config.update(model=published["model"], data=published["data"])
    network = build_network(config)
    state = {k.removeprefix("state_dict/"): v for k, v in arrays.items() if "state_dict/" in k}
    params = jax.tree.map(jnp.float32, to_tree(parameters(network), state))
    x, v = (jnp.float32(arrays[k].transpose(0, 2, 3, 1)) for k in ("x", "v"))
    noise_input = jnp.float32(arrays["labels"])

    @jax.jit
    def run(params: Any, x: jax.Array, v: jax.Array) -> tuple[Any, Any]:
        out, pullback = jax.vjp(lambda x: network.apply({"params": params}, x, noise_input), x)
        return out, pullback(v)[0]

    found = run(params, x, v)
    for what, got, key in zip(
        ("score", "gradient in x"), found, ("out_f64", "grad_x_f64"), strict=True
    ):
        error = per_image_error(np.asarray(got).transpose(0, 3, 1, 2), arrays[key])
        yield Row("agreement", f"{what}, {name}", "ours", precision, len(x), error, "relative")


def per_image_error(got: np.ndarray, expected: np.ndarray) -> float:
    """The largest error over images, each relative to the image's own norm since outputs scale with 1/sigma."""
    axes = (1, 2, 3)
    return float(np.max(norm(got - expected, axes) / norm(expected, axes)))


def norm(x: np.ndarray, axes: Any = None) -> np.ndarray:
    return np.sqrt(np.sum(np.square(x, dtype=np.float64), axis=axes))


def gradients(setting: Setting) -> Iterator[Row]:
    """Error of the gradient of the training loss, including dropout, in each precision, relative to the CPU in float32."""
    count, cpu = 4, jax.devices("cpu")[0]
    config = reduced(setting, "float32")
    batch = random_split(config, count).take(np.arange(count))
    params = nowhere_zero(first_params(config))

    def gradient(dtype: str, device: jax.Device) -> np.ndarray:
        task = build_score_task(reduced(setting, dtype))

        def loss(params: Any, step: jax.Array) -> jax.Array:
            return task.losses(params, params, (), step, batch).mean()

        options = QUICK if device == cpu else None
        with jax.default_device(device):
            found = jax.jit(jax.grad(loss), compiler_options=options)(params, jnp.int32(0))
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(jax.device_get(found))])

    with jax.default_matmul_precision("highest"):
        expected = gradient("float32", cpu)
    for precision, matmul in MATMUL.items():
        with jax.default_matmul_precision(matmul):
            dtype = "bfloat16" if precision == "bfloat16" else "float32"
            got = gradient(dtype, jax.devices()[0])
        error = float(norm(got - expected) / norm(expected))
        what = "gradient in the parameters"
        yield Row("agreement", what, "ours", precision, count, error, "relative")


def reduced(setting: Setting, dtype: str) -> Any:
    """The config of a network with few blocks, which compiles quickly on a CPU."""
    config = setting.config(dtype=dtype)
    if not setting.tiny:
        config.model.update(nf=64, ch_mult=(1, 2), num_res_blocks=1)
    return config


def nowhere_zero(params: Any) -> Any:
    """Perturb every parameter: the zero layers of new networks would hide the gradients before them."""
    return jax.tree.map(
        lambda p: p + 0.02 * np.cos(np.arange(p.size, dtype=p.dtype)).reshape(p.shape), params
    )


def gaussian_likelihood() -> Row:
    """Error of the likelihood of a centered Gaussian, whose flow scales each coordinate by sqrt(v(T) / v(eps)) with
    v = alpha^2 s^2 + sigma^2, so the density at eps that the flow maps to N(0, 1) at T is known in closed form."""
    sde, eps = VP(), 1e-3
    variances = jnp.float32([0.05, 0.3, 1.0, 2.0])
    score = GaussianScore.create(jnp.zeros(4), jnp.diag(variances), sde)
    x = jnp.sqrt(variances) * jax.random.normal(jax.random.key(0), (8, 1, 1, 4))
    solver = AdaptiveSolver("dopri5", 1e-5, 1e-5)
    keys = jax.random.split(jax.random.key(0), len(x))
    with jax.default_matmul_precision("highest"):
        got = jax.jit(lambda x: log_density(score, sde, x, ExactTrace(), keys, eps, solver).nats)(x)
    first, last = (
        np.float64(sde.alpha(t)) ** 2 * np.float64(variances) + np.float64(sde.sigma(t)) ** 2
        for t in (jnp.float32(eps), jnp.float32(sde.T))
    )
    stretch, flat = last / first, np.float64(x).reshape(8, 4)
    expected = 0.5 * np.sum(np.log(stretch / (2 * np.pi)) - stretch * flat**2, axis=1)
    bits = float(np.abs(np.asarray(got) - expected).max()) / (4 * math.log(2))
    return Row("agreement", "likelihood of a Gaussian", "ours", "highest", len(x), bits, "bits/dim")
