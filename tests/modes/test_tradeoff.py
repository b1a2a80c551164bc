"""--mode tradeoff on data known in closed form: the distance tends to 0, bits/dim are exact, and no row is computed twice."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm

from score_sde import data
from score_sde.configs.toy_mixture import get_config
from score_sde.data.mixture import mixture_parameters
from score_sde.errors import UserError
from score_sde.features.extractors import Extractor
from score_sde.generation.generate import Generator
from score_sde.json_output import only_json
from score_sde.modes import evaluate, kept_rows, tradeoff
from score_sde.quality.estimate import Estimate
from score_sde.quality.tradeoff_table import plus_minus, with_error
from score_sde.sde_lib import build_sde
from score_sde.unfinished import changed
from score_sde.version import made_by


def small(samplers="ddim: 4 16 64, dopri5 adaptive: 0.01"):
    """Four numbers an image, which know nothing of each other; the exact score."""
    config = get_config()
    config.data.image_size = 2
    config.sampling.update(num_images=600, batch_size=600)
    config.tradeoff.samplers = samplers
    config.likelihood.update(probe="exact", bound_draws=0, num_images=64, batch_size=64)
    return config


def measured(config, folder):
    sde = build_sde(config)
    return tradeoff.run(config, sde, folder, *tradeoff.check(config, sde))


def recorded(folder, mode="tradeoff"):
    lines = map(json.loads, (folder / "results.jsonl").read_text().splitlines())
    return [line for line in lines if line["mode"] == mode]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return folder, measured(small(), folder)


def test_the_distance_goes_to_0_as_evaluations_grow(toy):
    """Within four errors (false alarm 1 in 16,000); few steps are far off, and the order of DDIM is at least 1."""
    real, _, *few_to_many, adaptive = toy[1]["rows"]
    for row in (real, few_to_many[-1], adaptive):
        assert abs(row["frechet_limit"]) < 4 * row["frechet_limit_error"]
    assert few_to_many[0]["frechet_limit"] > 10 * few_to_many[0]["frechet_limit_error"]
    distances = [row["frechet_limit"] for row in few_to_many]
    assert distances == sorted(distances, reverse=True)
    assert [row["nfe"] for row in few_to_many] == [4, 16, 64]
    assert [row["num_steps"] for row in few_to_many] == [3, 15, 63]
    assert few_to_many[0]["steps"] == "3 on log_snr"
    assert adaptive["steps"] == "tolerance 0.01"
    assert (real["name"], real["nfe"], real["num_images"]) == ("real images (test)", None, 256)


def test_bits_per_dim_are_those_of_the_law(toy):
    """From the density of the data, to which the ODE's is as close as its tolerance and the prior allow."""
    found = toy[1]["rows"][1]
    weights, means, variances = mixture_parameters(small().data)
    images = data.load(small()).test.images[:64].astype(np.float64)
    density = sum(
        w * norm.pdf(images, m, np.sqrt(v))
        for w, m, v in zip(weights, means, variances, strict=True)
    )
    bits = -np.log2(density).mean(axis=(1, 2, 3))
    assert found["ode_bits_per_dim"] == pytest.approx(bits.mean(), abs=1e-3)
    assert found["ode_standard_error"] == pytest.approx(bits.std(ddof=1) / 8, rel=1e-2)


def test_a_row_is_what_evaluate_finds(toy, tmp_path):
    config = small()
    config.sampling.sampler = "ddim"
    config.sampling.exponential.num_steps = 3
    config.sampling.grid.name = "log_snr"
    sde = build_sde(config)
    found = evaluate.run(config, sde, tmp_path, *evaluate.check(config, sde))
    row = toy[1]["rows"][2]
    names = {
        f"{name}{end}" for name in ("frechet_limit", "kid", "recall") for end in ("", "_error")
    }
    assert {name: row[name] for name in names} == {name: found[name] for name in names}
    assert row["nfe"] == found["nfe"]


def test_beside_a_mean_and_a_covariance_there_is_no_table(tmp_path):
    """Such a reference has no nearest neighbors; refused before anything is drawn."""
    config = small()
    d = int(np.prod(data.load(config).train.images.shape[1:]))
    np.savez(tmp_path / "law.npz", mu=np.zeros(d), sigma=np.eye(d))
    config.evaluation.reference = str(tmp_path / "law.npz")
    with pytest.raises(UserError, match="contains only a mean and covariance"):
        tradeoff.Judge(config, tmp_path)


