"""Every published configuration: its fields and size, that all modes accept it, and that it runs."""

import importlib
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published_table import FILES, published_values

from score_sde.data.splits import ImagesInMemory
from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.likelihood.bits_per_dim import measure_bits_per_dim
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.models.networks import build_network, network_score
from score_sde.models.parameterization import build_parameterization
from score_sde.modes import likelihood, sample, train
from score_sde.options import value_of
from score_sde.samplers.configured import SAMPLERS
from score_sde.sde_lib import build_sde
from score_sde.training.feed import stacked
from score_sde.training.objective import build_objective
from score_sde.training.score_task import build_score_task
from score_sde.training.state import first_state, init_params
from score_sde.training.step import build_train_step

ROOT = Path(__file__).parents[2]


def config_of(name):
    """The configuration "FILE:VARIANT" or "FILE"."""
    module, *variant = name.split(":")
    return importlib.import_module(f"score_sde.configs.{module}").get_config(*variant)


OURS = {file: name for file, (name, *_) in FILES.items()}


def test_every_variant_is_in_the_table():
    variants = set()
    for path in (ROOT / "configs").glob("*.py"):
        source = path.read_text()
        if "published.published_config(" in source:
            module = importlib.import_module(f"score_sde.configs.{path.stem}")
            names = [f"{path.stem}:{variant}" for variant in getattr(module, "VARIANTS", ())]
            variants |= set(names or [path.stem])
    assert len(OURS) == 28
    assert sorted(OURS.values()) == sorted(variants)


@pytest.mark.parametrize("file", FILES)
def test_every_field_is_as_published(file):
    config = config_of(OURS[file])
    expected = published_values(file)
    found = {name: value_of(config, name) for name in expected}
    assert found == expected


def these_soon(*files):
    """All files, of which the others wait for the slow run."""
    return pytest.mark.parametrize(
        "file",
        [pytest.param(file, marks=() if file in files else pytest.mark.slow) for file in FILES],
    )


# The smallest of each class. Others are counted by their options, which are held to the table above, in tests/models.
@these_soon("vp/ddpm/cifar10_unconditional", "ve/celebahq_ncsnpp_continuous")
def test_parameter_count(file):
    config = config_of(OURS[file])
    network = build_network(config)
    shapes = jax.eval_shape(lambda: init_params(config, network))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    _, expected, *_ = FILES[file]
    if expected is None:
        # The DDPM network less the embedding's two layers and a dense layer in each residual block.
        blocks = [name for name in shapes if name.startswith("Resnet")]
        widths = [shapes[block]["Conv_0"]["kernel"].shape[-1] for block in blocks]
        time_layers = 128 * 512 + 512 + 512 * 512 + 512 + sum(512 * w + w for w in widths)
        expected = FILES["vp/ddpm/cifar10"][1] - time_layers
    assert count == expected


@pytest.mark.parametrize("file", FILES)
def test_every_mode_is_accepted(file, monkeypatch):
    """With the sampler that the file names."""
    accept(file, [config_of(OURS[file]).sampling.sampler], monkeypatch)


# Of each process in its times and in its chain.
@these_soon(
    "ve/cifar10_ncsnpp",
    "ve/cifar10_ncsnpp_continuous",
    "vp/ddpm/cifar10",
    "vp/ddpm/cifar10_continuous",
    "subvp/cifar10_ddpm_continuous",
)
def test_every_sampler_is_accepted_where_it_has_a_meaning(file, monkeypatch):
    accept(file, SAMPLERS, monkeypatch)


def accept(file, samplers, monkeypatch):
    # The shapes, which take nearly all of the time, are those of the test above.
    monkeypatch.setattr("score_sde.training.trained_score.init_params", lambda config, network: ())
    config = config_of(OURS[file])
    sde = build_sde(config)
    for sampler in samplers:
        config.sampling.sampler = sampler
        for mode in (train, sample, likelihood):
            if sampler in ("consistency", "mean_flow") and mode is not likelihood:
                with pytest.raises(
                    UserError, match=f"a network trained with training.task='{sampler}'"
                ):
                    mode.check(config, sde)
                continue
            chain_only = not config.training.continuous and config.sde.name == "ve"
            if chain_only and (mode is likelihood or sampler not in ("pc", "pc_published")):
                with pytest.raises(UserError, match="needs the score at every time"):
                    mode.check(config, sde)
            else:
                mode.check(config, sde)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OURS.values() if "cifar" in name])
def test_dry_run(name):
    """At full size: one update on two images changes the weights and gives the loss of a network whose output is still 0.

    Then a likelihood at a loose tolerance, if the parameterization is defined at every time.
    """
    config = config_of(name)
    config.optim.warmup = 0
    sde, task = build_sde(config), build_score_task(config)
    train.check(config, sde)
    devices = PmapDevices((jax.devices()[0],))
    step = build_train_step(task, devices)
    state = jax.jit(lambda: first_state(task.init(), task.optimizer))()
    before = np.asarray(jax.tree.leaves(state.params)[0])
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    split = ImagesInMemory(images)
    state, metrics = step(state, (), None, devices.split(stacked([split.take(range(2))])))
    # Mean of z^2 over 6,144 entries, or half its sum over an image: 1 or 1,536 within 4.9 standard errors.
    scale = 1.0 if config.training.reduce_mean else 1536.0
    assert float(metrics["loss"][0]) == pytest.approx(scale, rel=4.9 * math.sqrt(2 / 6144))
    assert not np.array_equal(before, jax.tree.leaves(state.params)[0])

    # A network that knows its own levels only has no ODE, but the bound of its chain.
    ode = config.training.continuous or sde.predicts != "score"
    config.likelihood.update(batch_size=4, num_images=1, rtol=0.1, atol=0.1, eps=1e-3)
    config.likelihood.update(ode=ode, bound_draws=4)
    model = network_score(task.network, state.ema_params, build_parameterization(config, sde))
    measured = measure_bits_per_dim(
        config,
        sde,
        model,
        UniformDequantizer(),
        split,
        seed=0,
        show=False,
    )
    assert np.isfinite(measured.bound.mean)
    assert (measured.ode is not None) == ode


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ve_256:church", "vp_256:church"])
def test_forward_pass_of_256_pixels(name):
    """One image: the loss of a network with zero output is that of the noise alone."""
    config = config_of(name)
    network = build_network(config)
    objective = build_objective(config, network, build_sde(config))
    images = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3)).astype(np.uint8)
    batch = ImagesInMemory(images).take(range(1))

    @jax.jit
    def loss():
        params = init_params(config, network)
        return objective.held_out_losses(params, batch, jnp.array([0.5]), jax.random.key(0))

    # Mean of z^2 over 196,608 entries, or half its sum: within 4.9 standard errors.
    scale = 1.0 if config.training.reduce_mean else 196_608 / 2
    assert float(loss()[0]) == pytest.approx(scale, rel=4.9 * math.sqrt(2 / 196_608))
