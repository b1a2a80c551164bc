"""EDM2's network and loss against the published PyTorch code, and the magnitudes its layers preserve.

Golden files (tests/golden/peers/edm2_net_*.npz): NVlabs/edm2 4bf8162, small, every parameter drawn at random, run on a CPU in
float64. Its training run is in tests/training/test_edm2_training.py.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.configs.default import get_config
from score_sde.errors import ConfigError
from score_sde.foreign_weights.state_dicts import entries, from_tree, matched, params_of
from score_sde.models.edm2 import EDM2
from score_sde.models.magnitude import MPFourier, MPLayer, forced, mp_cat, mp_silu, mp_sum, unit
from score_sde.models.networks import build_network
from score_sde.models.preconditioning import EDMPreconditioning
from score_sde.models.score import NetworkScore, denoise
from score_sde.sde_lib.edm import EDM
from score_sde.training.losses import UncertainLoss
from score_sde.training.times import LogNormalTimes
from tests.models.published_arrays import (
    FAST_COMPILE,
    arrays_of,
    nhwc,
    number_of_parameters,
    relative_error,
    weights,
)


class Wider(EDM2):
    """With an embedding twice as wide as the last level, which published networks do not have."""

    def _embedding_width(self):
        return 2 * self.nf


def edm2(options):
    kind = Wider if options.get("channel_mult_emb") == 2 else EDM2
    return kind(
        image_size=options["img_resolution"],
        num_channels=options["img_channels"],
        nf=options["model_channels"],
        ch_mult=tuple(options["channel_mult"]),
        num_res_blocks=options["num_blocks"],
        attn_resolutions=tuple(options["attn_resolutions"]),
        num_classes=options["label_dim"],
        head_channels=options["channels_per_head"],
        logvar_channels=options["logvar_channels"],
    )


@pytest.fixture(scope="module", params=["edm2_net_classes", "edm2_net_uncond"])
def golden(request):
    arrays, options = arrays_of(request.param)
    network = edm2(options)
    params = params_of(network, weights(arrays))
    condition = {}
    if "class_labels" in arrays:
        one_hot = arrays["class_labels"]
        labels = np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), one_hot.shape[1])
        condition = {"label": labels.astype(np.int32)}
    return SimpleNamespace(
        network=network, params=params, arrays=arrays, condition=condition, of=options["loss"]
    )


def test_exported_arrays_are_the_published_and_accepted(golden):
    """Gains are arrays without axes, which nothing may turn into vectors."""
    network, published = golden.network, weights(golden.arrays)
    expected = entries(network, network.num_channels)
    exported = from_tree(network.state_dict, expected, golden.params)
    assert exported["unet.out_gain"].shape == ()
    matched(network.state_dict, expected, exported)
    for name, array in exported.items():
        assert array.shape == published[name].shape, name
        np.testing.assert_array_equal(array, published[name])


@pytest.mark.parametrize(
    ("dtype", "out_error", "grad_error", "with_network"),
    [
        ("float64", 1e-13, 1e-13, False),  # F is within D
        pytest.param("float64", 1e-13, 1e-13, True, marks=pytest.mark.slow),
        pytest.param("float32", 1e-5, 2e-5, True, marks=pytest.mark.slow),
    ],
)
def test_network_denoiser_and_loss_are_the_published(
    golden, dtype, out_error, grad_error, with_network
):
    """F and D = c_skip x + c_out F with their gradients, u(c_noise), and the mean of each image's loss l / exp(u) + u."""
    arrays, network, sde = golden.arrays, golden.network, EDM()
    with jax.enable_x64(dtype == "float64"):
        given = {
            name: jnp.asarray(nhwc(array) if array.ndim == 4 else array, dtype)
            for name, array in arrays.items()
            if name.startswith(("unet/", "precond/", "loss/")) and not name.endswith("_f64")
        }
        params = jax.tree.map(lambda a: jnp.asarray(a, dtype), golden.params)
        condition = jax.tree.map(jnp.asarray, golden.condition) or ()
        of = golden.of
        times = LogNormalTimes(sde, 1e-5, mean=of["P_mean"], std=of["P_std"])

        def weighting(t):
            return (1.0 + jnp.square(t / of["sigma_data"])) / times.correction(t)

        loss = UncertainLoss(sde, times, weighting, reduce_mean=True)
        n = given["loss/rnd_normal"].ravel()
        below, between = times.share(n.dtype)
        u = (jax.scipy.stats.norm.cdf(n) - below) / between

        @lambda f: jax.jit(f, compiler_options=FAST_COMPILE)
        def outputs(params, given):
            def apply(x):
                told = given["unet/noise_labels"]
                return network.apply({"params": params}, x, told, condition)

            score = NetworkScore(
                params,
                network.apply,
                EDMPreconditioning(sde, of["sigma_data"]),
                condition,
                network.null_condition,
            )
            sigma = given["precond/sigma"]

            def clean(x):
                return denoise(sde, score(x, sigma), x, sigma)

            d, of_d = jax.vjp(clean, given["precond/x"])
            losses = loss(score, given["loss/images"], u, given["loss/noise"])
            found = {"precond/out": d, "loss/value": losses}
            (found["precond/grad_x"],) = of_d(given["precond/cotangent"])
            if with_network:
                found["unet/out"], pullback = jax.vjp(apply, given["unet/x"])
                (found["unet/grad_x"],) = pullback(given["unet/cotangent"])
            return found, score.log_variance(sigma)

        found, log_variance = outputs(params, given)
    for name, got in found.items():
        expected = nhwc(arrays[f"{name}_f64"])
        if name == "loss/value":
            # t is found back from u, which costs digits.
            assert_allclose(
                got,
                expected.mean(axis=(1, 2, 3)),
                rtol=1e4 * out_error if dtype == "float64" else 1e-4,
            )
        else:
            error = grad_error if name.endswith("grad_x") else out_error
            assert relative_error(got, expected) < error, name
    assert_allclose(log_variance, arrays["precond/logvar"].ravel(), rtol=1e-4, atol=1e-5)


