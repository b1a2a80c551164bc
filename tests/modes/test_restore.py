"""--mode restore: posteriors in closed form, resuming interrupted commands, and refusals."""

import json
import re
from pathlib import Path

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from score_sde import data
from score_sde.configs.subvp_digits import get_config as digits_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.configs.vp_captions import get_config as captions_config
from score_sde.data.array_files import read_images
from score_sde.errors import UserError
from score_sde.evaluation.affine_law import affine_law
from score_sde.evaluation.pictures import shades
from score_sde.generation.generate import Generator
from score_sde.keys import seed_key
from score_sde.measurements.configured import build_measurement
from score_sde.measurements.coordinates import Coordinates
from score_sde.measurements.masks import without_box
from score_sde.measurements.measurement import Measurement
from score_sde.models.exact import GaussianScore
from score_sde.models.score import WithoutCondition
from score_sde.models.thresholding import ThresholdedScore
from score_sde.modes import restore
from score_sde.quality.image_sets import KEYS
from score_sde.restoration.draws import build_drawer
from score_sde.restoration.figures import Restored
from score_sde.restoration.methods import METHODS, configured_for
from score_sde.restoration.observed import Observed, observe
from score_sde.restoration.options import RestoreOptions
from score_sde.restoration.picture import save_restored
from score_sde.restoration.table import table, title
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.imputation import MCG, imputing
from score_sde.samplers.noise import START, IndexedNoise
from score_sde.samplers.options import SamplingOptions
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import PREDICTORS, tweedie
from score_sde.sde_lib import VP, build_sde, expand
from score_sde.spaces import build_space
from score_sde.training.trained_score import load_score_model
from score_sde.version import made_by
from tests.earlier_commands import as_of_version_0_9, check_of_both

MEAN, VARIANCE, SIGMA_Y = 0.2, 0.5, 0.4
N, DRAWS = 40, 9


def of_toy(method="mmps", sigma_y=SIGMA_Y, num_images=N, draws=DRAWS, steps=60):
    """2x2 numbers N(.2, .5), two of which are measured, by ancestral sampling on a grid of equal steps of log-SNR."""
    config = toy_config()
    config.data.update(
        image_size=2,
        mixture_weights=(1.0,),
        mixture_means=(MEAN,),
        mixture_variances=(VARIANCE,),
    )
    config.sampling.update(sampler="pc", batch_size=360)
    config.sampling.pc.update(predictor="ancestral_sampling", corrector="none", num_steps=steps)
    config.sampling.grid.name = "log_snr"
    config.restore.update(method=method, num_images=num_images, draws=draws)
    config.restore.update({"iterations": 1} if method == "mmps" else {})
    config.restore.measurement.update(name="half", sigma_y=sigma_y)
    return config


def restored(config, folder):
    sde = build_sde(config)
    restore.check(config, sde)
    return restore.run(config, sde, folder)


def arrays_of(figures):
    with np.load(figures["arrays"]) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    figures = restored(of_toy(), folder)
    return folder, figures, arrays_of(figures)


def test_draws_are_the_posteriors(toy):
    """The posterior of each number is known: normalized draws have mean 0 and variance 1, within 4.9 standard errors plus a thousandth
    for the grid, with a false alarm in 250,000."""
    _, figures, arrays = toy
    gain = VARIANCE / (VARIANCE + SIGMA_Y**2)
    known = arrays["y"].reshape(N, 2)
    mean, variance = np.full((N, 2, 2), MEAN), np.full((2, 2), VARIANCE)
    mean[:, :, 0], variance[:, 0] = MEAN + gain * (known - MEAN), VARIANCE * (1 - gain)
    z = (arrays["draws"][..., 0] - mean[:, None]) / np.sqrt(variance)
    for column in range(2):
        part = z[..., column]
        assert abs(part.mean()) < 4.9 / np.sqrt(part.size) + 0.01
        assert part.var() == pytest.approx(1.0, abs=4.9 * np.sqrt(2 / part.size) + 0.01)
    assert figures["nfe"] == 61
    assert figures["jacobian_products"] == 122


def test_the_record(toy):
    """Every distance is that of the arrays, and its error that of a mean over forty images."""
    folder, figures, arrays = toy
    record = json.loads((folder / "results.jsonl").read_text())
    assert record.pop("date")
    assert record == {**figures, **made_by()}
    assert (record["measurement_known"], "measurement_fraction" in record) == ("left", False)
    assert "given half (known=left) with sigma_y=0.4" in title(figures)
    assert Path(record["arrays"]).name == "half-knownleft-mmps-seed42.npz"

    def distances(images):
        """Of y from the left halves, in units of its noise."""
        y = arrays["y"].reshape(N, *[1] * (images.ndim - 4), 2)
        return np.sqrt(np.square(images[..., 0, 0] - y).mean(axis=-1)) / SIGMA_Y

    for name, of_each in (
        ("residual_draw", distances(arrays["draws"]).mean(axis=1)),
        ("residual_mean", distances(arrays["mean"])),
        ("residual_original", distances(arrays["x"])),
        ("rms_mean", np.sqrt(np.square(arrays["mean"] - arrays["x"]).mean(axis=(1, 2, 3)))),
    ):
        assert figures[name] == pytest.approx(of_each.mean(), rel=1e-5), name
        error = of_each.std(ddof=1) / np.sqrt(N)
        assert figures[f"{name}_error"] == pytest.approx(error, rel=1e-5), name
    assert min(figures["ranks_p_value"], figures["coverage_p_value"]) > 1e-3
    assert not [path for path in (folder / "restored").iterdir() if path.is_dir()]


