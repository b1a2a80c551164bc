"""EDM's augmentation: exact for permutations of pixels, consistent with its labels, with the stated probabilities, none in sampling."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, kstest

from score_sde.configs.default import get_config
from score_sde.data.batch import Batch
from score_sde.data.warping import SYM6, warped
from score_sde.errors import ConfigError
from score_sde.training.augmentation import Augmentation, drawn
from score_sde.training.kinds import KINDS
from score_sde.training.score_task import build_score_task

N = 32
IMAGES = jax.random.uniform(jax.random.key(0), (2, N, N, 3), minval=-1.0)


def augmentation(**given):
    """Of as many images as there are numbers."""
    b = len(next(iter(given.values()))) if given else len(IMAGES)
    zeros = dict.fromkeys(Augmentation._fields, jnp.zeros(b))
    return Augmentation(
        **zeros | {name: jnp.asarray(of, jnp.float32) for name, of in given.items()}
    )


apply = jax.jit(lambda augmentation, x: augmentation.of(x))


def test_nothing_is_nothing_to_the_bit():
    np.testing.assert_array_equal(apply(augmentation(), IMAGES), IMAGES)
    assert not augmentation().labels.any()


def test_mirrors_and_quarter_turns_exchange_pixels():
    """Quarter turns agree with NumPy; mirroring twice gives the image."""
    x = np.asarray(IMAGES)
    of = {
        name: apply(augmentation(**{name: [1, 1]}), IMAGES) for name in ("mirrored", "upside_down")
    }
    np.testing.assert_array_equal(of["mirrored"], x[:, :, ::-1])
    np.testing.assert_array_equal(of["upside_down"], x[:, ::-1])
    for name, once in of.items():
        np.testing.assert_array_equal(apply(augmentation(**{name: [1, 1]}), once), x)
    for quarters in (-2, -1, 1, 2):
        turned = apply(augmentation(turned=[quarters * np.pi / 2] * 2), IMAGES)
        np.testing.assert_array_equal(turned, np.rot90(x, quarters, axes=(1, 2)))


def test_whole_pixels_move_exactly():
    """The shift is an eighth of the image's side times the number; the edge is filled by reflection."""
    pixels = N // 8
    moved = apply(augmentation(right=[1, 0], down=[0, -1.5]), IMAGES)
    right = np.pad(np.asarray(IMAGES[0]), ((0, 0), (pixels, 0), (0, 0)), "reflect")[:, :N]
    up = np.pad(np.asarray(IMAGES[1]), ((0, 6), (0, 0), (0, 0)), "reflect")[6:]
    np.testing.assert_allclose(moved, [right, up], atol=2e-6)


def test_the_filter_is_daubechies():
    """Its defining properties: orthogonal to its shifts by two, with vanishing moments up to degree five at the highest frequency."""
    correlation = np.correlate(SYM6, SYM6, "full")[len(SYM6) - 1 :: 2]
    np.testing.assert_allclose(correlation, [1, 0, 0, 0, 0, 0], atol=1e-11)
    k = np.arange(len(SYM6))
    moments = [np.sum((-1.0) ** k * ((k - 5.5) / 5.5) ** p * SYM6) for p in range(6)]
    np.testing.assert_allclose(moments, 0, atol=1e-11)
    assert abs(SYM6.sum() - np.sqrt(2)) < 1e-11


AXIS = np.arange(N) - (N - 1) / 2
PLACES = np.stack(np.meshgrid(AXIS, AXIS, indexing="xy"), -1)
"""Of the pixels, x to the right and y downwards from the middle."""


def blob(mean, covariance):
    """A Gaussian of height 1."""
    p = PLACES - mean
    return np.exp(-0.5 * np.einsum("...i,ij,...j", p, np.linalg.inv(covariance), p))[..., None]


def test_what_is_told_is_what_was_done():
    """A Gaussian is mapped to the Gaussian that the nine numbers imply: the maps in order, in a right-handed plane."""
    chosen = {
        "mirrored": [0, 0, 0, 0, 1, 1], "upside_down": [0, 0, 0, 0, 0, 1],
        "enlarged": [1.2, 0, 0, 0, -0.8, 0.5], "turned": [0, 0.6, 0, 0, 2.5, -1.1],
        "stretched": [0, 0, 1.3, 0, 0.9, 0.7], "direction": [0, 0, 0.4, 0, -2.0, 1.0],
        "right": [0, 0, 0, 0.33, -0.4, 0.1], "down": [0, 0, 0, -0.61, 0.3, 0.45],
    }  # fmt: skip
    done = augmentation(**chosen)
    mean, covariance = np.array([2.0, 3.0]), np.array([[6.0, 1.5], [1.5, 4.0]])
    image = jnp.asarray(np.repeat(blob(mean, covariance)[None], 6, 0), jnp.float32)
    found = np.asarray(apply(done, image))
    y_up = np.diag([1.0, -1.0])
    for row, result in zip(np.asarray(done.labels, np.float64), found, strict=True):
        mirrored, upside_down, enlarged, c, s, along, across, right, down = row
        flips = np.diag([1.0 - 2 * mirrored, 1.0 - 2 * upside_down])
        turn = y_up @ np.array([[1 + c, -s], [s, 1 + c]]) @ y_up
        stretch, size = np.eye(2), np.hypot(along, across)
        if size:
            axes = y_up @ np.array([[along, -across], [across, along]]) / size
            stretch = axes @ np.diag([2 ** (0.2 * size), 2 ** (-0.2 * size)]) @ axes.T
        forward = stretch @ turn @ flips * 2 ** (0.2 * enlarged)
        moved = N / 8 * np.array([right, down])
        expected = blob(forward @ mean + moved, forward @ covariance @ forward.T)
        came_from = (PLACES - moved) @ np.linalg.inv(forward).T
        inside = np.all(np.abs(came_from) < N / 2 - 2, axis=-1)
        assert inside.mean() > 0.5
        # Linear interpolation errs by an eighth of the curvature, 0.3 at most, times the square of half a pixel, in two directions.
        np.testing.assert_allclose(result[inside], expected[inside], atol=0.02)


