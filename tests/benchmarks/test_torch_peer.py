"""The PyTorch networks and training step used for speed comparisons, against the published ones and ours.

Golden files: score_sde_pytorch, commit cb1f359; tests/foreign_weights/test_names.py and
tests/training/test_published_training.py describe them. In float64 wherever formulas are tested.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.peers import torch_ncsnpp, torch_vp  # noqa: E402  they import torch
from score_sde.configs.default import get_config  # noqa: E402
from score_sde.models.ncsnpp import NCSNpp  # noqa: E402
from score_sde.models.networks import network_score  # noqa: E402
from score_sde.models.predictions import NoisePrediction  # noqa: E402
from score_sde.samplers.ode import probability_flow  # noqa: E402
from score_sde.sde_lib import VP  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"
FAST_COMPILE = {"xla_backend_optimization_level": 0}
SMALL = {"image_size": 8, "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (4,)}
VARIANTS = {
    "ddpmpp": {},
    "fir": {"fir": True},
    "ncsnpp": {"fir": True, "progressive_input": "residual"},
    "pyramid without fir": {"progressive_input": "residual"},
    "ve": {"embedding_type": "fourier", "scale_by_sigma": True, "centered": False},
}


def load(name):
    """A published file, its network, and its weights under a prefix."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = dict(file)
    published, config = json.loads(str(arrays["config_json"])), get_config()
    for section in ("model", "data"):
        known = {k: v for k, v in published[section].items() if k in config[section]}
        config[section].update(known)
    return arrays, torch_ncsnpp.NCSNpp.from_config(config)


def weights(arrays, prefix):
    names = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    return {k: torch.tensor(v) for k, v in names.items()}


def relative_error(got, expected):
    """Largest error of each image over the image's largest value."""
    got, axes = np.asarray(got), (1, 2, 3)
    return np.max(np.abs(got - expected).max(axes) / np.abs(expected).max(axes))


def nhwc(x):
    return np.transpose(np.asarray(x), (0, 2, 3, 1))


def small_pair(**options):
    """Our network with random parameters of ordinary size, and the peer with the same ones, in float64."""
    ours = NCSNpp(**SMALL, **options)
    shapes = jax.eval_shape(
        lambda: ours.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jnp.ones(1))["params"]
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: 0.3 * rng.standard_normal(leaf.shape), shapes)
    peer = torch_ncsnpp.NCSNpp(**SMALL, **options).double().eval()
    torch_ncsnpp.load_from_flax(peer, params)
    return ours, params, peer