LATENT = {"image_size": 64, "num_channels": 4, "num_classes": 1000, "attn_resolutions": (16, 8)}
BASES = {"XXS": 64, "XS": 128, "S": 192, "M": 256, "L": 320, "XL": 384, "XXL": 448}
# Of the constructors of the published repository, run with shapes alone; Fourier features are buffers there.
COUNTS = {
    ("XXS", 4): 31_309_029,
    ("XS", 4): 124_713_253,
    ("S", 4): 280_212_837,
    ("M", 4): 497_807_781,
    ("L", 4): 777_498_085,
    ("XL", 4): 1_119_283_749,
    ("XXL", 4): 1_523_164_773,
    ("XS", 3): 124_710_949,
    ("S", 3): 280_209_381,
    ("M", 3): 497_803_173,
    ("L", 3): 777_492_325,
    ("XL", 3): 1_119_276_837,
}


# Of images; of latents tests/configs/test_peer_configs.py counts the smallest.
QUICK = ("XS", 3)


@pytest.mark.parametrize(
    ("size", "channels"),
    [pytest.param(*of, marks=() if of == QUICK else pytest.mark.slow) for of in COUNTS],
)
def test_published_numbers_of_parameters(size, channels):
    options = LATENT | {"num_channels": channels, "ch_mult": (1, 2, 3, 4), "num_res_blocks": 3}
    network = EDM2(nf=BASES[size], **options)
    buffers = 2 * BASES[size] + 2 * 128
    assert number_of_parameters(network) == COUNTS[size, channels] + buffers


def test_sums_and_joins_keep_the_mean_square():
    """With 40,000 independent normal numbers, to five standard errors of sqrt(2/40,000) = 0.7 %."""
    a, b = jax.random.normal(jax.random.key(0), (2, 400, 100))
    for joined in (mp_sum(a, b, 0.3), mp_cat(a, b[:, :25], 0.5), mp_silu(a)):
        assert float(jnp.mean(jnp.square(joined))) == pytest.approx(1.0, abs=0.035)
    halves = mp_cat(a, b[:, :25], 0.5)
    of_a, of_b = (float(jnp.sum(jnp.square(part))) for part in (halves[:, :100], halves[:, 100:]))
    # 10,000 numbers in the smaller part.
    assert of_a / of_b == pytest.approx(1.0, abs=0.08)
    # The second part has the weight t.
    assert float(jnp.abs(mp_sum(a, b, 1.0) - b).max()) < 1e-6
    assert not mp_cat(a, b, 0.0)[:, 100:].any()


def test_layers_keep_the_mean_square_and_forced_weights_their_work():
    """A kernel acts like its normalized version; 4,000 output numbers, to five standard errors of 2.2 %."""
    x = jax.random.normal(jax.random.key(0), (40, 50))
    layer = MPLayer(100)
    params = {"kernel": 7.0 * jax.random.normal(jax.random.key(1), (50, 100))}
    out = layer.apply({"params": params}, x)
    assert float(jnp.mean(jnp.square(out))) == pytest.approx(1.0, abs=0.11)
    weights_forced = forced(params)
    assert_allclose(jnp.mean(jnp.square(weights_forced["kernel"]), axis=0), np.ones(100), rtol=1e-3)
    assert_allclose(layer.apply({"params": weights_forced}, x), out, rtol=1e-3, atol=1e-3)
    assert_allclose(forced({"gain": jnp.full(3, 2.0)})["gain"], [2.0] * 3)
    assert_allclose(unit(jnp.array([3.0, 4.0]), (0,)), np.array([3, 4]) / np.sqrt(12.5), rtol=1e-4)


def test_fourier_features_are_not_trained():
    layer = MPFourier(6)
    params = layer.init(jax.random.key(0), jnp.ones(1))["params"]
    gradient = jax.grad(lambda p: layer.apply({"params": p}, jnp.ones(1)).sum())(params)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))
    expected = np.sqrt(2) * np.cos(np.asarray(params["freqs"]) + np.asarray(params["phases"]))
    assert_allclose(layer.apply({"params": params}, jnp.ones(1))[0], expected, rtol=1e-4, atol=1e-5)


SMALL = {"image_size": 8, "nf": 16, "ch_mult": (1, 2), "attn_resolutions": (4,), "head_channels": 8}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"head_channels": 0}, r"model.head_channels=0 does not split .*\[16, 32\]"),
        ({"nf": 22, "head_channels": 7}, r"head_channels=7 does not split .* \[22, 44\]"),
        ({"image_size": 5}, "images have 5x5 pixels, .* multiple of 2"),
        ({"logvar_channels": 0}, "model.logvar_channels=0: expected a positive integer"),
    ],
    ids=str,
)
def test_what_is_no_such_network_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        EDM2(**SMALL | options)


def test_a_condition_that_it_does_not_take_is_refused():
    config = get_config()
    config.data.image_size = 8
    config.model.update(
        {"name": "edm2", **{name: of for name, of in SMALL.items() if name in config.model}}
    )
    assert isinstance(build_network(config), EDM2)
    config.model.condition_interval = True
    with pytest.raises(ConfigError, match="condition_interval=True with model.name='edm2'"):
        build_network(config)