def test_table_and_picture_are_written_beside_the_record(toy, capsys):
    folder, figures = toy
    rows = figures["rows"]
    assert [row["name"] for row in recorded(folder)] == [
        row["name"] for row in rows if row["mode"] == "tradeoff"
    ]
    assert len(recorded(folder, "likelihood")) == 1
    text = (folder / "tradeoff" / "step0-seed42.md").read_text()
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| ddim")]
    assert [(line[1], line[2]) for line in cells] == [
        ("3 on log_snr", "4"),
        ("15 on log_snr", "16"),
        ("63 on log_snr", "64"),
    ]
    last = rows[4]
    assert cells[2][4] == with_error(Estimate(last["frechet_limit"], last["frechet_limit_error"]))
    bits = Estimate(rows[1]["ode_bits_per_dim"], rows[1]["ode_standard_error"])
    assert f"Bits/dim of 64 images (test): {with_error(bits)} (the ODE's law)." in text
    assert Image.open(figures["picture"]).size[0] > 500


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    """Interrupted in the second sampler; then with another sampler in the list; then with the first alone."""
    drawn, draw = [], Generator.draw

    def counted(self, *arguments):
        drawn.append(self.name)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return draw(self, *arguments)

    monkeypatch.setattr(Generator, "draw", counted)

    def config(samplers):
        found = small(samplers)
        found.tradeoff.bits_per_dim = False
        return found

    with pytest.raises(KeyboardInterrupt):
        measured(config("ddim: 3, dpm_solver_pp_2m: 3"), tmp_path)
    two = measured(config("ddim: 3, dpm_solver_pp_2m: 3"), tmp_path)["rows"]
    assert len(drawn) == 3
    three = measured(config("deis_t_1: 3, ddim: 3, dpm_solver_pp_2m: 3"), tmp_path)["rows"]
    assert len(drawn) == 4
    assert [row["name"] for row in three[1:]] == ["deis_t_1", "ddim", "dpm_solver_pp_2m"]
    assert [three[0], *three[2:]] == two
    with monkeypatch.context() as patch:
        patch.setattr(Extractor, "extract_taken", lambda *_: pytest.fail("makes features"))
        again = measured(config("ddim: 3"), tmp_path)
    assert (again["rows"], len(drawn)) == (two[:2], 4)
    assert [row["name"] for row in recorded(tmp_path)][1:] == [
        "ddim",
        "dpm_solver_pp_2m",
        "deis_t_1",
    ]
    other = config("ddim: 3")
    other.seed = 1
    measured(other, tmp_path)
    assert len(drawn) == 5


def test_a_program_is_given_every_row_and_the_files(toy, capsys):
    """When the command is repeated too, which adds nothing to results.jsonl."""
    folder, figures = toy
    lines = (folder / "results.jsonl").read_text()
    with only_json(mode="tradeoff"):
        again = measured(small(), folder)
    records = json.loads(capsys.readouterr().out)["records"]
    assert records == [
        *json.loads(json.dumps(figures["rows"])),
        {"mode": "tradeoff", "table": again["table"], "picture": again["picture"]},
    ]
    assert (folder / "results.jsonl").read_text() == lines


def test_few_images_have_no_limit(tmp_path):
    config = small("ddim: 3")
    config.sampling.update(num_images=16, batch_size=16)
    config.tradeoff.bits_per_dim = False
    with pytest.raises(UserError, match="16 images and 2048 real ones: .* need 20 of each"):
        measured(config, tmp_path)
    config.data.image_size = 3
    config.sampling.update(num_images=36, batch_size=36)
    figures = measured(config, tmp_path)
    text = (tmp_path / "tradeoff" / "step0-seed42.md").read_text()
    assert "frechet_limit" not in figures["rows"][1]
    assert (
        "36 samples and 2048 real images are too few for the limit of the Frechet distance" in text
    )


def test_few_start_images_are_said_to_be(tmp_path):
    """In place of the number of samples theirs decides whether there is a limit: 16 of 2x2 numbers are too few."""
    config = small("ddim: 3")
    config.tradeoff.bits_per_dim = False
    np.savez(tmp_path / "start.npz", images=data.load(config).test.take(np.arange(16)).images)
    config.sampling.update(t_start=0.5, start_images=str(tmp_path / "start.npz"))
    figures = measured(config, tmp_path)
    with open(figures["table"]) as file:
        text = file.read()
    assert "600 samples take only 16 different condition or start images in turn" in text
    assert "600 samples of 16 images and 2048 real images are too few for the limit" in text
    assert figures["rows"][1]["different_images"] == 16
    assert "frechet_limit" not in figures["rows"][1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"evaluation.per_class": True},
            "evaluation.per_class=True with --mode tradeoff, whose table has no lines for each class",
        ),
        ({"tradeoff.samplers": "huen"}, "tradeoff.samplers='huen' is unknown"),
        ({"tradeoff.grid": "cosine"}, "sampling.grid.name='cosine' is unknown"),
        ({"tradeoff.evaluations": ()}, "evaluations=.*: expected numbers of evaluations"),
        ({"tradeoff.tolerances": (0.0,)}, "tolerances=.*: expected positive numbers"),
        ({"evaluation.images": "test"}, "evaluation.images='test' with --mode tradeoff"),
        ({"evaluation.reference": "none.npz"}, "evaluation.reference='none.npz': no such file"),
        ({"likelihood.ode": False}, "leave nothing to measure"),
    ],
)
def test_what_cannot_be_compared_is_refused(fields, words):
    config = small()
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=words):
        tradeoff.check(config, build_sde(config))