def test_an_interrupted_command_goes_on_and_batches_do_not_matter(toy, tmp_path, monkeypatch):
    drawn, draw = [], Generator.draw

    def counted(self, *arguments):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(1)
        return draw(self, *arguments)

    config = of_toy()
    config.sampling.batch_size = 140  # of 360
    monkeypatch.setattr(Generator, "draw", counted)
    with pytest.raises(KeyboardInterrupt):
        restored(config, tmp_path)
    drawn.clear()
    as_of_version_0_9(tmp_path)
    figures = restored(config, tmp_path)
    check_of_both(figures)
    found = arrays_of(figures)
    assert len(drawn) == 1
    np.testing.assert_allclose(found["draws"], toy[2]["draws"], atol=1e-5)


def test_draws_go_on_with_the_same_measurements_only(tmp_path):
    config = of_toy()
    loaded = load_score_model(config, build_sde(config), tmp_path)
    y = np.ones((N, 2), np.float32)

    def known(**changes):
        return restore.identity(config, tmp_path, loaded, Observed(y)._replace(**changes))

    assert known() == known()
    for changes in ({"y": 2 * y}, {"labels": np.zeros(N, np.int32)}, {"texts": np.ones((N, 1))}):
        assert known(**changes) != known()


def test_originals_are_no_results(toy, tmp_path):
    """No option for images reads them, whether the file has their name or that of earlier versions."""
    _, figures, arrays = toy
    with pytest.raises(UserError, match="has draws, .*expected images or arr_0"):
        read_images(of_toy(), "evaluation.images", figures["arrays"], KEYS)
    arrays = {name: array for name, array in arrays.items() if name != "originals"}
    np.savez(path := tmp_path / "old.npz", images=toy[2]["originals"], **arrays)
    with pytest.raises(UserError, match="has `draws` beside `images`, which are the originals"):
        read_images(of_toy(), "evaluation.images", str(path), KEYS)


def test_measurements_as_they_are(toy, tmp_path):
    """The same draws from y in a file; figures that need originals are left out."""
    np.savez(tmp_path / "y.npz", y=toy[2]["y"])
    config = of_toy()
    config.restore.measured = str(tmp_path / "y.npz")
    found = restored(config, tmp_path)
    np.testing.assert_array_equal(arrays_of(found)["draws"], toy[2]["draws"])
    assert found["residual_draw"] == toy[1]["residual_draw"]
    assert not {"rms_mean", "ranks_p_value", "residual_original"} & found.keys()
    for wrong, words in (
        ({"x": np.ones((3, 2))}, "has x, expected y"),
        ({"y": np.ones((N, 3))}, r"y has the shape \(40, 3\), expected \(n, 2\)"),
        ({"y": np.ones((3, 2))}, "num_images=40 of restore.measured, which has 3"),
    ):
        np.savez(tmp_path / "y.npz", **wrong)
        with pytest.raises(UserError, match=words):
            restored(config, tmp_path)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "has no `labels`"),
        (np.arange(4), "4 labels for 3 y"),
        (np.array([1.9, 2.5, 0.0]), r"labels is float64 of shape \(3,\), expected integers"),
        (np.array([True, False, True]), "labels is bool"),
        (np.array(["1", "2", "0"]), "labels is <U1"),
        (np.array([[1], [2], [0]]), r"of shape \(3, 1\)"),
        (np.array([1, 10, 0]), "labels from 0 to 10, expected 0 to 9"),
    ],
)
def test_labels_of_measurements_that_are_none_are_refused(tmp_path, labels, words):
    config = digits_config()
    config.model.num_classes = 10
    config.restore.update(measured=str(tmp_path / "y.npz"), num_images=3)
    config.restore.measurement.update(name="half", sigma_y=0.1)
    space = build_space(config)
    measurement = restore.measurement_of(config, space)
    y = np.zeros((3, *measurement.linear.measured_shape))
    np.savez(tmp_path / "y.npz", y=y, labels=np.array([1, 9, 0]))
    np.testing.assert_array_equal(observe(config, space, measurement).labels, [1, 9, 0])
    np.savez(tmp_path / "y.npz", y=y, **({} if labels is None else {"labels": labels}))
    with pytest.raises(UserError, match=f"{words}.* by --config.sampling.labels of which class"):
        observe(config, space, measurement)


