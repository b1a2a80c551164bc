"""Every published CIFAR-10 configuration: its size, and that it trains a step and gives a likelihood."""

import importlib
import math

import jax
import numpy as np
import pytest

from configs import subvp_cifar, ve_cifar, vp_cifar
from data.splits import ImagesInMemory
from evaluation.bits_per_dim import measure_bits_per_dim
from models.networks import build_network
from models.parameterization import build_parameterization
from models.score import NetworkScore
from modes.checks import check
from sde_lib import build_sde
from training.objective import build_objective
from training.optimizer import build_optimizer
from training.state import init_params, init_state
from training.step import build_train_step

# Published parameter counts.
PARAMETERS = {
    ("vp_cifar", "ddpmpp"): 61_804_419,
    ("vp_cifar", "ddpmpp_discrete"): 61_804_419,
    ("vp_cifar", "ddpmpp_deep"): 106_632_579,
    ("vp_cifar", "ncsnpp"): 62_693_251,
    ("vp_cifar", "ncsnpp_discrete"): 62_693_251,
    ("vp_cifar", "ncsnpp_deep"): 107_521_411,
    ("vp_cifar", "ddpm"): 35_218_947,
    ("vp_cifar", "ddpm_discrete"): 35_218_947,
    # As `ddpm`, less the embedding's two layers and a dense layer in each of the 22 residual blocks.
    ("vp_cifar", "ddpm_unconditional"): None,
    ("subvp_cifar", "ddpmpp"): 61_804_419,
    ("subvp_cifar", "ddpmpp_deep"): 106_632_579,
    ("subvp_cifar", "ncsnpp"): 62_693_251,
    ("subvp_cifar", "ncsnpp_deep"): 107_521_411,
    ("subvp_cifar", "ddpm"): 35_218_947,
    ("ve_cifar", "ncsnpp"): 62_758_915,
    ("ve_cifar", "ncsnpp_deep"): 107_587_075,
    ("ve_cifar", "ncsnpp_discrete"): 62_693_251,
    ("ve_cifar", "ddpm_discrete"): 35_218_947,
}


def config_of(name, variant):
    return importlib.import_module(f"configs.{name}").get_config(variant)


def test_every_variant_is_listed_here():
    variants = {
        (m.__name__.split(".")[1], v) for m in (vp_cifar, subvp_cifar, ve_cifar) for v in m.VARIANTS
    }
    assert variants == set(PARAMETERS)


@pytest.mark.parametrize(("name", "variant"), list(PARAMETERS))
def test_parameter_count(name, variant):
    config = config_of(name, variant)
    network = build_network(config)
    shapes = jax.eval_shape(lambda: init_params(config, network))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    expected = PARAMETERS[name, variant]
    if expected is None:
        blocks = [name for name in shapes if name.startswith("Resnet")]
        widths = [shapes[block]["Conv_0"]["kernel"].shape[-1] for block in blocks]
        time_layers = 128 * 512 + 512 + 512 * 512 + 512 + sum(512 * w + w for w in widths)
        expected = PARAMETERS["vp_cifar", "ddpm"] - time_layers
    assert count == expected


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), list(PARAMETERS))
def test_dry_run(name, variant):
    """At full size: one update on two images moves the weights and gives the loss of a network that is still 0.

    Then a likelihood at a loose tolerance, where the parameterization has one at every time.
    """
    config = config_of(name, variant)
    config.optim.warmup = 0
    check(config, "train")
    network, sde, optimizer = build_network(config), build_sde(config), build_optimizer(config)
    objective = build_objective(config, network, sde)
    step = build_train_step(config, objective, optimizer, devices=jax.devices()[:1])
    state = jax.jit(lambda: init_state(config, network, optimizer))()
    before = np.asarray(jax.tree.leaves(state.params)[0])
    images = np.random.default_rng(0).integers(0, 256, (1, 1, 2, 32, 32, 3)).astype(np.uint8)
    state, metrics = step(state, None, images, np.arange(2, dtype=np.int32)[None])
    # Mean of z^2 over 6,144 entries, or half its sum over an image: 1 or 1,536 within 4.9 standard errors.
    scale = 1.0 if config.training.reduce_mean else 1536.0
    assert float(metrics["loss"][0]) == pytest.approx(scale, rel=4.9 * math.sqrt(2 / 6144))
    assert not np.array_equal(before, jax.tree.leaves(state.params)[0])

    if not config.training.continuous and sde.predicts == "score":
        return
    config.likelihood.update(batch_size=4, num_images=1, rtol=0.1, atol=0.1, eps=1e-3)
    model = NetworkScore(state.ema_params, network.apply, build_parameterization(config, sde))
    measured = measure_bits_per_dim(
        config, sde, model, ImagesInMemory(images[0, 0]), seed=0, show=False
    )
    assert np.isfinite(measured.mean)


def test_discrete_and_continuous_differ_where_published():
    """Spot checks of the published table: what a variant changes besides its network."""
    deep = config_of("ve_cifar", "ncsnpp_deep")
    assert (deep.training.n_iters, deep.model.ema_rate, deep.training.reduce_mean) == (
        950_001,
        0.999,
        False,
    )
    assert (deep.sampling.pc.predictor, deep.sampling.pc.corrector) == (
        "reverse_diffusion",
        "langevin",
    )
    assert (deep.data.centered, deep.sampling.eps, deep.model.embedding_type) == (
        False,
        1e-5,
        "fourier",
    )
    plain = config_of("vp_cifar", "ddpmpp_discrete")
    assert (plain.training.continuous, plain.sampling.pc.predictor) == (False, "ancestral_sampling")
    assert plain.data.centered
