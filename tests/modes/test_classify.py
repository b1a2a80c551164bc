"""--mode classify on two Gaussian classes with a known optimal classifier, and folders that it refuses."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_sde.configs.default import get_config
from score_sde.configs.digits import digits_config
from score_sde.data.splits import Datasets, ImagesInMemory, ImagesOnDisk
from score_sde.errors import UserError
from score_sde.models.exact import GaussianScore
from score_sde.models.networks import build_network
from score_sde.modes import classify
from score_sde.sde_lib import build_sde
from score_sde.training.state import init_params
from score_sde.training.trained_score import LoadedScore, score_model
from score_sde.version import VERSION
from tests.earlier_commands import as_of_version_0_9, check_of_both
from tests.models.class_gaussians import ClassGaussians


def labelled(n, share, seed):
    """n images of one pixel, N(1, 1) for a share of them (class 1) and N(-1, 1) for the rest (class 0)."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < share).astype(np.int32)
    x = (2 * labels - 1 + rng.normal(size=n)).astype(np.float32)
    return ImagesInMemory(x.reshape(n, 1, 1, 1), {"label": labels})


@pytest.fixture
def config(monkeypatch):
    """Exact scores in the place of networks, told apart by their folder."""

    def load(config, sde, folder):
        mean = {"m0": -1.0, "m1": 1.0}[folder.name]
        return LoadedScore(GaussianScore(jnp.full(1, mean), jnp.ones(1), jnp.eye(1), sde), None)

    datasets = Datasets("gaussians", labelled(1000, 0.9, 0), labelled(1000, 0.5, 1), None)
    monkeypatch.setattr(classify, "load_score_model", load)
    monkeypatch.setattr(classify.data, "load", lambda *_, **__: datasets)
    config = get_config()
    config.sde.name = "subvp"
    config.data.update(name="gaussians", num_levels=0, centered=False, image_size=1)
    config.classifier.update(workdirs="runs/m{label}", num_classes=2)
    config.likelihood.update(batch_size=1000, eps=1e-3, rtol=1e-4, atol=1e-4, bound_draws=0)
    return config


def test_the_bayes_classifier_with_the_training_sets_frequencies(config, tmp_path):
    """Nine of ten training images are of class 1, so class 0 is predicted only below x = -ln(9)/2. The accuracy on test images, half
    of each class, is (Phi(-ln(9)/2 + 1) + Phi(ln(9)/2 + 1)) / 2, within 4.9 binomial errors."""
    figures = classify.run(config, build_sde(config), tmp_path)
    border = np.log(9) / 2
    exact = 0.5 * norm.cdf(1 - border) + 0.5 * norm.cdf(1 + border)
    assert abs(figures["accuracy"] - exact) < 4.892 * figures["standard_error"]
    with np.load(figures["arrays"]) as arrays:
        assert arrays["nats"].shape == (2, 1000)
        assert arrays["confusion"].sum() == 1000
        assert np.mean(arrays["predicted"] == arrays["labels"]) == figures["accuracy"]


def test_one_network_that_is_told_the_class_answers_as_one_for_each(config, tmp_path, monkeypatch):
    """The same distributions given by label, N(-1, 1) and N(1, 1): the same nats, hence the same predictions."""
    config.likelihood.num_images = 100
    apart = classify.run(config, build_sde(config), tmp_path)

    def load(config, sde, folder):
        means, variances = jnp.array([-1.0, 1.0, 9.0]), jnp.ones(3)
        return LoadedScore(ClassGaussians(means, variances, sde), None)

    monkeypatch.setattr(classify, "load_score_model", load)
    config.model.num_classes = 2
    together = classify.run(config, build_sde(config), tmp_path)
    assert together["accuracy"] == apart["accuracy"]
    one, other = (np.load(figures["arrays"]) for figures in (apart, together))
    np.testing.assert_allclose(one["nats"], other["nats"], rtol=1e-4)  # solved in float32


def test_networks_of_the_classes_are_compiled_once(monkeypatch):
    """Each evaluated with its own weights: zero, and once and twice the initial ones."""
    config = digits_config("vp")
    config.model.update(name="dit", patch_size=4, width=8, depth=1, num_heads=2)
    config.classifier.update(workdirs="runs/m{label}")
    sde, network = build_sde(config), build_network(config)
    params = jax.tree.map(lambda leaf: leaf + 0.1, init_params(config, network))
    x, t, traces = jnp.ones((1, 8, 8, 1)), jnp.full(1, 0.5), []

    def weighted(weight):
        return score_model(config, sde, jax.tree.map(lambda leaf: weight * leaf, params))

    def load(config, sde, folder):
        return LoadedScore(weighted(int(folder.name[1:])), 1)

    @jax.jit
    def score(model):
        traces.append(1)
        return model(x, t)

    monkeypatch.setattr(classify, "load_score_model", load)
    models = classify.models_of_classes(config, sde, None, 3)
    found = [score(loaded.model) for _, loaded, _ in models]
    assert len(traces) == 1
    assert not np.array_equal(found[1], found[2])
    np.testing.assert_allclose(found, [weighted(w)(x, t) for w in range(3)], rtol=1e-4, atol=1e-6)