def test_steps_that_a_sampler_refuses_are_left_out_and_said(capsys):
    """Under `cosine` few steps of the SDE are unstable: the table has the others, and is refused where there are none."""
    config = small("ddim, sde shark")
    config.sde.name, config.tradeoff.evaluations = "cosine", (10, 20, 40)
    (found,) = tradeoff.check(config, build_sde(config))
    assert [(one.run.entry.name, one.steps) for one in found] == [
        *(("ddim", f"{n - 1} on log_snr") for n in (10, 20, 40)),
        ("sde shark", "19 on log_snr"),
    ]
    said = capsys.readouterr().err
    assert "left out of the table, sde shark in 4 on log_snr, 9 on log_snr: sampl" in said
    config.tradeoff.samplers = "ddim, sde shark: 10 20"
    with pytest.raises(UserError, match=r"sampling.sde.num_steps=4 .* take 10 or more"):
        tradeoff.check(config, build_sde(config))


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (2.0003, 0.0142, "2.000 ± 0.014"),
        (0.05, 0.0099, "0.0500 ± 0.0099"),
        (0.9, 0.1, "0.90 ± 0.10"),
        (123.4, 12.3, "123 ± 12"),
        (8.12, 3.2, "8.1 ± 3.2"),
        (1.0, 0.0, "1.00 ± 0.00"),
        (-0.0004, 0.025, "0.000 ± 0.025"),
    ],
)
def test_an_error_has_two_digits(value, error, words):
    assert with_error(Estimate(value, error)) == words


def test_it_is_said_what_plus_minus_means(toy):
    """With ten blocks, Student's factor is 2.26."""
    text = (toy[0] / "tradeoff" / "step0-seed42.md").read_text()
    assert (
        "95% intervals reach 1.96 of them to either side, of KID, by its 10 blocks, 2.26." in text
    )


def test_real_images_of_another_number_have_another_factor():
    """Student's factor at 97.5 % is 2.262 for 9 degrees of freedom and 2.010 for 49 (any printed table)."""
    said = plus_minus(50_000, 10_000)
    assert "its 50 blocks, 2.01 (in the row of real images, 10 blocks, 2.26)." in said
    assert "real images" not in plus_minus(10_000, 300)


def test_rows_of_another_version_are_named(tmp_path, monkeypatch):
    """Also rows that were stored before the version was; none of the rows of this version."""

    def table(samplers):
        config = small(samplers)
        config.tradeoff.bits_per_dim = False
        with open(measured(config, tmp_path)["table"]) as file:
            return file.read()

    with monkeypatch.context() as patch:
        patch.setattr(kept_rows, "made_by", lambda: {"version": "0.9", "commit": "0" * 40})
        assert "another version" not in table("ddim: 3")
    row = max((tmp_path / "tradeoff" / "rows").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    text = table("ddim: 3, deis_t_1: 3")
    (note,) = [line for line in text.splitlines() if line.startswith("Kept from another version")]
    assert "ddim, 2 on log_snr (score-sde 0.9 (commit 000000000000))" in note
    assert "deis" not in note
    kept = json.loads(row.read_text())
    row.write_text(json.dumps({name: kept[name] for name in kept.keys() - made_by().keys()}))
    assert "ddim, 2 on log_snr (an unrecorded version)" in table("ddim: 3")


def test_real_images_are_equally_many_of_each_class(tmp_path):
    """Of classes whose images are all the same, any such set has the same distance, which hence has no error."""
    config, path = small(), tmp_path / "classes.npz"
    of_class = np.random.default_rng(0).integers(0, 200, (6, 2, 2, 1), np.uint8)
    labels = np.repeat(np.arange(6), 20)
    arrays = {"images": of_class[labels], "test_images": (of_class // 2)[labels]}
    np.savez(path, labels=labels, test_labels=labels, **arrays)
    config.data.update(name="arrays", file=str(path), image_size=2, num_levels=256)
    (real,) = tradeoff.real_images(tradeoff.Judge(config, tmp_path), tmp_path)
    figures = real.make().figures
    assert figures["frechet_error"] < 1e-6 < figures["frechet"]


def test_another_reference_file_of_the_same_name_makes_other_rows(tmp_path):
    config, path = small(), tmp_path / "reference.npz"
    np.savez(path, images=np.zeros((30, 2, 2, 1), np.float32))
    config.evaluation.reference = str(path)
    before = tradeoff.Judge(config, tmp_path).identity
    assert tradeoff.Judge(config, tmp_path).identity == before
    os.utime(path, (2e9, 2e9))
    assert tradeoff.Judge(config, tmp_path).identity != before


def test_other_images_of_the_same_names_and_sizes_are_other_rows(tmp_path):
    """Both for the data, compared by contents, and for a reference folder."""
    config, path = small(), tmp_path / "data.npy"
    config.data.update(name="arrays", file=str(path), image_size=8, num_levels=256)
    config.evaluation.reference = "train"
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1)).astype(np.uint8)
    found = []
    for contents in (images, images, 255 - images):
        np.save(path, contents)
        found.append(tradeoff.Judge(config, tmp_path).identity)
    assert found[0] == found[1] != found[2]
    folder = tmp_path / "pictures"
    folder.mkdir()
    before = changed(str(folder))
    (folder / "a.png").touch()
    os.utime(folder / "a.png", (2e9, 2e9))
    assert before < changed(str(folder)) == 2e9