def test_another_seed_is_another_measurement():
    y = []
    for seed in (1, 2):
        config = of_toy(num_images=3)
        config.seed = seed
        space = build_space(config)
        y.append(observe(config, space, restore.measurement_of(config, space)).y)
    assert np.abs(y[0] - y[1]).min() > 1e-4
    # Images are measured in batches, each with its own noise: two and one.
    config.sampling.batch_size = 2
    parts = observe(config, space, restore.measurement_of(config, space)).y
    np.testing.assert_allclose(parts, y[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("method", "sigma_y", "nfe", "products"),
    [
        ("tmpd", 0.4, 9, 18),
        ("ddnm", 0.0, 9, 0),
        ("imputation", 0.0, 9, 0),
        ("mcg", 0.0, 9, 8),
        ("repaint", 0.0, 25, 0),
        ("ddrm", 0.0, 8, 0),
        ("pigdm", 0.4, 9, 9),
        ("dps", 0.4, 9, 9),
        ("diffpir", 0.4, 9, 0),
        ("daps", 0.4, 17, 0),
        ("pnpdm", 0.4, 25, 0),
        ("tds", 0.4, 24, 24),
    ],
)
def test_methods_of_every_kind(method, sigma_y, nfe, products, tmp_path):
    """Their costs in eight steps; methods that treat y as exact reproduce it."""
    config = of_toy(method, sigma_y, 4, 2, 8)
    few = {"repeats": 3, "ode_steps": 2, "prior_steps": 3, "particles": 3}
    config.restore.update({name: few[name] for name in few.keys() & {*METHODS[method].settings}})
    config.sampling.batch_size = 8
    found = restored(config, tmp_path)
    assert (found["nfe"], found["jacobian_products"]) == (nfe, products)
    assert np.isfinite(arrays_of(found)["draws"]).all()
    if sigma_y == 0:
        assert found["residual_draw"] < 1e-6
        assert "residual" not in found["ranks_p_values"]
    assert ("noise_removal" in found) == (method != "tds")


def test_the_effective_particles_are_recorded(tmp_path):
    """Those that a script sees of the same draws, also of a last batch that is padded; of one particle 1."""
    config = of_toy("tds", num_images=3, draws=2, steps=8)
    config.restore.particles = 3
    config.sampling.batch_size = 4
    found, sde, space = restored(config, tmp_path), build_sde(config), build_space(config)
    configured, model = configured_for(config, sde), load_score_model(config, sde, tmp_path).model
    measurement = restore.measurement_of(config, space)
    y = jnp.repeat(jnp.asarray(arrays_of(found)["y"]), 2, axis=0)
    score = restore.score_given_measured(config, sde, space, measurement, model)
    noise = IndexedNoise.for_images(seed_key(config.seed), jnp.arange(6))
    sampler, grid = configured.sampler, configured.grid

    @jax.jit
    def last(score):
        x = sde.prior_sample(noise(START, 0, jnp.zeros((6, 2, 2, 1))))
        return sampler.advance(score, grid, noise, 0, 8, sampler.begin(x))

    sizes = np.asarray(last(score.given({"measured": y})).least_size)
    assert 1 < sizes.min() < sizes.max() < 3
    assert found["effective_particles"] == pytest.approx(sizes.mean(), rel=1e-4)
    assert f"{sizes.mean():.3g} of 3 particles are effective" in table(found)
    config.restore.particles = 1
    assert restored(config, tmp_path)["effective_particles"] == 1
    assert "effective_particles" not in restored(of_toy("ddrm", steps=2), tmp_path)


@flax.struct.dataclass
class WrongNoise(WithoutCondition):
    """An exact score, of which the noise is wrong by at most `most`, differently everywhere."""

    exact: GaussianScore
    directions: jax.Array
    most: float = flax.struct.field(pytree_node=False, default=0.02)

    def __call__(self, x, t):
        off = jnp.sin(x.reshape(len(x), -1) @ self.directions + 3 * t[:, None])
        score = self.exact(x, t)
        return score - self.most * off.reshape(x.shape) / expand(self.exact.sde.sigma(t), x)


def sixteen_numbers(sigma_y):
    """4x4 numbers of covariance .9^|i-j| / 9, measured except for a box of six: the generator, the covariance, the measurement with its
    matrix, and what is measured."""
    rng, places = np.random.default_rng(1), np.arange(16)
    prior = 0.9 ** np.abs(places[:, None] - places) / 9
    known = Coordinates.of_mask(without_box((4, 4), (2, 3)), (4, 4, 1))
    a = np.asarray(known.matrix(), np.float64)
    y = a @ rng.multivariate_normal(np.zeros(16), prior) + sigma_y * rng.standard_normal(len(a))
    return rng, prior, known, a, y


def test_a_gradient_through_the_model_stays_bounded():
    """4x4 numbers of covariance .9^|i-j| / 9, measured except for a box of six, by MMPS with the threshold [-1, 1], against the posterior
    by NumPy: the normalized unknown numbers and |y - A x| have mean square 1, up to .4 from the network's own error. With the gradient
    taken through the threshold these were 16 and 7."""
    sde, size, sigma_y = VP(), 16, 0.03
    rng, prior, known, a, y = sixteen_numbers(sigma_y)
    config = digits_config()
    config.sampling.threshold = "static"
    config.restore.method = "mmps"
    exact = GaussianScore.create(jnp.zeros(size), jnp.asarray(prior, jnp.float32), sde)
    network = WrongNoise(exact, jnp.asarray(rng.standard_normal((size, size)), jnp.float32))
    score = restore.score_given_measured(
        config, sde, build_space(config), Measurement.of(known, sigma_y), network
    ).given({"measured": jnp.tile(jnp.asarray(y, jnp.float32), (64, 1))})
    sampler = PredictorCorrector(sde, PREDICTORS["ancestral_sampling"], None)
    noise = IndexedNoise.for_images(jax.random.key(1), jnp.arange(64))
    start = jax.random.normal(jax.random.key(2), (64, 4, 4, 1))
    grid = log_snr_grid(sde, 1.0, 1e-3, 50)

    @jax.jit
    def draw(score):
        return tweedie(score, sde, sampler(score, grid, noise, start).x, grid[-1])

    draws = np.asarray(draw(score)).reshape(64, size)
    gain = prior @ a.T @ np.linalg.inv(a @ prior @ a.T + sigma_y**2 * np.eye(len(a)))
    unknown = a.sum(axis=0) == 0
    spread = np.sqrt(np.diag(prior - gain @ a @ prior))
    z = (draws - gain @ y)[:, unknown] / spread[unknown]
    assert np.square(z).mean() == pytest.approx(1.0, abs=0.6)
    assert np.sqrt(np.square(draws @ a.T - y).mean()) / sigma_y == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    ("method", "sigma_y", "within"), [("mcg", 0.0, (0.4, 1.8)), ("tds", 0.1, (0.4, 2.4))]
)
def test_particles_and_mcg_stay_bounded_with_a_threshold(method, sigma_y, within):
    """The same numbers by a network that is wrong by .3 of the noise, with the threshold [-1, 1]. The unknown numbers, normalized by the
    posterior for TDS, and for MCG by its law for an exact score, which is affine in the noise, have a mean square of 1 up to the
    network's errors and those of four particles: 1.26 and 1.63, with the exact score 1.14 and 1.81, and 60 and 20 without the threshold."""
    sde, size = VP(), 16
    rng, prior, known, a, y = sixteen_numbers(sigma_y)
    config = digits_config()
    config.sampling.threshold, config.sampling.grid.name = "static", "log_snr"
    config.sampling.pc.update(predictor="ancestral_sampling", num_steps=50)
    config.restore.method = method
    config.restore.update({"particles": 4} if method == "tds" else {})
    exact = GaussianScore.create(jnp.zeros(size), jnp.asarray(prior, jnp.float32), sde)
    directions = jnp.asarray(rng.standard_normal((size, size)), jnp.float32)
    score = restore.score_given_measured(
        config,
        sde,
        build_space(config),
        Measurement.of(known, sigma_y),
        WrongNoise(exact, directions, 0.3),
    ).given({"measured": jnp.tile(jnp.asarray(y, jnp.float32), (64, 1))})
    configured = configured_for(config, sde)
    noise = IndexedNoise.for_images(jax.random.key(1), jnp.arange(64))

    @jax.jit
    def draw(score):
        x = configured.sampler(score, configured.grid, noise, jnp.zeros((64, 4, 4, 1))).x
        return tweedie(score, sde, x, configured.grid[-1]) if configured.denoises else x

    draws = np.asarray(draw(score)).reshape(64, size)
    if method == "tds":
        gain = prior @ a.T @ np.linalg.inv(a @ prior @ a.T + sigma_y**2 * np.eye(len(a)))
        mean, covariance = gain @ y, prior - gain @ a @ prior
    else:
        mean, covariance = law_of_mcg(prior, y)
    unknown = a.sum(axis=0) == 0
    z = (draws - mean)[:, unknown] / np.sqrt(np.diag(covariance))[unknown]
    assert within[0] < np.square(z).mean() < within[1]
    assert np.abs(draws).max() < 1.2


