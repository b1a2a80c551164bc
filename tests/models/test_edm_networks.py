"""EDM's U-Nets, preconditionings and losses against the published PyTorch code.

Golden files (tests/golden/peers/edm_*.npz): NVlabs/edm 008a4e5, small, every parameter drawn at random, run on a CPU in float64.
edm_ddpmpp and edm_ncsnpp are its SongUNet, edm_adm and edm_adm_edm its DhariwalUNet; the last is too narrow for the requested
attention.
"""

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.configs.default import get_config
from score_sde.errors import ConfigError
from score_sde.foreign_weights.state_dicts import params_of
from score_sde.models.edm_adm import EDMADM
from score_sde.models.edm_unet import EDMUNet
from score_sde.models.parameterization import build_parameterization
from score_sde.models.preconditioning import IDDPMPreconditioning, iddpm_levels
from score_sde.models.score import INTERVAL, NetworkScore, denoise
from score_sde.sde_lib import VE, VP
from score_sde.sde_lib.edm import EDM
from score_sde.training.losses import ContinuousLoss
from score_sde.training.times import LogNormalTimes, UniformTimes
from score_sde.training.weightings import build_weighting
from tests.models.published_arrays import (
    FAST_COMPILE,
    arrays_of,
    nhwc,
    number_of_parameters,
    relative_error,
    weights,
)


def edm_network(options):
    shared = {
        "image_size": options["img_resolution"],
        "num_channels": options["img_channels"],
        "nf": options["model_channels"],
        "ch_mult": tuple(options["channel_mult"]),
        "num_res_blocks": options["num_blocks"],
        "attn_resolutions": tuple(options["attn_resolutions"]),
        "num_classes": options["label_dim"],
        "augment_dim": options["augment_dim"],
        "noise_mult": options.get("channel_mult_noise", 1),
        "emb_mult": options["channel_mult_emb"],
    }
    if options["model_type"] == "DhariwalUNet":
        doubled = options["preconds"][0][0] == "iDDPMPrecond"
        return EDMADM(**shared, learned_variance=doubled)
    return EDMUNet(
        **shared,
        fir=len(options["resample_filter"]) > 2,
        progressive_input={"standard": "none"}.get(
            options["encoder_type"], options["encoder_type"]
        ),
        embedding_type=options["embedding_type"],
    )


NAMES = ("edm_ddpmpp", "edm_ncsnpp", "edm_adm", "edm_adm_edm")


@pytest.fixture(scope="module", params=NAMES)
def golden(request):
    arrays, options = arrays_of(request.param)
    network = edm_network(options)
    return SimpleNamespace(
        name=request.param,
        network=network,
        params=params_of(network, weights(arrays)),
        arrays=arrays,
        preconditionings=[name for name, _ in options["preconds"]],
        losses=[name for name, _ in options["losses"]],
    )


def condition_of(golden, augmented=True, dtype="float64"):
    """A row of zeros is "no class", the last."""
    if "class_labels" not in golden.arrays:
        return ()
    one_hot = golden.arrays["class_labels"]
    labels = np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), one_hot.shape[1])
    condition = {"label": jnp.asarray(labels, jnp.int32)}
    augment = jnp.asarray(golden.arrays["augment_labels"], dtype)
    return condition | {"augment": augment} if augmented else condition


def run(golden, x, labels, cotangent, dtype):
    params = jax.tree.map(lambda a: jnp.asarray(a, dtype), golden.params)
    condition = condition_of(golden, dtype=dtype)

    @lambda f: jax.jit(f, compiler_options=FAST_COMPILE)
    def both(params, x, cotangent):
        def apply(x):
            return golden.network.apply({"params": params}, x, labels, condition)

        out, pullback = jax.vjp(apply, x)
        return out, *pullback(cotangent)

    return both(params, x, cotangent)


