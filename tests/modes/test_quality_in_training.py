"""Quality of samples during training: the figures of --mode evaluate, once per step whatever interrupts the run."""

import json
import os
import signal

import jax
import numpy as np
import pytest

from score_sde.configs.vp_digits import get_config
from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.models.networks import NETWORKS, build_network
from score_sde.modes import drawn_in_training, evaluate, train
from score_sde.sde_lib import build_sde
from score_sde.training.checkpoints import saved_steps
from score_sde.training.lock import alone_in
from tests.training.stub_network import StubNetwork


@pytest.fixture(autouse=True)
def _stub(monkeypatch):
    monkeypatch.setitem(NETWORKS, "stub", StubNetwork)


def small():
    """Four updates of two layers, and after every second 80 samples of 2x2 numbers by three steps."""
    config = get_config()
    config.model.update(name="stub", nf=8)
    config.data.update(name="mixture", image_size=2, num_levels=0)
    config.sampling.update(sampler="pc", batch_size=40)
    config.sampling.pc.num_steps = 3
    config.training.update(batch_size=8, n_iters=4, log_freq=1, eval_freq=0, snapshot_freq=0)
    config.training.update(quality_freq=2, quality_images=80)
    config.training.update(checkpoint_freq=2, keep_checkpoints=1)
    return config


def trained(config, folder):
    folder.mkdir(exist_ok=True)
    sde = build_sde(config)
    return train.run(config, sde, folder, *train.check(config, sde))


def recorded(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    speed = {"images_per_second"}
    return [{k: v for k, v in json.loads(line).items() if k not in speed} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "stub", StubNetwork)
        return folder, trained(small(), folder)


def test_the_figures_are_those_of_evaluate(whole, tmp_path):
    """The same samples compared with the same images; only the halves for the limit are drawn differently."""
    folder, figures = whole
    config = drawn_in_training.quality_config(small())
    sde = build_sde(config)
    found = evaluate.run(config, sde, folder, *evaluate.check(config, sde))
    for name in ("frechet", "frechet_error"):
        assert figures[name] == found[name]
    apart = abs(figures["frechet_limit"] - found["frechet_limit"])
    assert apart < found["frechet_limit_error"]
    assert figures["frechet_limit"] < figures["frechet"]
    lines = [line for line in recorded(folder) if "frechet" in line]
    assert [line["step"] for line in lines] == [2, 4]
    assert lines[1]["frechet"] == pytest.approx(figures["frechet"], rel=1e-7)
    assert lines[0]["frechet"] != lines[1]["frechet"]


def test_a_run_that_is_stopped_in_its_sampling_has_the_same_record(whole, tmp_path, monkeypatch):
    """Stopped while sampling after the second update, and after the fourth before it is saved."""
    look = drawn_in_training.frechet_figures
    stops = iter([True, False])

    def stopped(x, real, seed, strata):
        if next(stops):
            os.kill(os.getpid(), signal.SIGTERM)
        return look(x, real, seed, strata)

    monkeypatch.setattr(drawn_in_training, "frechet_figures", stopped)
    assert trained(small(), tmp_path)["stopped_by"] == "SIGTERM"
    figures = trained(small(), tmp_path)
    assert recorded(tmp_path) == recorded(whole[0])
    assert {name: figures[name] for name in ("frechet", "frechet_limit")} == {
        name: whole[1][name] for name in ("frechet", "frechet_limit")
    }
    assert next(stops, "all asked") == "all asked"


# That samples do not depend on devices has a test in every run, tests/generation/test_batch_widths.py.
@pytest.mark.slow
def test_one_device_finds_what_four_find(tmp_path, monkeypatch):
    """Bit for bit, since samples are rounded to levels."""
    config = small()
    config.data.update(name="digits", image_size=8, num_levels=17)
    config.evaluation.num_reference = 100
    sde = build_sde(config)
    params = jax.jit(lambda: build_network(config).init(
        jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32), np.zeros(1, np.float32)
    ))()["params"]  # fmt: skip
    four = drawn_in_training.quality_of(config, sde, tmp_path).evaluate(params, 1)
    monkeypatch.setattr(
        "score_sde.generation.generate.build_devices", lambda _: PmapDevices((jax.devices()[0],))
    )
    one = drawn_in_training.quality_of(config, sde, tmp_path).evaluate(params, 2)
    assert one == four


