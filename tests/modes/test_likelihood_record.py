"""The record of a likelihood, and which measurements may resume an interrupted one."""

import json
import os

import jax.numpy as jnp
import numpy as np
import pytest

from score_sde import data
from score_sde.configs.default import get_config
from score_sde.configs.digits import digits_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.data.splits import Datasets, ImagesInMemory
from score_sde.errors import ConfigError, UserError
from score_sde.likelihood import bits_per_dim
from score_sde.likelihood.bits_per_dim import BitsPerDim, Measured
from score_sde.likelihood.figures import described, options_in_use
from score_sde.modes import likelihood
from score_sde.modes.likelihood import check, identity, read_anomalies
from score_sde.sde_lib import build_sde
from score_sde.training.trained_score import LoadedScore
from tests.earlier_commands import as_of_version_0_9, check_of_both


@pytest.mark.parametrize("folder", ["checkpoints", "averages", "dequantizer/step6"])
def test_weights_trained_again_to_the_same_step_are_others(tmp_path, folder):
    file = tmp_path / folder / "weights"
    file.parent.mkdir(parents=True)
    file.write_text("old")
    config, loaded = get_config(), LoadedScore(None, 6)
    before = identity(config, tmp_path, loaded, "split")
    assert identity(config, tmp_path, loaded, "split") == before
    os.utime(file, (1, 10**10))
    assert identity(config, tmp_path, loaded, "split") != before


@pytest.mark.parametrize("field", ["likelihood.rtol", "seed", "data.label", "model.beta_max"])
def test_another_setting_is_another_measurement(tmp_path, field):
    config, loaded = get_config(), LoadedScore(None, 6)
    before = identity(config, tmp_path, loaded, "split")
    config.update_from_flattened_dict({field: 3})
    assert identity(config, tmp_path, loaded, "split") != before


def test_the_record_counts_the_images_that_were_measured():
    """likelihood.num_images=0 asks for all of them."""
    config, values = get_config(), np.zeros((2, 7))
    assert config.likelihood.num_images == 0
    measured = BitsPerDim(Measured(values, values, values), None, None, 1.5)
    record = described(config, LoadedScore(None, 6), measured)
    assert (record["num_images"], record["repeats"], record["seconds"]) == (7, 1, 1.5)


def test_an_adapter_trained_further_is_another(tmp_path):
    config, loaded = get_config(), LoadedScore(None, 6)
    adapter = tmp_path / "lora.npz"
    adapter.write_text("old")
    config.adapters = str(adapter)
    before = identity(config, tmp_path, loaded, "split")
    os.utime(adapter, (1, 10**10))
    assert identity(config, tmp_path, loaded, "split") != before


class Stopped(Exception):
    """In place of a measurement."""


def test_other_images_under_the_same_names_are_measured_anew(tmp_path, monkeypatch):
    """All anomalies are measured, however few images of the split are."""
    config, identities, limits = toy_config(), [], []
    config.data.image_size = 2
    config.likelihood.num_images = 3

    def measure(config, sde, model, dequantizer, split, seed, unfinished):
        limits.append((config.likelihood.num_images, split.num_images))
        identities.append(unfinished.folder)
        if len(limits) % 2 == 0:
            raise Stopped
        values = np.zeros((1, 3))
        return BitsPerDim(None, Measured(values, values, values), None, 1.0)

    monkeypatch.setattr(likelihood, "measure_bits_per_dim", measure)
    np.savez(tmp_path / "odd.npz", images=np.zeros((5, 2, 2, 1), np.float32))
    config.likelihood.anomalies = str(tmp_path / "odd.npz")
    for bright in (0, 0, 1):
        test = ImagesInMemory(np.full((8, 2, 2, 1), bright, np.float32))
        monkeypatch.setattr(
            data, "load", lambda *_, test=test, **__: Datasets("", test, test, None)
        )
        with pytest.raises(Stopped):
            likelihood.run(config, build_sde(config), tmp_path)
    assert limits == [(3, 8), (0, 5)] * 3
    assert identities[0] == identities[2] != identities[4]
    one = ImagesInMemory(np.zeros((1, 2, 2, 1), np.float32))
    monkeypatch.setattr(data, "load", lambda *_, **__: Datasets("", one, one, None))
    with pytest.raises(UserError, match="has one image; an AUC needs two or more"):
        likelihood.run(config, build_sde(config), tmp_path)