def golden_soon(*names):
    """All golden files, of which the others wait for the slow run."""
    return pytest.mark.parametrize(
        "golden",
        [pytest.param(name, marks=() if name in names else pytest.mark.slow) for name in NAMES],
        indirect=True,
    )


# One of each class: the others' outputs are within their denoisers, below.
@golden_soon("edm_ncsnpp", "edm_adm")
@pytest.mark.parametrize(
    ("dtype", "out_error", "grad_error"),
    [("float64", 1e-13, 1e-13), pytest.param("float32", 1e-5, 2e-5, marks=pytest.mark.slow)],
)
def test_output_and_gradient_are_the_published(golden, dtype, out_error, grad_error):
    arrays = golden.arrays
    with jax.enable_x64(dtype == "float64"):
        x, cotangent, labels = (
            jnp.asarray(a, dtype)
            for a in (
                nhwc(arrays["net/x"]),
                nhwc(arrays["net/cotangent"]),
                arrays["net/noise_labels"],
            )
        )
        out, grad = run(golden, x, labels, cotangent, dtype)
    assert out.dtype == dtype
    assert relative_error(out, nhwc(arrays["net/out_f64"])) < out_error
    assert relative_error(grad, nhwc(arrays["net/grad_x_f64"])) < grad_error


# Of EDM's names, the process and what its networks predict here.
PRECONDITIONINGS = {
    "VPPrecond": (VP(), "noise"),
    "VEPrecond": (VE(0.02, 100.0), "edm_ve"),
    "iDDPMPrecond": (EDM(), "edm_iddpm"),
    "EDMPrecond": (EDM(), "edm"),
}


def score_of(golden, params, parameterization, condition):
    def apply(*arguments):
        return golden.network.apply(*arguments)[..., : golden.network.num_channels]

    return NetworkScore(params, apply, parameterization, condition, golden.network.null_condition)


def parameterization_of(config, sde, predicts):
    config.model.predicts = predicts
    return build_parameterization(config, sde)


@pytest.fixture(scope="module")
def config():
    config = get_config()
    config.model.update(name="edm_unet", embedding_type="fourier")
    return config


def test_preconditionings_and_losses_are_the_published(golden, config):
    """In float64, up to rounding: D(x; sigma) with its gradient, and the mean loss of each image, from the score alone."""
    own = [name for name in golden.preconditionings if name != "EDMPrecond"]
    check_published(golden, config, own or golden.preconditionings)


@pytest.mark.slow
@pytest.mark.parametrize("golden", ["edm_ddpmpp", "edm_ncsnpp"], indirect=True)
def test_edms_preconditioning_and_loss_of_the_other_networks(golden, config):
    check_published(golden, config, ["EDMPrecond"])


def check_published(golden, config, preconditionings):
    with jax.enable_x64(True):
        params = jax.tree.map(lambda a: jnp.asarray(a, "float64"), golden.params)
        cases = [(name, denoised) for name in preconditionings]
        cases += [
            (name, mean_loss) for name in golden.losses if LOSSES[name][0] in preconditionings
        ]
        runs = {name: case(golden, name, config) for name, case in cases}

        @lambda f: jax.jit(f, compiler_options=FAST_COMPILE)
        def all_of(params):
            return {name: of(params) for name, (of, _) in runs.items()}

        found = all_of(params)
    for name, (_, expected) in runs.items():
        for got, wanted in zip(found[name], expected, strict=True):
            assert relative_error(got, wanted) < 1e-12, name


def denoised(golden, name, config):
    """D and its gradient: of x / alpha, as EDM has images."""
    sde, predicts = PRECONDITIONINGS[name]
    parameterization = parameterization_of(config, sde, predicts)
    arrays = {key.rpartition("/")[2]: golden.arrays[key] for key in golden.arrays if name in key}
    x, cotangent, sigma = (
        jnp.asarray(a, "float64")
        for a in (nhwc(arrays["x"]), nhwc(arrays["cotangent"]), arrays["sigma"])
    )
    t = sde.time_of_log_snr(-2.0 * jnp.log(sigma))
    alpha = sde.alpha(t)[:, None, None, None]
    condition = condition_of(golden)

    def of(params):
        score = score_of(golden, params, parameterization, condition)

        def clean(x):
            return denoise(sde, score(alpha * x, t), alpha * x, t)

        out, pullback = jax.vjp(clean, x)
        return out, *pullback(cotangent)

    return of, (nhwc(arrays["out_f64"]), nhwc(arrays["grad_x_f64"]))