def draws(b=3):
    """Images, noise of 1 and -1, and times or sigmas in (0, 1)."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((b, 3, 8, 8))
    return (
        torch.tensor(x),
        torch.tensor(np.sign(rng.standard_normal(x.shape))),
        (torch.tensor(rng.uniform(0.1, 0.9, b))),
    )


@pytest.mark.parametrize("name", ["net_ddpmpp_vp", "net_ddpmpp_wide", "net_ncsnpp_ve_cifar10"])
def test_published_networks(name):
    """Measured: up to 2.8e-15 in float64, up to 1.8e-6 in float32."""
    arrays, network = load(name)
    network.load_state_dict(weights(arrays, "state_dict/"))
    network.eval()
    x, labels = (torch.tensor(arrays[k]) for k in ("x", "labels"))
    with torch.no_grad():
        assert relative_error(network(x, labels), arrays["out"]) < 1e-5
        out = network.double()(x.double(), labels.double())
    assert relative_error(out, arrays["out_f64"]) < 1e-13


@pytest.mark.parametrize("variant", VARIANTS)
def test_our_networks_at_our_weights(variant):
    """Measured: up to 1.2e-15."""
    x, _, labels = draws()
    with jax.enable_x64(True):
        ours, params, peer = small_pair(**VARIANTS[variant])
        apply = jax.jit(ours.apply, compiler_options=FAST_COMPILE)
        expected = np.asarray(apply({"params": params}, nhwc(x), labels.numpy()))
    with torch.no_grad():
        got = peer(x, labels)
    assert relative_error(nhwc(got), expected) < 1e-13


def test_weights_of_another_network_are_refused():
    """Weights of other shapes are refused, some of which PyTorch would broadcast."""
    _, params, _ = small_pair()
    wider = torch_ncsnpp.NCSNpp(**{**SMALL, "nf": 16})
    with pytest.raises(RuntimeError, match="size mismatch"):
        torch_ncsnpp.load_from_flax(wider, params)


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 61_804_419), ({"fir": True, "progressive_input": "residual"}, 62_693_251)],
)
def test_parameters_of_the_published_configurations(options, count):
    with torch.device("meta"):
        network = torch_ncsnpp.NCSNpp(**options)
    assert sum(p.numel() for p in network.parameters()) == count


def test_memory_format_and_bfloat16_change_nothing_but_rounding():
    arrays, network = load("net_ncsnpp_ve_cifar10")
    network.load_state_dict(weights(arrays, "state_dict/"))
    network.eval().to(memory_format=torch.channels_last)
    x = torch.tensor(arrays["x"]).to(memory_format=torch.channels_last)
    labels = torch.tensor(arrays["labels"])
    with torch.no_grad():
        assert relative_error(network(x, labels), arrays["out"]) < 1e-5
        with torch_vp.autocast(x.device, torch.bfloat16):
            out = network(x, labels)
    assert out.dtype == torch.float32
    assert 1e-4 < relative_error(out, arrays["out"]) < 0.05


@pytest.mark.parametrize("variant", ["ncsnpp", "ve"])
def test_compiled_without_graph_breaks(variant):
    network = torch_ncsnpp.NCSNpp(**SMALL, **VARIANTS[variant]).eval()
    torch_ncsnpp.random_weights_(network, seed=0)
    x, _, labels = (a.float() for a in draws())
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, labels), network(x, labels))


def test_random_weights():
    """Equal for equal seeds, and every parameter matters except the biases of keys, which cancel in the softmax."""
    one, two = torch_ncsnpp.NCSNpp(**SMALL).eval(), torch_ncsnpp.NCSNpp(**SMALL)
    for network in (one, two):
        torch_ncsnpp.random_weights_(network, seed=3)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p, q)
    x, _, labels = (a.float() for a in draws())
    one(x, 999 * labels).square().mean().backward()
    for name, p in one.named_parameters():
        assert name.endswith("NIN_1.b") or p.grad.norm() > 1e-4, name


def test_every_update_of_the_recorded_run():
    arrays, network = load("train_vp_tiny")
    network.load_state_dict(weights(arrays, "init/"))
    training = torch_vp.Training(network, lr=1e-3, warmup=4)
    for k, batch in enumerate(arrays["batch"]):
        t = torch.tensor(1e-5 + (1 - 1e-5) * arrays["u"][k])
        loss = training.update(torch.tensor(batch), t, torch.tensor(arrays["z"][k]))
        assert float(loss) == pytest.approx(arrays["loss"][k], rel=2e-6), k

    # In units of how far a parameter moved, measured up to 5e-5 of it; those that only rounding moves are left out (test_published_training.py).
    names = [str(name) for name in arrays["param_names"]]
    moved = dict(zip(names, arrays["final_move_f64"], strict=True))
    noise = dict(zip(names, arrays["final_dev_f64"], strict=True))
    averaged = dict(zip(names, training.averaged, strict=True))
    compared = 0
    for name, parameter in network.named_parameters():
        if noise[name] <= 0.02 * moved[name]:
            for prefix, got in (("final/", parameter.detach()), ("final_ema/", averaged[name])):
                error = np.abs(got.numpy() - arrays[prefix + name]).max()
                assert error <= 1e-3 * moved[name], (prefix, name)
                compared += 1
    assert compared >= 2 * (len(names) - 5)


def test_steps_draw_flips_times_and_noise():
    """A network that records its inputs sees x_t of the image or its mirror image, at times in (1e-5, 1)."""

    class Note(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, x, labels):
            self.given = x.detach(), labels
            return self.scale * torch.zeros_like(x)

    torch.manual_seed(0)
    b = 4000
    image = torch.tensor([-1.0, 1.0]).expand(b, 3, 2, 2)
    network = Note()
    loss = torch_vp.Training(network).step(image)
    x, labels = network.given
    t = labels / 999
    alpha, sigma = torch_vp.marginal(t)
    # The noise if no image had been mirrored, and if all had.
    plain, mirrored = (
        (x - torch_vp.expand(alpha) * image0) / torch_vp.expand(sigma)
        for image0 in (image, image.flip(3))
    )
    early = t < 0.1  # where the wrong guess would need noise of many sigma
    kept, flipped = ((z[early].abs().amax((1, 2, 3)) < 5) for z in (plain, mirrored))
    assert torch.all(kept ^ flipped)
    assert 0.4 < kept.float().mean() < 0.6
    assert 1e-5 < t.min() < t.max() < 1
    assert abs(t.mean() - 0.5) < 0.02
    noise = torch.where(torch_vp.expand(kept), plain[early], mirrored[early])
    assert abs(noise.square().mean() - 1) < 0.05
    assert float(loss) == pytest.approx(1, abs=0.05)


def test_score_drift_and_divergence():
    """Both forms against ours, which uses a forward Jacobian-vector product: measured up to 8e-16."""
    x, noise, times = draws()
    t = torch.full_like(times, 0.4)
    with jax.enable_x64(True):
        ours, params, peer = small_pair()
        sde = VP()
        model = network_score(ours, params, NoisePrediction(sde))

        def field(x):
            return probability_flow(sde, jnp.asarray(0.4), x, model)

        def run(x, v):
            drift, product = jax.jvp(field, (x,), (v,))
            return model(x, jnp.full(3, 0.4)), drift, jnp.sum(product * v, (1, 2, 3))

        arguments = [jnp.asarray(nhwc(a)) for a in (x, noise)]
        expected_score, expected, divergence = map(
            np.asarray, jax.jit(run, compiler_options=FAST_COMPILE)(*arguments)
        )
    assert relative_error(nhwc(torch_vp.score(peer, x, t)), expected_score) < 1e-13
    for form in (torch_vp.drift_and_divergence, torch_vp.drift_and_divergence_shared):
        got, trace = form(peer, x, t, noise)
        assert not got.requires_grad
        assert not trace.requires_grad
        assert relative_error(nhwc(got), expected) < 1e-13
        np.testing.assert_allclose(trace, divergence, rtol=1e-13)
    assert all(p.grad is None for p in peer.parameters())


def test_two_calls_against_one():
    """The two forms differ in the number of network calls."""
    calls = []

    def network(x, labels):
        calls.append(torch.is_grad_enabled())
        return x

    x, noise, t = draws()
    torch_vp.drift_and_divergence(network, x, t, noise)
    assert calls == [False, True]
    calls.clear()
    torch_vp.drift_and_divergence_shared(network, x, t, noise)
    assert calls == [True]