def test_the_class_of_each_network_is_no_change(config, monkeypatch):
    """All were trained on one class each, and this command's images are of all; other changes are recorded."""
    load, changes = classify.load_score_model, {"data.label": -1, "model.control_scale": 0.5}
    monkeypatch.setattr(
        classify, "load_score_model", lambda *of: load(*of)._replace(changes=changes)
    )
    for _, loaded, _ in classify.models_of_classes(config, build_sde(config), None, 2):
        assert loaded.recorded == {"checkpoint_step": None, "model.control_scale": 0.5}


class Labels:
    """Records of so many images of either class, whose images nobody may read."""

    def __init__(self, count, images=True):
        self.count, self.images = count, images

    def __len__(self):
        return self.count

    def __getitems__(self, indices):
        assert not self.images
        return [{"path": str(i), "label": i % 2} for i in indices]

    def without_images(self):
        return Labels(self.count, images=False)


def test_of_the_training_images_only_the_classes_are_read(config, tmp_path, monkeypatch):
    config.likelihood.num_images = 4
    train = ImagesOnDisk(Labels(6), pytest.fail, (1, 1, 1), "folder")
    datasets = Datasets("gaussians", train, labelled(4, 0.5, 1), None)
    monkeypatch.setattr(classify.data, "load", lambda *_, **__: datasets)
    assert classify.run(config, build_sde(config), tmp_path)["num_images"] == 4


def test_an_interrupted_command_goes_on_after_the_class_that_it_had_measured(
    config, tmp_path, monkeypatch
):
    """The same predictions as without an interruption; the first class is not measured again unless its images or options change."""
    config.likelihood.update(num_images=4, batch_size=4)
    sde, measured = build_sde(config), []
    compiled = classify.build_compiled(config, sde, 1)

    def run(*arguments):
        measured.append(1)
        return compiled(*arguments)

    monkeypatch.setattr(classify, "build_compiled", lambda *_: run)
    whole = classify.run(config, sde, tmp_path / "whole")
    load = classify.load_score_model

    def interrupted(config, sde, folder):
        if folder.name == "m1":
            raise KeyboardInterrupt
        return load(config, sde, folder)

    monkeypatch.setattr(classify, "load_score_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        classify.run(config, sde, tmp_path)
    monkeypatch.setattr(classify, "load_score_model", load)
    assert len(measured) == 3
    as_of_version_0_9(tmp_path)
    rest = classify.run(config, sde, tmp_path)
    check_of_both(rest)
    assert [one["version"] for one in rest["batches_made_by"]] == ["0.9", VERSION]
    assert len(measured) == 4
    assert not [*(tmp_path / "classification").glob("unfinished*")]
    one, other = (np.load(figures["arrays"]) for figures in (whole, rest))
    np.testing.assert_array_equal(one["nats"], other["nats"])
    assert (rest["checkpoint_step"], rest["rtol"], rest["num_images"]) == ([None, None], 1e-4, 4)


def test_a_model_of_another_class_is_refused(config, tmp_path):
    config.classifier.workdirs = str(tmp_path / "m{label}")
    for label, trained_on in ((0, 0), (1, -1)):
        folder = tmp_path / f"m{label}"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"data": {"label": trained_on}}))
    with pytest.raises(UserError, match="was trained on all classes, not on class 1"):
        classify.check_classifier(config)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"model.words": "one two"},
            "a network conditioned on text: the network may be conditioned on the class only",
        ),
        ({"likelihood.conditional": False}, "likelihood.conditional=False with --mode classify"),
        (
            {"model.num_classes": 0, "likelihood.anomalies": "HERE"},
            "has no effect with --mode classify; leave it out",
        ),
        ({"likelihood.save_latents": True}, "save_latents=True with --mode classify"),
    ],
)
def test_what_would_be_ignored_or_is_not_known_is_refused(fields, words, tmp_path):
    (here := tmp_path / "here.npz").touch()
    config = digits_config("vp")
    config.model.update(nf=8, ch_mult=(1,), attn_resolutions=(), num_classes=10)
    config.training.label_dropout = 0.1
    config.likelihood.dequantization = "uniform"
    config.update_from_flattened_dict(
        {name: str(here) if value == "HERE" else value for name, value in fields.items()}
    )
    with pytest.raises(UserError, match=words):
        classify.check(config, build_sde(config))


def test_classes_without_a_model_are_refused(config, tmp_path):
    with pytest.raises(
        UserError, match="images of class 2, but classifier.num_classes=2; set it to 3"
    ):
        classify.check_labels(np.array([0, 2]), 2)