# Of EDM's names: preconditioning, weighting, times.
LOSSES = {
    "VPLoss": ("VPPrecond", "noise"),
    "VELoss": ("VEPrecond", "noise"),
    "EDMLoss": ("EDMPrecond", "edm"),
}


def mean_loss(golden, name, config):
    """EDM's VP draws t = 1 + u (1e-5 - 1), VE ln(sigma) uniform, EDM ln(sigma) ~ N(-1.2, 1.2^2)."""
    preconditioning, weighting = LOSSES[name]
    sde, predicts = PRECONDITIONINGS[preconditioning]
    parameterization = parameterization_of(config, sde, predicts)
    arrays = {key.rpartition("/")[2]: golden.arrays[key] for key in golden.arrays if name in key}
    x0, z = (jnp.asarray(nhwc(arrays[key]), "float64") for key in ("images", "noise"))
    drawn = arrays["rnd_normal" if name == "EDMLoss" else "rnd_uniform"].astype("float64").ravel()
    t = jnp.asarray(
        {
            "VPLoss": lambda u: 1.0 + u * (1e-5 - 1.0),
            "VELoss": lambda u: u,
            "EDMLoss": lambda n: np.exp(-1.2 + 1.2 * n),
        }[name](drawn)
    )
    config.training.weighting = weighting
    times = (
        LogNormalTimes(sde, 1e-5, mean=-1.2, std=1.2)
        if name == "EDMLoss"
        else UniformTimes(sde, 1e-5)
    )
    loss = ContinuousLoss(sde, times, build_weighting(config, sde), reduce_mean=True)
    condition = condition_of(golden)

    def of(params):
        score = score_of(golden, params, parameterization, condition)
        return (times.correction(t) * loss.at(score, x0, t, z),)

    return of, (arrays["value_f64"].mean(axis=(1, 2, 3)),)


@pytest.mark.parametrize("name", ["edm_ddpmpp", pytest.param("edm_adm", marks=pytest.mark.slow)])
def test_what_is_not_said_to_be_augmented_is_not(name):
    """As the published call without augment_labels; "no class" applies to both."""
    arrays, options = arrays_of(name)
    network = edm_network(options)
    golden = SimpleNamespace(arrays=arrays)
    params = params_of(network, weights(arrays))
    apply = jax.jit(network.apply, compiler_options=FAST_COMPILE)
    x, labels = jnp.asarray(nhwc(arrays["net/x"])), jnp.asarray(arrays["net/noise_labels"])
    out = apply(
        {"params": params}, x, labels, condition_of(golden, augmented=False, dtype="float32")
    )
    assert relative_error(out, nhwc(arrays["net/out_no_augment"])) < 1e-5
    null = network.null_condition(condition_of(golden, dtype="float32"))
    assert_allclose(
        apply({"params": params}, x, labels, null), apply({"params": params}, x, labels), rtol=1e-5
    )
    with pytest.raises(ValueError, match=r"a conditional network was given .* of 4 classes"):
        network.null_condition({"augmented": null["augment"]})


