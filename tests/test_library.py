"""The project as a package: from any folder, next to files of any name, and a trained folder used in a script."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import score_sde.trained
from score_sde import data
from score_sde.configs.subvp_digits import get_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.errors import ConfigError, UserError
from score_sde.generation.generate import build_generator
from score_sde.models.exact import GaussianScore
from score_sde.sde_lib import VP, build_sde
from score_sde.spaces import build_space
from score_sde.trained import Trained
from score_sde.training.score_task import train
from tests.models.class_gaussians import ClassGaussians

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "from_a_script.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two updates of a small conditional network, large enough that classes matter."""
    path = tmp_path_factory.mktemp("trained")
    config = get_config("conditional")
    config.model.update(name="uvit", patch_size=4, width=8, depth=1, num_heads=1)
    config.optim.update(lr=0.03, warmup=1)
    config.training.update(n_iters=2, batch_size=8, eval_freq=0, snapshot_freq=0)
    # One probe and steps of its own for each image: an image's number does not depend on those beside it.
    config.likelihood.update(step_size="image", eps=1e-2, rtol=1e-2, atol=1e-2)
    train(config, path)
    return path


def printed(script, folder, beside):
    """What a script prints of a trained folder; a data.py and a models.py that cannot be imported lie beside it."""
    for name in ("data", "models", "training", "errors"):
        (beside / f"{name}.py").write_text("raise SystemExit('not ours')")
    path = beside / "script.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, str(path), str(folder)],
        cwd=beside,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_runs_beside_a_users_own_files(folder, tmp_path):
    script = """
import sys
import numpy as np
from score_sde.trained import Trained
trained = Trained.load(sys.argv[1])
print(trained.step, trained.encode(np.full((1, 8, 8, 1), 16))[0, 0, 0].item())
"""
    step, white = printed(script, folder, tmp_path).split()
    assert (step, float(white)) == ("2", pytest.approx(2 * 16.5 / 17 - 1))


def test_calls_of_the_bare_model(folder, tmp_path):
    """In a process of its own, where no test checks types: lists are arrays, and mistakes are said in words."""
    script = """
import sys
import numpy as np
from score_sde.trained import Trained
model = Trained.load(sys.argv[1]).model
x, t = np.zeros((2, 8, 8, 1), np.float32), np.full(2, 0.5, np.float32)
for call in (
    lambda: np.ptp([model.given({"label": [3, 4]})(x, [0.5, 0.5]), model.given({"label": np.array([3, 4])})(x, t)], 0).max(),
    lambda: model.given({"label": [[3], [4]]}),
    lambda: model(x, 0.5),
    lambda: model(np.full((2, 8, 8, 1), 16, np.uint8), t),
):
    try:
        print(call())
    except ValueError as error:
        print(error)
"""
    same, *mistakes = printed(script, folder, tmp_path).splitlines()
    assert float(same) == 0
    expected = (
        r"conditional network was given .* expected {\"label\": integers \(b,\) of 10 classes}",
        r"one noise level per image, shape \(2,\), but noise_input has shape \(\)",
        r"images of type uint8: expected the model's arrays, real numbers; `Trained.encode`",
    )
    assert len(mistakes) == len(expected)
    for said, words in zip(mistakes, expected, strict=True):
        assert re.search(words, said)


@pytest.mark.slow
def test_the_example(folder, tmp_path):
    found = printed(SCRIPT.read_text(), folder, tmp_path)
    assert "4 samples of step 2" in found
    assert "ln p(x | 3), in nats:" in found
    lines = [line for line in SCRIPT.read_text().splitlines() if line.strip()]
    assert len(lines) <= 30


def test_samples_are_those_of_the_sampler_that_is_named(folder):
    """Equal to sampling by hand with the same configuration; with one class per sample, and guidance that changes them."""
    options = {"sampling.exponential.num_steps": 3, "sampling.batch_size": 4}
    trained = Trained.load(folder, options=options)
    assert trained.step == 2
    assert trained.config.model.width == 8
    drawn = trained.sample(4, sampler="ddim", labels=[2], seed=3)
    config = trained.config.copy_and_resolve_references()
    config.sampling.update(sampler="ddim", labels=(2,))
    generator = build_generator(config, build_sde(config), (8, 8, 1))
    x = generator(trained.model, 4, seed=3, show=False).x
    np.testing.assert_array_equal(drawn, trained.space.decode(x))
    assert trained.config.sampling.sampler != "ddim"  # the folder's own stays


def test_labels_and_numbers_of_any_kind(folder):
    """One class, a NumPy and a JAX array, and numbers of NumPy, draw the images of a list of Python's numbers."""
    trained = Trained.load(folder, options={"sampling.exponential.num_steps": 2})
    drawn = trained.sample(2, sampler="ddim", labels=[3], seed=1)
    for labels in (3, np.array([3]), jnp.array([3])):
        of_kind = trained.sample(np.int64(2), sampler="ddim", labels=labels, seed=np.int32(1))
        np.testing.assert_array_equal(of_kind, drawn)


