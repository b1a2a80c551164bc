"""Configurations of published networks after 2021: published sizes up to counted differences, and that modes accept them."""

import importlib

import jax
import pytest

from score_sde.models.networks import build_network
from score_sde.modes import sample, train
from score_sde.sde_lib import build_sde
from score_sde.training.state import init_params


def adm(width, classes=1000):
    """A variance for three more channels is left out, and "no class" has a vector."""
    return (4 * width if classes else 0) - 3 * (9 * width + 1)


# Parameters of the published network, and how many more ours has.
SIZES = {
    "adm_imagenet:64": (295_904_454, adm(192)),
    "adm_imagenet:128": (421_529_606, adm(256)),
    "adm_imagenet:256": (553_838_086, adm(256)),
    "adm_imagenet:256_uncond": (552_814_086, adm(256, 0)),
    # With the variance; "no class" has a vector.
    "adm_imagenet:64_published": (295_904_454, 4 * 192),
    "adm_imagenet:128_published": (421_529_606, 4 * 256),
    "adm_imagenet:256_published": (553_838_086, 4 * 256),
    "adm_imagenet:256_uncond_published": (552_814_086, 0),
    # With the frequencies of Fourier features.
    "edm_cifar:ddpmpp": (55_733_891, 0),
    "edm_cifar:ddpmpp_cond": (55_735_299, 0),
    "edm_cifar:ncsnpp": (56_397_827, 128),
    "edm_cifar:ncsnpp_cond": (56_400_643, 128),
    "edm_ffhq:ddpmpp": (61_805_571, 0),
    "edm_ffhq:ncsnpp": (62_761_091, 128),
}


# Fourier features are buffers there. Of RGB images the published have no XXS and XXL; of latents of four channels those have, for each
# of the two convolutions, 9 times the width more.
for size, width, published in (
    ("xxs", 64, 31_309_029 - 18 * 64),
    ("xs", 128, 124_710_949),
    ("s", 192, 280_209_381),
    ("m", 256, 497_803_173),
    ("l", 320, 777_492_325),
    ("xl", 384, 1_119_276_837),
    ("xxl", 448, 1_523_164_773 - 18 * 448),
):
    SIZES[f"edm2_imagenet:{size}"] = (published, 2 * width + 2 * 128)


def config_of(name):
    module, variant = name.split(":")
    return importlib.import_module(f"score_sde.configs.{module}").get_config(variant)


# The smallest of each class, two of ADM's with what differs between them. Their other sizes are those of tests/models.
QUICK = (
    "adm_imagenet:256_uncond",
    "adm_imagenet:256_published",
    "edm_cifar:ncsnpp_cond",
    "edm2_imagenet:xxs",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SIZES]
)
def test_sizes_are_the_published(name):
    config = config_of(name)
    network = build_network(config)
    published, more = SIZES[name]
    shapes = jax.eval_shape(lambda: init_params(config, network))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == published + more


@pytest.mark.parametrize("name", SIZES)
def test_modes_accept_them(name, monkeypatch):
    # The shapes, which take nearly all of the time, are those of the test above.
    monkeypatch.setattr("score_sde.training.trained_score.init_params", lambda config, network: ())
    config = config_of(name)
    sde = build_sde(config)
    for mode in (train, sample):
        mode.check(config, sde)


@pytest.mark.parametrize(
    ("name", "batch", "rate", "dropout", "augment", "evaluations"),
    [
        *(
            (f"edm_cifar:{variant}", 512, 10e-4, 0.13, 0.12, 35)
            for variant in ("ddpmpp", "ncsnpp", "ddpmpp_cond", "ncsnpp_cond")
        ),
        *((f"edm_ffhq:{variant}", 256, 2e-4, 0.05, 0.15, 79) for variant in ("ddpmpp", "ncsnpp")),
    ],
)
def test_edm_is_trained_as_published(name, batch, rate, dropout, augment, evaluations):
    """Karras et al. 2022, Table 7: 200 million images, the rate rising over 10 million, an average that half forgets in half a million,
    no clipping; and two evaluations a step with one for the last."""
    config = config_of(name)
    model, training, optim = config.model, config.training, config.optim
    assert training.batch_size == batch
    assert training.n_iters * batch == 200_000_000
    assert optim.warmup == 10_000_000 // batch
    assert model.ema_rate == round(0.5 ** (batch / 500_000), 5)
    assert (optim.lr, model.dropout, training.augment) == (rate, dropout, augment)
    assert optim.grad_clip < 0
    assert 2 * config.sampling.edm.num_steps + 1 == evaluations


@pytest.mark.parametrize(
    ("sizes", "batch", "rate", "dropout", "updates", "process"),
    [
        (("64", "64_published"), 2048, 3e-4, 0.1, 540_000, "cosine"),
        (("128", "128_published"), 256, 1e-4, 0.0, 4_360_000, "vp"),
        (("256", "256_published"), 256, 1e-4, 0.0, 1_980_000, "vp"),
    ],
)
def test_adm_is_trained_as_published(sizes, batch, rate, dropout, updates, process):
    """Dhariwal & Nichol 2021, App. I: a constant rate, and an average that forgets a ten-thousandth an update."""
    for size in sizes:
        config = config_of(f"adm_imagenet:{size}")
        training, optim = config.training, config.optim
        assert (training.batch_size, training.n_iters) == (batch, updates)
        assert (optim.lr, optim.warmup, config.model.dropout) == (rate, 0, dropout)
        assert (config.model.ema_rate, config.sde.name) == (0.9999, process)


@pytest.mark.parametrize(
    ("size", "rate", "millions", "dropout"),
    [
        ("xs", 0.0120, 1024, 0.0),
        ("s", 0.0100, 1024, 0.0),
        ("m", 0.0090, 2048, 0.1),
        ("l", 0.0080, 1024, 0.1),
        ("xl", 0.0070, 640, 0.1),
    ],
)
def test_edm2_is_trained_as_published(size, rate, millions, dropout):
    """At 64 pixels: learning rate, images in units of 2^20, dropout, no label dropout and no augmentation."""
    config = config_of(f"edm2_imagenet:{size}")
    images = config.training.n_iters * config.training.batch_size
    assert (config.optim.lr, images >> 20, config.model.dropout) == (rate, millions, dropout)
    assert (config.training.label_dropout, config.data.random_flip) == (0.0, False)


def test_every_variant_has_a_row():
    files = {name.partition(":")[0] for name in SIZES}
    variants = {
        f"{file}:{variant}"
        for file in files
        for variant in importlib.import_module(f"score_sde.configs.{file}").VARIANTS
    }
    assert variants == SIZES.keys()