def test_levels_of_iddpm_are_the_published():
    """The table, the level nearest to a sigma, and its label, which counts down."""
    arrays, _ = arrays_of("edm_adm")
    u = arrays["iDDPMPrecond/u"]
    # Theirs adds the float32 rounding of a thousand steps up, that of 1 each at small levels.
    assert_allclose(iddpm_levels(), u, rtol=2e-6, atol=5e-6)
    sigma = jnp.asarray(arrays["iDDPMPrecond/round_sigma_in"])
    told = IDDPMPreconditioning(EDM()).noise_input(sigma)
    np.testing.assert_array_equal(told, 999 - arrays["iDDPMPrecond/round_sigma_index"])
    # Theirs says that its least noise is u[999]: label 0, at which networks were trained, not the -1 of u[1000] = 0.
    below = jnp.asarray([u[999], 0.5 * u[999], 0.002, 1e-5])
    np.testing.assert_array_equal(IDDPMPreconditioning(EDM()).noise_input(below), 0)


CIFAR = {"image_size": 32, "ch_mult": (2, 2, 2)}
FFHQ = {"image_size": 64, "ch_mult": (1, 2, 2, 2)}
NCSNPP = {
    "fir": True,
    "progressive_input": "residual",
    "embedding_type": "fourier",
    "noise_mult": 2,
}
AUGMENTED, TEN = {"augment_dim": 9}, {"num_classes": 10}
IMAGENET = EDMADM(
    image_size=64,
    nf=192,
    ch_mult=(1, 2, 3, 4),
    num_res_blocks=3,
    attn_resolutions=(32, 16, 8),
    num_classes=1000,
)
# Of the constructors of the published repository, run with shapes alone; with the frequencies of Fourier features, which are
# buffers there.
COUNTS = {
    "DDPM++": (EDMUNet(**CIFAR, **AUGMENTED), 55_733_891),
    "DDPM++ of classes": (EDMUNet(**CIFAR, **AUGMENTED, **TEN), 55_735_299),
    "DDPM++ not augmented": (EDMUNet(**CIFAR), 55_732_739),
    "DDPM++ of classes, not augmented": (EDMUNet(**CIFAR, **TEN), 55_734_147),
    "NCSN++": (EDMUNet(**CIFAR, **NCSNPP, **AUGMENTED), 56_397_827 + 128),
    "NCSN++ of classes": (EDMUNet(**CIFAR, **NCSNPP, **AUGMENTED, **TEN), 56_400_643 + 128),
    "NCSN++ not augmented": (EDMUNet(**CIFAR, **NCSNPP), 56_395_523 + 128),
    "DDPM++ of FFHQ": (EDMUNet(**FFHQ, **AUGMENTED), 61_805_571),
    "NCSN++ of FFHQ": (EDMUNet(**FFHQ, **NCSNPP, **AUGMENTED), 62_761_091 + 128),
    "ADM of ImageNet": (IMAGENET, 295_899_267),
}


# The smallest of each class; NCSN++ is counted in tests/configs/test_peer_configs.py.
QUICK = ("DDPM++ of classes", "ADM of ImageNet")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in COUNTS]
)
def test_published_numbers_of_parameters(name):
    network, count = COUNTS[name]
    assert number_of_parameters(network) == count


class SecondLevel(EDMUNet):
    """What the image does to the features of the second level."""

    @nn.compact
    def __call__(self, h, pyramid):
        return self._taken_in(h, pyramid, "enc_4x4")