def law_of_mcg(prior, y):
    """Mean and covariance of the last state of MCG on N(0, prior), from its matrices."""
    with jax.enable_x64(True):
        known = Coordinates.of_mask(without_box((4, 4), (2, 3)), (4, 4, 1))
        exact = GaussianScore.create(jnp.zeros(len(prior)), jnp.asarray(prior), VP())
        score = imputing(exact, Measurement.of(known, 0.0), VP())
        grid, told = log_snr_grid(VP(), 1.0, 1e-3, 50), {"measured": jnp.asarray(y)}
        law = affine_law(MCG(VP()), score, grid, (4, 4, 1), told, 2)
    return np.asarray(law.mean), np.asarray(law.covariance)


@pytest.mark.parametrize(
    ("method", "sigma_y", "follows"),
    [
        *((name, 0.1, True) for name in ("mmps", "tmpd", "pigdm", "dps", "tds")),
        ("mcg", 0.0, True),
        *((name, 0.1, False) for name in ("ddrm", "diffpir", "daps", "pnpdm")),
    ],
)
def test_gradients_that_nothing_bounds_are_told(method, sigma_y, follows, capsys):
    """Of a network, unless a threshold bounds them; the threshold is the first remedy then."""
    config = digits_config()
    config.restore.update(method=method, num_images=2)
    config.restore.measurement.update(name="half", sigma_y=sigma_y)
    sde, space = build_sde(config), build_space(config)
    measurement, configured = restore.measurement_of(config, space), configured_for(config, sde)

    def built(threshold, model):
        config.sampling.threshold, config.model.name = threshold, model
        score = restore.score_given_measured(config, sde, space, measurement, lambda x, t: -x)
        drawer = build_drawer(config, sde, space, configured, Observed(np.ones((2, 32))), score)
        said = capsys.readouterr().err
        return "set sampling.threshold=static" in said, drawer.remedies

    name = config.model.name
    scale = ("a smaller restore.scale",) if method in ("dps", "mcg") else ()
    said, remedies = built("none", name)
    assert said == follows
    assert remedies[:2] == ("sampling.threshold=static", *scale, "more steps")[:2]
    said, remedies = built("static", name)
    assert not said
    assert remedies[:2] == (*scale, "more steps", "looser tolerances")[:2]
    assert "sampling.threshold=static" not in remedies
    assert built("none", "mixture")[0] is False