def test_rates_are_the_stated_ones():
    """False-alarm rate 2e-6: nine binomial and six Kolmogorov tests at 1e-7 each, with one fixed key."""
    n, rate = 20_000, 0.12
    found = jax.jit(lambda key: drawn(jax.random.split(key, n), rate))(jax.random.key(1))
    found = Augmentation(*map(np.asarray, found))
    for name, share in (
        ("mirrored", 0.5), ("upside_down", rate / 2), ("enlarged", rate), ("turned", rate),
        ("stretched", rate), ("direction", rate / 2), ("right", rate), ("down", rate),
    ):  # fmt: skip
        low, high = binom.ppf([5e-8, 1 - 5e-8], n, share)
        assert low <= np.count_nonzero(getattr(found, name)) <= high, name
    for name, law in (
        ("enlarged", "norm"), ("stretched", "norm"), ("right", "norm"), ("down", "norm"),
        ("turned", ("uniform", (-np.pi, 2 * np.pi))), ("direction", ("uniform", (-np.pi, 2 * np.pi))),
    ):  # fmt: skip
        kind, arguments = (law, ()) if isinstance(law, str) else law
        values = getattr(found, name)
        assert kstest(values[values != 0], kind, arguments).pvalue > 1e-7, name
    np.testing.assert_array_equal(found.right != 0, found.down != 0)
    assert not found.direction[found.stretched == 0].any()
    # Each for itself: two at once as often as the product of their rates says.
    both = np.count_nonzero((found.enlarged != 0) & (found.turned != 0))
    low, high = binom.ppf([5e-8, 1 - 5e-8], n, rate**2)
    assert low <= both <= high


def small_config(**fields):
    config = get_config()
    config.data.update(name="digits", image_size=8, num_levels=17)
    config.model.update(
        name="edm_unet", nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), dropout=0.0
    )
    config.training.update(batch_size=4, augment=0.9)
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    return config


class Recording:
    """In place of a loss: what the model was told, and of what images."""

    def __call__(self, score_model, x0, u, z, dropout_keys=None):
        self.told, self.x0 = score_model.condition, x0
        return u


@pytest.mark.parametrize("num_classes", [pytest.param(0, marks=pytest.mark.slow), 10])
def test_the_network_is_told_in_training_only(num_classes):
    """The labels describe the augmentation of the images, also without a class; held-out images are not augmented."""
    config = small_config(
        **{"model.num_classes": num_classes, "training.label_dropout": float(num_classes > 0)}
    )
    task = build_score_task(config)
    assert task.network.augment_dim == 9
    loss = Recording()
    objective = dataclasses.replace(task.objective, loss=loss)
    images = jax.random.randint(jax.random.key(0), (4, 8, 8, 1), 0, 17).astype(jnp.uint8)
    condition = {"label": jnp.arange(4)} if num_classes else ()
    batch = Batch(images, condition, jnp.arange(4))

    @jax.jit
    def in_training(batch):
        objective.training_losses({}, batch, jax.random.key(3))
        return loss.told, loss.x0

    @jax.jit
    def held_out(batch):
        objective.held_out_losses({}, batch, jnp.linspace(0.1, 0.9, 4), jax.random.key(3))
        return loss.told, loss.x0

    told, x0 = in_training(batch)
    not_told, plain = held_out(batch)
    assert told.keys() == {"augment", *(["label"] if num_classes else [])}
    if num_classes:
        np.testing.assert_array_equal(told["label"], 10)
    assert "augment" not in dict(not_told)
    # Dequantization has the same key in both. Of a stretch is told the direction up to its sign with that of its logarithm.
    numbers = np.asarray(told["augment"])
    angle, size = np.arctan2(numbers[:, 6], numbers[:, 5]), np.hypot(numbers[:, 5], numbers[:, 6])
    found = [
        apply(Augmentation(
            *numbers[:, :3].T, np.arctan2(numbers[:, 4], 1 + numbers[:, 3]), sign * size,
            angle + (sign < 0) * np.float32(np.pi), *numbers[:, 7:].T,
        ), plain)
        for sign in (1.0, -1.0)
    ]  # fmt: skip
    errors = [np.abs(x0 - of).max((1, 2, 3)) for of in found]
    assert np.minimum(*errors).max() < 2e-5
    assert np.abs(x0 - plain).max((1, 2, 3)).min() > 0.1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model.name": "ncsnpp"}, r"use model.name=edm_unet or edm_adm, or training.augment=0"),
        ({"data.random_flip": True}, r"set data.random_flip=False"),
        ({"data.image_width": 16}, r"images of 8x16 pixels: only square ones"),
        ({"model.condition_image": "measured"}, r"would not be augmented along with it"),
        ({"training.augment": 1.5}, r"training.augment=1.5: expected a number from 0 to 1"),
        ({"training.task": "classifier"}, r"training.augment=0.9 applies only to score networks"),
    ],
)
def test_bad_input(fields, message):
    config = small_config(**fields)
    with pytest.raises(ConfigError, match=message):
        KINDS[config.training.task].build(config, None)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_resampling_by_no_map_changes_nothing(n):
    """Filtered up and down, without skipping images to which neither applies."""
    x = jnp.arange(3.0 * n**2).reshape(n, n, 3)
    same = jax.jit(warped)(x, jnp.eye(2), jnp.zeros(2))
    np.testing.assert_allclose(same, x, atol=2e-6 * float(x.max()))