def test_the_best_by_the_distance_stays(tmp_path, monkeypatch):
    distances = iter([1.0, 3.0, 2.0])
    find = drawn_in_training.frechet_figures

    def said(x, real, seed, strata):
        found = find(x, real, seed, strata)
        return {"frechet": found["frechet"]._replace(value=next(distances))}

    monkeypatch.setattr(drawn_in_training, "frechet_figures", said)
    config = small()
    config.training.update(n_iters=6, keep_best=1, keep_best_by="frechet")
    trained(config, tmp_path)
    assert saved_steps(tmp_path / "checkpoints") == [2, 6]


def test_a_mean_and_a_covariance_are_refused(tmp_path):
    np.savez(tmp_path / "law.npz", mu=np.zeros(4), sigma=np.eye(4))
    config = small()
    config.evaluation.reference = str(tmp_path / "law.npz")
    with pytest.raises(UserError, match="quality_freq needs real images"):
        drawn_in_training.quality_of(config, build_sde(config), tmp_path)


def test_few_samples_have_no_limit(tmp_path, capsys):
    config = small()
    config.data.image_size = 5
    config.training.update(quality_images=100, keep_best=1)  # four times as many as numbers
    drawn_in_training.quality_of(config, build_sde(config), tmp_path)
    assert "so only the distance of 100 images is measured" in capsys.readouterr().err
    config.training.keep_best_by = "frechet_limit"
    with pytest.raises(UserError, match="more than 100 of each; use more, or set .*=frechet$"):
        drawn_in_training.quality_of(config, build_sde(config), tmp_path)


def test_few_condition_images_are_said_to_be_and_have_no_limit(tmp_path, monkeypatch, capsys):
    """80 samples of 2x2 numbers would have one, and so have those of 17 images."""
    config = small()
    for number, said in ((17, ""), (16, "quality_images=80 on 16 condition images and 2048 real")):
        monkeypatch.setattr(drawn_in_training, "reused", lambda *_, number=number: number)
        drawn_in_training.quality_of(config, build_sde(config), tmp_path)
        found = capsys.readouterr().err
        assert f"80 samples take only {number} different condition or start images in turn" in found
        assert said in found
        assert bool(said) == ("so only the distance" in found)
    config.training.update(keep_best=1, keep_best_by="frechet_limit")
    with pytest.raises(UserError, match="on 16 condition images and 2048 real images"):
        drawn_in_training.quality_of(config, build_sde(config), tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"evaluation.features": "none.pth"}, "evaluation.features='none.pth': no such file"),
        ({"evaluation.reference": "none.npz"}, "evaluation.reference='none.npz': no such file"),
        ({"training.quality_images": 19}, "quality_images=19: expected 20 or more"),
        (
            {"sampling.t_start": 0.5, "sampling.start_images": "test"},
            "the samples that are judged in training start from the prior: .*training.quality_freq=0",
        ),
        (
            {"sampling.pc.predictor": "ancestral_sampling_optimal"},
            "the samples that are judged in training have no denoising errors",
        ),
        ({"sampling.batch_size": 6}, "sampling.batch_size=6 on 4 devices"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_read(fields, words):
    config = small()
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=words):
        train.check(config, build_sde(config))


def test_what_cannot_begin_is_refused_before_real_images_are_embedded(tmp_path, monkeypatch):
    """No start without the weights to start from, none beside another run, and none with another network."""
    monkeypatch.setattr(train, "quality_of", lambda *_: pytest.fail("features were made"))
    config = small()
    config.training.init_from = str(tmp_path / "none")
    with pytest.raises(UserError, match="training.init_from='.*none' does not exist"):
        trained(config, tmp_path / "new")
    assert not [*(tmp_path / "new").iterdir()]
    with (
        alone_in(tmp_path / "taken"),
        pytest.raises(UserError, match="another run is training in .*taken"),
    ):
        trained(small(), tmp_path / "taken")
    begun = small()
    begun.training.update(quality_freq=0, n_iters=1)
    trained(begun, tmp_path / "begun")
    config = small()
    config.model.nf = 16
    with pytest.raises(UserError, match="model.nf"):
        trained(config, tmp_path / "begun")


def test_too_few_real_images_are_refused_before_training(tmp_path):
    config = small()
    config.evaluation.num_reference = 19
    with pytest.raises(UserError, match="quality_freq with 19 real images .* needs 20 or more"):
        trained(config, tmp_path)
    assert not [*tmp_path.iterdir()]