@pytest.mark.parametrize(
    ("method", "outermost"),
    [
        *((name, True) for name in ("mmps", "tmpd", "pigdm", "dps")),
        ("diffpir", False),
        ("tds", False),
    ],
)
def test_what_reads_the_measurement_stands_outside_the_threshold(method, outermost):
    """Gradients are thresholded after being added; the other methods change images within the range, and their samplers read
    `score.measurement`."""
    config, sde = digits_config(), VP()
    config.sampling.threshold, config.restore.method = "static", method
    space = build_space(config)
    measurement = restore.measurement_of(config, space)
    score = restore.score_given_measured(config, sde, space, measurement, lambda x, t: -x)
    outer, inner = (score, score.model) if outermost else (score.model, score)
    assert isinstance(outer, ThresholdedScore)
    assert inner.measurement is measurement


def test_errors_that_no_sampler_asks_for_are_not_estimated(tmp_path, monkeypatch):
    """A method with its own sampler does not use sampling.pc; methods that change the score refuse learned variances."""
    monkeypatch.setattr(restore, "optimal_variance", None)
    config = of_toy("ddrm", 0.0, 2, 2, 4)
    config.sampling.pc.predictor = "ancestral_sampling_optimal"
    config.sampling.batch_size = 4
    assert restored(config, tmp_path)["nfe"] == 4
    config.restore.method = "pigdm"
    with pytest.raises(UserError, match="optimal only for images without a measurement"):
        restore.check(config, build_sde(config))


@pytest.mark.parametrize(
    ("method", "ignored"),
    [
        ("imputation", ()),
        ("imputation_published", ()),
        ("pigdm", ()),
        ("mcg", ("pc.corrector='ald'", "snr=0.2", "n_steps_each=3")),
        ("repaint", ("pc.corrector='ald'", "snr=0.2", "n_steps_each=3")),
        *(
            (name, ("pc.predictor='reverse_diffusion'", "pc.corrector='ald'", "snr=0.2", "n_steps_each=3"))
            for name in ("ddrm", "daps", "pnpdm", "tds")
        ),
    ],
)  # fmt: skip
def test_options_that_a_method_does_not_use_are_named(method, ignored):
    """At their defaults none is; the number of steps is used by all."""
    config = of_toy(method)
    config.sampling.grid.name = "uniform"
    config.sampling.pc.predictor = "euler_maruyama"
    config.sampling.snr = SamplingOptions.defaults()["snr"]
    assert configured_for(config, build_sde(config)).note == ""
    config.sampling.pc.update(predictor="reverse_diffusion", corrector="ald")
    config.sampling.update(snr=0.2, n_steps_each=3)
    note = configured_for(config, build_sde(config)).note
    of, _, named = note.partition(" has a sampler of its own, which does not use ")
    assert of == (f"note: restore.method={method!r}" if ignored else "")
    assert {*filter(None, named.removesuffix(" of the config").split(", "))} == {
        f"sampling.{name}" for name in ignored
    }


def test_restoring_takes_small_steps_where_alpha_goes_to_0():
    """`auto` under `cosine`: equal steps of the log-SNR, for each method with a sampler of its own and each predictor."""
    config = of_toy(steps=4)
    config.sde.name, config.sampling.grid.name = "cosine", "auto"
    for predictor in ("euler_maruyama", "reverse_diffusion"):
        config.sampling.pc.predictor = predictor
        for method in ("ddrm", "daps", "pnpdm", "tds", "imputation", "mcg", "repaint"):
            config.restore.method = method
            settings = configured_for(config, build_sde(config)).settings
            assert (method, settings["grid"]) == (method, "log_snr")