@pytest.mark.parametrize(("fir", "taps"), [(False, [1, 1]), (True, [1, 3, 3, 1])])
def test_the_image_joins_the_features_of_each_level(fir, taps):
    """With an input pyramid of skips, the filtered and halved image is added through a linear map, and passed on unchanged."""
    level, network = (
        kind(**SMALL, fir=fir, progressive_input="input_skip") for kind in (SecondLevel, EDMUNet)
    )
    rng = np.random.default_rng(0)
    image, features = rng.normal(size=(1, 8, 8, 3)), rng.normal(size=(1, 4, 4, 16))
    kernel, bias = rng.normal(size=(3, 16)), rng.normal(size=16)
    params = {"enc_4x4_aux_skip": {"kernel": kernel[None, None], "bias": bias}}
    single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (params, features, image))
    h, pyramid = level.apply({"params": single[0]}, *single[1:])
    weights = np.outer(taps, taps) / np.sum(taps) ** 2
    edge = (len(taps) - 1) // 2
    padded = np.pad(image, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    halved = np.zeros((1, 4, 4, 3))
    for i in range(4):
        for j in range(4):
            window = padded[:, 2 * i : 2 * i + len(taps), 2 * j : 2 * j + len(taps)]
            halved[:, i, j] = np.einsum("bijc,ij->bc", window, weights)
    assert_allclose(pyramid, halved, atol=1e-6)
    assert_allclose(h, features + halved @ kernel + bias, atol=1e-5)
    plain = number_of_parameters(EDMUNet(**SMALL))
    assert number_of_parameters(network) == plain + 3 * 16 + 16
    # EDM's layer that halves the image has no weights but a filter, which is in its state dict.
    constants = network.state_dict.constants
    assert constants.keys() - EDMUNet(**SMALL).state_dict.constants.keys() == {
        "enc.4x4_aux_down.resample_filter"
    }
    assert_allclose(constants["enc.4x4_aux_down.resample_filter"], weights[None, None])


SMALL = {
    "image_size": 8,
    "nf": 16,
    "ch_mult": (1, 2),
    "num_res_blocks": 1,
    "attn_resolutions": (4,),
}


def test_first_weights_have_the_published_spread():
    """Xavier's bound, times sqrt(1/5) for queries and 1e-5 for last layers; Kaiming's bound and 0 in ADM."""
    x, labels = jnp.ones((1, 8, 8, 3)), jnp.ones(1)
    bounds = {}
    for network in (EDMUNet(**SMALL), EDMADM(**SMALL | {"ch_mult": (1, 4)})):

        @lambda f: jax.jit(f, compiler_options=FAST_COMPILE)
        def first(key, network=network):
            return network.init(key, x, labels)["params"]["enc_4x4_block0"]

        block = first(jax.random.key(0))
        for layer in ("conv0", "conv1", "qkv"):
            bounds[type(network), layer] = float(np.abs(block[layer]["kernel"]).max())
    xavier = np.sqrt(6 / (9 * (16 + 32)))
    assert 0.99 * xavier < bounds[EDMUNet, "conv0"] <= xavier
    assert bounds[EDMUNet, "conv1"] == pytest.approx(1e-5 * np.sqrt(6 / (9 * 64)), rel=0.01)
    assert bounds[EDMUNet, "qkv"] == pytest.approx(np.sqrt(0.2 * 6 / (32 + 96)), rel=0.01)
    assert bounds[EDMADM, "conv0"] == pytest.approx(1 / np.sqrt(9 * 16), rel=0.01)
    assert bounds[EDMADM, "conv1"] == 0


@pytest.mark.parametrize(
    ("network", "options", "words"),
    [
        (EDMUNet, {"nf": 130}, "130 channels cannot be normalised in 32 groups"),
        (EDMUNet, {"nf": 4, "emb_mult": 4, "image_size": 6, "ch_mult": (1, 1, 1)}, "multiple of 4"),
        (EDMADM, {"head_channels": 0}, r"model.head_channels=0 does not split"),
        (
            EDMADM,
            {"nf": 112, "head_channels": 32},
            r"head_channels=32 does not split .*\[112, 224\]",
        ),
    ],
    ids=str,
)
def test_what_is_no_such_network_is_refused(network, options, words):
    with pytest.raises(ConfigError, match=words):
        network(**SMALL | options)


def test_no_augmentation_of_a_network_that_takes_an_interval():
    """Such a network has no null condition: MeanFlow without classes on augmented images."""
    network = EDMUNet(**CIFAR, **AUGMENTED, condition_interval=True)
    given = {"augment": jnp.ones((2, 9)), INTERVAL: jnp.ones(2)}
    null = network.null_condition(given)
    assert null.keys() == {"augment"}
    np.testing.assert_array_equal(null["augment"], np.zeros((2, 9)))