def test_log_densities_are_those_of_the_class(folder, monkeypatch):
    """They differ between classes, and from those without a class."""
    traced, build = [], score_sde.trained.build_log_density

    def counting(*arguments):
        density_of = build(*arguments)
        return lambda model, x, keys: traced.append(x.shape) or density_of(model, x, keys)

    monkeypatch.setattr(score_sde.trained, "build_log_density", counting)
    trained = Trained.load(folder)
    x = trained.encode(data.load(trained.config).test.take(range(3)).images)
    told, other, untold = (
        trained.log_density(x, labels=labels) for labels in ([3] * 3, [4] * 3, None)
    )
    assert told.shape == (3,)
    assert len({float(values[0]) for values in (told, other, untold)}) == 3
    np.testing.assert_array_equal(trained.log_density(x.tolist(), labels=3), told)
    mixed = trained.log_density(x, labels=jnp.array([3, 4, 3]))
    np.testing.assert_allclose(mixed[[0, 2]], told[[0, 2]], rtol=1e-5)
    np.testing.assert_allclose(mixed[1], other[1], rtol=1e-5)
    assert len(traced) == 2  # with classes and without: other classes compile nothing anew


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda folder: Trained.load(folder / "none"), "does not exist: give a folder in which"),
        (lambda folder: Trained.load(folder, 7), "checkpoint_step=7"),
        (lambda folder: Trained.load(folder, options={"sampling.snr": -1.0}), "sampling.snr=-1.0"),
        (lambda folder: Trained.load(folder, options={"sampling.nfe": 3}), "sampling.nfe"),
        (
            lambda folder: Trained.load(folder, options={"grid.name": "rho"}),
            "no field 'grid.name' .*; did you mean sampling.grid.name?",
        ),
        (lambda folder: Trained.load(folder, options={"sampling.snr": "a"}), "sampling.snr='a'"),
        (lambda folder: Trained.load(folder).sample(4, labels=[10]), r"sampling.labels=\(10,\)"),
        (lambda folder: Trained.load(folder).sample(4, sampler="dim"), "sampling.sampler='dim'"),
        (
            lambda folder: Trained.load(folder, options={"sampling.t_start": 0.3}).sample(4),
            "are for --mode sample",
        ),
        (
            lambda folder: Trained.load(folder).log_density(np.zeros((2, 8, 8, 1)), labels=[1]),
            r"labels=\[1\] of 2 images",
        ),
        (
            lambda folder: Trained.load(folder).log_density(np.zeros((2, 8, 8, 1), np.uint8)),
            r"log_density of uint8 \(2, 8, 8, 1\): expected .* real numbers \(n, 8, 8, 1\), .* encode",
        ),
        (
            lambda folder: Trained.load(folder).log_density(np.zeros((8, 8, 1))),
            r"log_density of float64 \(8, 8, 1\): expected",
        ),
        *(
            (
                lambda folder, label=label: Trained.load(folder).log_density(
                    np.zeros((2, 8, 8, 1)), labels=[3, label]
                ),
                rf"labels=\[3, {label}\]: expected classes from 0 to 9",
            )
            for label in (-1, 10)
        ),
        *(
            (
                lambda folder, labels=labels: Trained.load(folder).log_density(
                    np.zeros((2, 8, 8, 1)), labels=labels
                ),
                rf"labels={re.escape(repr(labels))}: expected integers",
            )
            for labels in ([3.5, 2], [True, 2], ["3", 2], [[3, 2]])
        ),
        (
            lambda folder: Trained.load(folder).sample(4, labels=[3.5]),
            r"labels=\[3.5\]: expected integers",
        ),
        (
            lambda folder: Trained.load(folder).log_density(np.zeros((0, 8, 8, 1)), labels=[]),
            r"log_density of float64 \(0, 8, 8, 1\): expected .* at least one",
        ),
        (
            lambda folder: Trained.load(folder).log_density(
                np.zeros((3, 8, 8, 1)) + np.array([0, np.nan, np.inf]).reshape(3, 1, 1, 1)
            ),
            r"log_density: x\[1\] has NaN or infinite values; leave out 2 of the 3",
        ),
        (lambda folder: Trained.load(folder).sample(2.5), "num_images=2.5: expected an integer"),
        (lambda folder: Trained.load(folder).sample(True), "num_images=True: expected an integer"),
        (lambda folder: Trained.load(folder).sample(2, seed=0.5), "seed=0.5: expected an integer"),
        (lambda folder: Trained.load(folder).sample(2, sampler=3), "sampling.sampler=3"),
        *(
            (
                lambda folder, shape=shape: Trained.load(folder).encode(np.zeros(shape, int)),
                rf"encode: images of shape {re.escape(str(shape))}, expected \(n, 8, 8, 1\)",
            )
            for shape in ((2, 32, 32, 3), (8, 8, 1), (4, 8, 8), (0, 8, 8, 1))
        ),
    ],
)
def test_mistakes_are_said_in_words(use, words, folder):
    with pytest.raises(UserError, match=words) as error:
        use(folder)
    assert isinstance(error.value, ConfigError) or "checkpoint" in words or "exist" in words