def test_what_is_determined_has_no_ranks(tmp_path, monkeypatch, capsys):
    """Every number is measured without noise, so draws differ only by rounding. Unused options are reported as by --mode sample."""
    build = restore.configured_for
    monkeypatch.setattr(
        restore, "configured_for", lambda *given: build(*given)._replace(note="note: not read")
    )
    config = of_toy("ddrm", 0.0, 4, 2, 8)
    config.sampling.batch_size = 8
    config.restore.measurement.update(name="random", fraction=1.0)
    found = restored(config, tmp_path)
    assert found["rms_draw"] < 1e-5
    assert not {"ranks_p_value", "coverage_p_value"} & found.keys()
    said = capsys.readouterr().err
    assert "note: not read" in said
    assert "SBC and TARP are left out" in said


@pytest.mark.parametrize("sigma_y", [0.0, SIGMA_Y])
def test_a_mean_that_is_measured_has_no_rank(tmp_path, capsys, sigma_y):
    """Without noise the mean of the only box is the mean of the image, the same for all draws."""
    config = of_toy("ddrm", sigma_y, 4, 2, 8)
    config.sampling.batch_size = 8
    config.restore.measurement.update(name="box_mean", factor=2)
    found = restored(config, tmp_path)
    assert ("mean" in found["ranks_p_values"]) == (sigma_y > 0)
    said = "determines the mean of an image" in capsys.readouterr().err
    assert said == (sigma_y == 0)


@pytest.mark.parametrize(
    ("fields", "determined"),
    [
        ({}, True),
        ({"restore.measurement.sigma_y": 0.1}, False),
        ({"restore.measurement.fraction": 0.9}, False),
        # y is of the middle of a level, and the image has noise within it.
        ({"restore.method": "trained"}, False),
        ({"restore.method": "trained", "data.uniform_dequantization": False}, True),
    ],
)
def test_when_an_image_is_determined(fields, determined):
    config = digits_config()
    config.restore.measurement.update(name="random", fraction=1.0, sigma_y=0.0)
    config.update_from_flattened_dict(fields)
    measurement = build_measurement(config.restore.measurement, (8, 8, 1), 0)
    assert restore.is_determined(config, measurement) == determined


def test_imputation_as_published(tmp_path):
    """A known pixel ends at its mean at eps with the published times, whose number must exceed beta_max."""
    config = of_toy("imputation_published", 0.0, 4, 2, 25)
    config.sampling.grid.name = "uniform"
    found = restored(config, tmp_path)
    assert (found["nfe"], found["jacobian_products"]) == (25, 0)
    arrays, sde = arrays_of(found), build_sde(config)
    known = arrays["y"].reshape(4, 1, 2)
    np.testing.assert_allclose(
        arrays["draws"][:, :, :, 0, 0],
        np.broadcast_to(float(sde.alpha(jnp.asarray(config.sampling.eps))) * known, (4, 2, 2)),
        rtol=1e-5,
    )


# In every run their laws are held by tests/samplers/test_decoupled.py and test_twisted.py.
@pytest.mark.slow
@pytest.mark.parametrize("method", ["pnpdm", "tds"])
def test_split_gibbs_and_particles_draw_the_posterior(method, tmp_path):
    """It is their limit, unlike that of DAPS. Mean and variance agree within 4.9 standard errors plus the error of few steps and
    particles: a twentieth of the standard deviation and a fifth of the variance."""
    config = of_toy(method, steps=40)
    config.restore.update({"particles": 40} if method == "tds" else {"prior_steps": 10})
    found = arrays_of(restored(config, tmp_path))
    gain = VARIANCE / (VARIANCE + SIGMA_Y**2)
    mean, variance = np.full((N, 2, 2), MEAN), np.full((2, 2), VARIANCE)
    known = found["y"].reshape(N, 2)
    mean[:, :, 0], variance[:, 0] = MEAN + gain * (known - MEAN), VARIANCE * (1 - gain)
    z = (found["draws"][..., 0] - mean[:, None]) / np.sqrt(variance)
    for column in range(2):
        part = z[..., column]
        assert abs(part.mean()) < 4.9 / np.sqrt(part.size) + 0.05
        assert part.var() == pytest.approx(1.0, abs=4.9 * np.sqrt(2 / part.size) + 0.2)


def test_the_help_names_every_method():
    what = RestoreOptions.options()["method"].metadata["what"]
    assert set(METHODS) <= set(re.findall(r"\w+", what))