@pytest.mark.parametrize(
    ("asked", "there_are", "said"),
    [
        (100, 1, "note: likelihood.num_images=100 of the test split, which has 1; one image has"),
        (0, 1, "note: one image has no standard error"),
        (9, 8, "note: likelihood.num_images=9 of the test split, which has 8\n"),
        (8, 8, None),
        (0, 8, None),
    ],
)
def test_fewer_images_than_asked_for_are_named(
    tmp_path, monkeypatch, capsys, asked, there_are, said
):
    def measure(*_):
        raise Stopped

    config = toy_config()
    config.data.image_size = 2
    config.likelihood.num_images = asked
    split = ImagesInMemory(np.zeros((there_are, 2, 2, 1), np.float32))
    monkeypatch.setattr(likelihood, "measure_bits_per_dim", measure)
    monkeypatch.setattr(data, "load", lambda *_, **__: Datasets("", split, split, None))
    with pytest.raises(Stopped):
        likelihood.run(config, build_sde(config), tmp_path)
    note = capsys.readouterr().err
    assert said in note if said else "note" not in note


CHAIN = {"training.continuous": False}
INTEGERS = {**CHAIN, "data.uniform_dequantization": False}


def of(changes):
    config = digits_config("vp")
    config.model.update(name="dit", patch_size=2, width=8, depth=1, num_heads=2)
    config.update_from_flattened_dict(changes)
    return config


def test_an_auc_of_one_image_is_refused_before_anything_is_measured(tmp_path):
    np.savez(tmp_path / "odd.npz", images=np.zeros((5, 8, 8, 1), np.uint8))
    odd = str(tmp_path / "odd.npz")
    config = of({"likelihood.num_images": 1, "likelihood.anomalies": odd})
    with pytest.raises(ConfigError, match="likelihood.num_images=1 with .* an AUC needs two"):
        check(config, build_sde(config))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"likelihood.chain_levels": "50"}, "chain_levels='50' with training.continuous=True"),
        ({"likelihood.chain_variances": "posterior"}, "which has no chain; leave it out"),
        (
            {**INTEGERS, "likelihood.ode": False, "likelihood.dequantization": "variational"},
            "that of integer images, without noise",
        ),
        (
            {**CHAIN, "likelihood.decoder": "gaussian", "likelihood.ode": False},
            "has its own decoder",
        ),
        (
            {"likelihood.ode": False, "likelihood.save_latents": True},
            "only the ODE gives each image an x",
        ),
    ],
)
def test_options_that_the_bound_has_no_use_for_are_refused(changes, reason):
    config = of(changes)
    with pytest.raises(ConfigError, match=reason):
        check(config, build_sde(config))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model.name": "ncsnpp", "model.words": "one two"}, "texts"),
        ({"model.condition_image": "paired", "model.condition_channels": 1}, "paired images"),
    ],
)
def test_anomalies_without_what_the_network_is_told_are_refused(tmp_path, changes, told):
    (odd := tmp_path / "odd.npz").touch()
    config = of({**changes, "likelihood.anomalies": str(odd)})
    with pytest.raises(ConfigError, match=f"a model conditioned on {told}, which those images"):
        check(config, build_sde(config))


def test_anomalies_have_their_own_classes(tmp_path):
    """By their names, whatever numbers the file gives them; none is needed for an unconditional likelihood."""
    path = tmp_path / "odd.npz"
    images = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8, 1) % 17
    config = of({"model.num_classes": 3, "likelihood.anomalies": str(path)})
    data_names = ("ant", "walrus", "yak")

    def told(**arrays):
        np.savez(path, images=images, **arrays)
        check(config, build_sde(config))
        split = read_anomalies(config, data_names)
        return split.take([2, 0, 1]).condition["label"].tolist()

    assert told(labels=[1, 2, 0]) == [0, 1, 2]
    assert told(labels=[0, 1, 1], class_names=["yak", "ant"]) == [0, 2, 0]
    for arrays, reason in (
        ({}, "has no `labels`, with a model conditioned on classes: expected `labels`"),
        ({"labels": [0, 1, 3]}, "labels from 0 to 3: expected classes 0 to 2 of the data"),
        ({"labels": [0, 1, 0], "class_names": ["ant", "ox"]}, "'ox' is no class of the data"),
    ):
        with pytest.raises(UserError, match=reason):
            told(**arrays)
    np.savez(path, images=images, labels=[0, 1, 3])
    with pytest.raises(UserError, match="has labels up to 3, with a model"):
        read_anomalies(config)  # of data without class names
    config.training.label_dropout, config.likelihood.conditional = 0.1, False
    check(config, build_sde(config))
    assert read_anomalies(config, data_names).condition == ()


OF_THE_ODE = {"solver", "rtol", "atol", "step_size", "probe", "products_at_once", "save_latents"}