def test_a_classifier_has_no_score(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "classifier")
    path = tmp_path / "classifier" / "config.json"
    config = json.loads(path.read_text())
    config["training"]["task"] = "classifier"
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="a classifier has no score"):
        Trained.load(tmp_path / "classifier")


def test_images_of_other_levels_are_no_images_of_the_model(folder):
    """8-bit pixels would be encoded far outside the range of the model."""
    trained = Trained.load(folder)
    white = trained.encode(np.full((1, 8, 8, 1), 16).tolist())
    np.testing.assert_allclose(white, 2 * 16.5 / 17 - 1, rtol=1e-6)
    for images in (np.full((1, 8, 8, 1), 17, np.uint8), np.full((1, 8, 8, 1), 0.5)):
        with pytest.raises(UserError, match="^encode: .*expected .*0 to 16"):
            trained.encode(images)


def test_every_room_is_in_the_package():
    """The installed package has every folder with modules of the checkout, and no others."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = {
        "score_sde." + str(path.parent.relative_to(ROOT)).replace("/", ".")
        for path in ROOT.glob("**/*.py")
        if path.parent != ROOT
        and path.relative_to(ROOT).parts[0]
        not in ("tests", "benchmarks", "examples", "docs", "build")
        and not path.relative_to(ROOT).parts[0].startswith(".")
    }
    rooms = {"score_sde" if room == "score_sde.score_sde" else room for room in rooms}
    assert set(settings["packages"]) == rooms
    for package, folder in settings["package-dir"].items():
        assert (ROOT / folder).is_dir(), package


def test_a_density_whose_solver_gave_up_is_refused(folder, monkeypatch):
    monkeypatch.setattr("score_sde.samplers.adaptive.MAX_STEPS", 1)
    with pytest.raises(ConfigError, match="likelihood.solver='dopri5' failed"):
        Trained.load(folder).log_density(np.zeros((1, 8, 8, 1)))


def known(model, num_classes=0, sde=None):
    """A score that is known, of 2x2 real numbers, in the place of a trained network; the exact trace leaves nothing to chance."""
    config = toy_config()
    config.data.image_size = 2
    if num_classes:
        config.model.update(name="uvit", num_classes=num_classes)
    config.likelihood.probe = "exact"
    return Trained(config, sde or VP(), build_space(config), model, None)


# Of VP: alpha^2 at T, and sigma^2 at eps = 1e-5.
ALPHA_SQUARED_T, SIGMA_SQUARED_EPS = 4.31857e-5, 1.0010e-6


def test_a_log_density_is_that_of_a_known_law():
    """Correlated numbers: the flow makes of the prior N(0, I) the normal law of covariance C_eps C_T^-1."""
    covariance = 0.25 * 0.9 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    model = GaussianScore.create(jnp.zeros(4), jnp.asarray(covariance, jnp.float32), VP())
    at_eps = covariance + SIGMA_SQUARED_EPS * np.eye(4)
    at_end = ALPHA_SQUARED_T * covariance + (1 - ALPHA_SQUARED_T) * np.eye(4)
    law = multivariate_normal(cov=at_eps @ np.linalg.inv(at_end))
    x = law.rvs(size=5, random_state=0).astype(np.float32)
    found = known(model).log_density(x.reshape(5, 2, 2, 1))
    np.testing.assert_allclose(found, law.logpdf(x.astype(np.float64)), atol=1e-3)


def test_a_log_density_takes_nested_lists():
    model = known(GaussianScore.create(jnp.zeros(4), jnp.eye(4), VP()))
    listed = [[[[0.5], [-0.25]], [[1.0], [0.0]]]]
    np.testing.assert_array_equal(model.log_density(listed), model.log_density(np.array(listed)))
    with pytest.raises(
        ConfigError, match=r"^log_density of int64 \(1, 2, 2, 1\): expected the model"
    ):
        model.log_density([[[[1], [0]], [[0], [1]]]])


def test_a_log_density_is_that_of_the_class():
    """N(m, v) in every number, of two classes: the flow makes of N(0, 1) the law N(m (1 - alpha_T r), r^2), r^2 = (v + sigma_eps^2) / c_T."""
    means, variances, labels = np.array([-0.6, 0.5, 0.0]), np.array([0.04, 0.3, 1.0]), [1, 0, 1]
    model = ClassGaussians(
        jnp.asarray(means, jnp.float32), jnp.asarray(variances, jnp.float32), VP()
    )
    at_end = ALPHA_SQUARED_T * variances + 1 - ALPHA_SQUARED_T
    std = np.sqrt((variances + SIGMA_SQUARED_EPS) / at_end)
    means_at_eps = means * (1 - np.sqrt(ALPHA_SQUARED_T) * std)
    x = np.random.default_rng(0).normal(0.0, 0.5, (3, 4)).astype(np.float32)
    exact = norm.logpdf(x.T.astype(np.float64), means_at_eps[labels], std[labels]).sum(axis=0)
    found = known(model, 2).log_density(x.reshape(3, 2, 2, 1), labels=labels)
    np.testing.assert_allclose(found, exact, atol=2e-3)