def test_the_picture(tmp_path):
    """Rows are original, measured, two draws, mean and spread, with a column for each of three images; shades match the values."""
    config = digits_config()
    config.restore.measurement.update(name="half", sigma_y=0.0)
    space = build_space(config)
    measurement = restore.measurement_of(config, space)
    images = np.full((3, 8, 8, 1), 16, np.uint8)
    observed = Observed(np.ones((3, 32), np.float32), originals=images)
    draws = np.stack([np.full((3, 8, 8, 1), shade, np.float32) for shade in (-1.0, 1.0)], axis=1)
    told = save_restored(tmp_path / "a.png", space, measurement, observed, Restored(draws, None))
    assert told["white_std"] == pytest.approx(np.sqrt(0.5))  # of 0 and 1
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture, int)
    cell = pixels.shape[0] // 6
    middle = [pixels[row * cell + cell // 2] for row in range(6)]
    width = pixels.shape[1] // 3
    right, left = 3 * width // 4, width // 4
    assert abs(middle[0][left] - round(255 * 33 / 34)) <= 1
    assert (middle[1][left], middle[1][right]) == (255, 128)
    assert [int(row[left]) for row in middle[2:]] == [0, 255, 128, 255]


def test_labels_of_digits(tmp_path, monkeypatch):
    """The images' own labels, or those of sampling.labels in turn, which need no dataset for a folder of pictures."""
    config = digits_config("conditional")
    config.restore.update(num_images=5)
    space = build_space(config)
    measurement = restore.measurement_of(config, space)
    own = data.load(config, ("label",)).test.take(range(5)).condition["label"]
    np.testing.assert_array_equal(observe(config, space, measurement).labels, own)
    config.sampling.labels = (3, 4)
    np.testing.assert_array_equal(observe(config, space, measurement).labels, [3, 4, 3, 4, 3])
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "black.png")
    config.restore.update(num_images=1, images=str(tmp_path))
    monkeypatch.setattr(data, "load", lambda *_: pytest.fail("the data were loaded"))
    np.testing.assert_array_equal(observe(config, space, measurement).labels, [3])


def test_classes_of_a_file_are_the_networks_by_name(tmp_path, monkeypatch):
    """Those of config.json, for which no dataset is loaded, else those of the data."""
    config, names = digits_config("conditional"), np.asarray(["8", "3", "5"])
    levels = np.zeros((3, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "a.npz", images=levels, labels=[2, 0, 1], class_names=names)
    config.restore.update(num_images=3, images=str(tmp_path / "a.npz"))
    space = build_space(config)
    measurement = restore.measurement_of(config, space)
    np.testing.assert_array_equal(observe(config, space, measurement).labels, [5, 8, 3])
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("the data were loaded"))
    found = observe(config, space, measurement, classes=tuple("9876543210"))
    np.testing.assert_array_equal(found.labels, [4, 1, 6])
    with pytest.raises(UserError, match="its class '8' is no class .*sampling.labels"):
        observe(config, space, measurement, classes=("3", "5"))


def test_texts_of_captions():
    """A draw is conditioned on its image's own text, or on those of sampling.text in turn."""
    config = captions_config()
    config.restore.update(num_images=3, draws=2)
    sde, space = build_sde(config), build_space(config)
    measurement = restore.measurement_of(config, space)

    def told():
        restore.check(config, sde)
        observed = observe(config, space, measurement)
        drawer = build_drawer(config, sde, space, configured_for(config, sde), observed, None)
        return drawer.conditions(np.arange(6))["text"]

    own = data.load(config, ("text",)).test.take(range(3)).condition["text"]
    np.testing.assert_array_equal(told(), own[[0, 0, 1, 1, 2, 2]])
    config.sampling.text = "two red squares,blue"
    two_red_squares, blue = [2, 4, 9], [6, 0, 0]  # places in model.words, and what fills up
    turns = [two_red_squares] * 2 + [blue] * 2 + [two_red_squares] * 2
    np.testing.assert_array_equal(told(), turns)
    config.sampling.text, config.restore.images = "", "tests"
    with pytest.raises(UserError, match="restore.images with a network of model.words"):
        restore.check(config, sde)


def test_images_of_files(tmp_path):
    """From an .npz file and from a folder of pictures, with equal measurements."""
    config = digits_config()
    config.restore.num_images = 3
    space = build_space(config)
    measurement = restore.measurement_of(config, space)
    levels = data.load(config).test.take(range(3)).images
    np.savez(tmp_path / "images.npz", images=levels)
    (tmp_path / "pictures").mkdir()
    for i, image in enumerate(shades(levels, 17)):
        Image.fromarray(image[..., 0]).save(tmp_path / "pictures" / f"{i}.png")
    expected = observe(config, space, measurement)
    np.testing.assert_array_equal(expected.originals, levels)
    np.testing.assert_array_equal(space.decode(jnp.asarray(expected.x)), levels)
    for name in ("images.npz", "pictures"):
        config.restore.images = str(tmp_path / name)
        found = observe(config, space, measurement)
        np.testing.assert_array_equal(found.y, expected.y)
    config.restore.num_images = 4
    with pytest.raises(UserError, match="num_images=4 of restore.images='.*pictures', which has 3"):
        observe(config, space, measurement)
    config.restore.update(images="test", num_images=10_000)
    with pytest.raises(UserError, match="num_images=10000 of the test split, which has 297"):
        observe(config, space, measurement)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "dreams"}, "restore.method='dreams' is unknown; choose one of mmps"),
        ({"method": "dps", "measurement.sigma_y": 0.0}, "DPS with sigma_y=0.0"),
        ({"method": "ddnm"}, "DDNM with sigma_y=0.05"),
        ({"method": "imputation"}, "imputation with sigma_y=0.05"),
        ({"method": "mcg"}, "mcg with sigma_y=0.05: .*set restore.measurement.sigma_y=0"),
        ({"method": "repaint"}, "repaint with sigma_y=0.05"),
        ({"method": "tds", "measurement.sigma_y": 0.0}, "TDS with sigma_y=0.0"),
        ({"method": "dps", "weight": 2.0}, "weight=2.0 with restore.method='dps', .*=diffpir"),
        ({"method": "pnpdm", "coupling": 1e6}, "PnP-DM with coupling=1000000.0"),
        ({"measurement.name": "sand"}, "restore.measurement.name='sand' is unknown"),
        ({"measurement.name": "grey"}, "'grey': data.num_channels=1"),
        ({"measurement.name": "mask"}, "mask='': expected a picture"),
        ({"measurement.name": "mask", "measurement.mask": "no.png"}, "the mask no.png cannot be"),
        ({"measurement.name": "mask", "measurement.mask": "MASK"}, "has 9 x 8 pixels .* of 8 x 8"),
        ({"measurement.name": "bicubic", "measurement.factor": 3}, "by 3 of a side of 8 pixels"),
        (
            {"measurement.factor": 4},
            r"measurement.factor=4 with .*name='box', .*name=box_mean or bicubic",
        ),
        (
            {"measurement.name": "half", "measurement.box": (2, 2)},
            r"measurement.box=\(2, 2\) with .*name='half', .*name=box",
        ),
        ({"measurement.box": (9, 1)}, r"a box of \(9, 1\) pixels"),
        ({"measurement.box": (1, 2, 3)}, r"box=\(1, 2, 3\): expected two numbers"),
        ({"measurement.name": "motion_blur", "measurement.length": 9.0}, "a kernel of shape"),
        (
            {"measurement.name": "random", "measurement.fraction": 0.0},
            "a known fraction 0.0 of 8 x 8",
        ),
        ({"measurement.name": "frequencies", "measurement.fraction": 0.0}, "8 x 8 frequencies"),
        ({"images": "none.npz"}, "restore.images='none.npz': no such file or folder"),
        ({"measured": "none.npz"}, "restore.measured='none.npz': no such file"),
        (
            {"images": "train", "measured": "y.npz"},
            "restore.images='train' with restore.measured='y.npz': measurements are read",
        ),
    ],
)
def test_what_cannot_be_restored_is_refused(fields, words, tmp_path):
    """Refused before anything is loaded or compiled."""
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "mask.png")
    config = digits_config()
    for name, value in fields.items():
        value = str(tmp_path / "mask.png") if value == "MASK" else value
        config.update_from_flattened_dict({f"restore.{name}": value})
    with pytest.raises(UserError, match=words):
        restore.check(config, build_sde(config))