@pytest.mark.parametrize(
    ("options", "absent"),
    [
        ({"ode": False}, {*OF_THE_ODE, "num_probes", "sketch_size"}),
        ({"ode": False, "probe": "hutchpp"}, {*OF_THE_ODE, "num_probes", "sketch_size"}),
        ({"probe": "exact"}, {"num_probes", "sketch_size"}),
        ({"probe": "orthogonal"}, {"sketch_size"}),
        ({"probe": "hutchpp"}, set()),
    ],
)
def test_the_record_has_no_options_that_the_ode_does_not_read(options, absent):
    config = of({f"likelihood.{name}": value for name, value in options.items()})
    left_out = {"chain_variances", "chain_levels", *absent}
    assert set(options_in_use(config)) == set(config.likelihood) - left_out


@pytest.mark.parametrize("draws", [0, 64])
def test_a_decoder_of_the_ode_alone_is_taken_with_a_chain(draws):
    config = of({**CHAIN, "likelihood.decoder": "gaussian", "likelihood.bound_draws": draws})
    check(config, build_sde(config))


def test_the_record_of_a_chain_has_what_its_bound_depends_on():
    values = np.zeros((1, 7))
    measured = BitsPerDim(None, Measured(values, values, values), None, 1.5, True, True)
    config, loaded = of({**INTEGERS, "likelihood.ode": False}), LoadedScore(None, 6)
    record = described(config, loaded, measured)
    assert record["bound_on"] == "the chain, of integer images"
    assert record["chain_variances"] == "ancestral"
    assert not {"eps", "decoder", "dequantization"} & set(record)
    assert not {"chain_levels", "bound_on"} & set(described(of({}), loaded, measured))


def test_a_cost_at_time_0_is_compared_with_no_density_at_eps(tmp_path, monkeypatch):
    """The exact bits/dim of a known density are those of the ODE at eps, not comparable to a measurement with a decoder."""
    config = toy_config()
    config.data.image_size = 2
    config.likelihood.update(decoder="gaussian", num_images=4, batch_size=4)
    values = np.ones((1, 4))
    one = Measured(values, values, values)
    measured = BitsPerDim(one, one, jnp.zeros((4, 2, 2, 1)), 1.0)
    monkeypatch.setattr(likelihood, "measure_bits_per_dim", lambda *_: measured)
    monkeypatch.setattr(likelihood, "save_likelihood_picture", lambda *_: None)
    for decoder in ("gaussian", "none"):
        config.likelihood.decoder = decoder
        figures = likelihood.run(config, build_sde(config), tmp_path)
        assert ("largest_difference" in figures) == (decoder == "none")


def test_batches_of_another_version_are_used_and_recorded(tmp_path, monkeypatch):
    """With the seconds that they took. Nothing is measured again."""
    config = toy_config()
    config.data.image_size = 2
    config.likelihood.update(ode=False, bound_draws=4, num_images=8, batch_size=4)
    sde = build_sde(config)
    with monkeypatch.context() as patch:
        patch.setattr(likelihood, "summary", lambda _: {}[""])
        with pytest.raises(KeyError):
            likelihood.run(config, sde, tmp_path)
    as_of_version_0_9(tmp_path)
    monkeypatch.setattr(bits_per_dim, "check_finite", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr(likelihood, "save_likelihood_picture", lambda *_: None)
    check_of_both(likelihood.run(config, sde, tmp_path))


def test_batches_of_the_anomalies_are_recorded_too(tmp_path, monkeypatch):
    """Those of both are of another version, and of another each."""
    config = toy_config()
    config.data.image_size = 2
    config.likelihood.update(ode=False, bound_draws=4, num_images=8, batch_size=4)
    np.savez(tmp_path / "odd.npz", images=np.zeros((5, 2, 2, 1), np.float32))
    config.likelihood.anomalies = str(tmp_path / "odd.npz")
    sde = build_sde(config)
    with monkeypatch.context() as patch:
        patch.setattr(likelihood, "detection", lambda *_: {}[""])
        with pytest.raises(KeyError):
            likelihood.run(config, sde, tmp_path)
    for version, file in enumerate(tmp_path.rglob("unfinished-*/commands.json")):
        by = {"version": str(version), "commit": None, "device": "cpu", "seconds": 1000.0}
        file.write_text(json.dumps([by]))
    monkeypatch.setattr(likelihood, "save_likelihood_picture", lambda *_: None)
    figures = likelihood.run(config, sde, tmp_path)
    assert {one["version"] for one in figures["batches_made_by"]} == {"0", "1"}
    assert 2000 < figures["seconds"] < 3000