def test_fields_of_the_choice_are_accepted():
    config = toy_config()
    config.restore.update(method="diffpir", weight=2.0)
    config.restore.measurement.update(name="random", fraction=0.5)
    restore.check(config, build_sde(config))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"t_start": 0.5, "start_images": "test"}, "t_start or start_images with --mode restore"),
        ({"path_images": 2}, "path_images=2 with --mode restore"),
        ({"save": "png"}, "save='png' with --mode restore"),
        ({"labels": (3,)}, "a model that is not conditioned on classes"),
        (
            {"guidance.worse_step": 2, "guidance.weight": 1.0},
            "--mode restore with sampling.guidance.worse",
        ),
        (
            {"guidance.plus_plus": 0.5, "sampler": "ddim"},
            "plus_plus=0.5 with restore.method='repaint'",
        ),
        ({"pc.predictor": "none"}, "imputation, MCG and RePaint='none' is unknown"),
        (
            {"noise_removal_by": "predictor_mean"},
            "noise_removal_by='predictor_mean': restore.method='repaint' supports tweedie",
        ),
    ],
)
def test_samplers_that_cannot_restore_are_refused(fields, words):
    config = digits_config()
    config.restore.method = "repaint"
    config.restore.measurement.sigma_y = 0.0
    config.update_from_flattened_dict({f"sampling.{name}": of for name, of in fields.items()})
    with pytest.raises(UserError, match=words):
        restore.check(config, build_sde(config))


def test_a_method_that_fails_is_named(tmp_path):
    """The gradient of DPS overflows for noise of 1e-9."""
    config = of_toy("dps", 1e-18, 2, 2, 4)
    config.sampling.batch_size = 4
    with pytest.raises(
        UserError,
        match=r"4 of 4 .*\(sampler pc, restore.method=dps\); try a smaller restore.scale, more steps",
    ):
        restored(config, tmp_path)
