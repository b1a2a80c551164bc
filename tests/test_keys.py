"""Sources of randomness: different seeds give different keys, and separate uses are independent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.data.batch import Batch
from score_sde.errors import ConfigError
from score_sde.generation.generate import build_generator
from score_sde.keys import MeasurementKeys, Stream, TrainingKeys, image_keys, seed_key, stream_key
from score_sde.likelihood import per_image
from score_sde.likelihood.bits_per_dim import measure_bits_per_dim
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.models.exact import ProductMixtureScore
from score_sde.sde_lib import VP
from score_sde.spaces import PixelSpace
from score_sde.training import objective
from score_sde.training.draws import DRAWS

IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 4, (8, 2, 2, 1)))
PLACES = jnp.arange(8)


@pytest.mark.parametrize("seed", [2**32, 2**32 + 7, -1, 2**64, True])
def test_a_seed_of_which_bits_would_be_dropped_is_refused(seed):
    config = get_config()
    generator = build_generator(config, VP(), (8, 8, 1))
    for use in (
        lambda: seed_key(seed),
        lambda: stream_key(seed, Stream.TRAIN),
        lambda: next(generator.batches(None, 1, seed)),
        lambda: measure_bits_per_dim(config, VP(), None, None, SPLIT, seed),
    ):
        with pytest.raises(ConfigError, match=f"^seed={seed}: expected an integer from 0 to "):
            use()


class SPLIT:
    num_images, shape = 8, (8, 8, 1)


def test_the_other_seeds_have_keys_of_their_own():
    seeds = (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
    assert len({tuple(jax.random.key_data(seed_key(seed)).tolist()) for seed in seeds}) == 6
    np.testing.assert_array_equal(
        *(jax.random.key_data(k) for k in (seed_key(3), jax.random.key(3)))
    )


def test_each_purpose_has_a_key_of_its_own():
    """Equal numbers would be two names of one key. All runs so far drew from these."""
    assert {name: int(stream) for name, stream in Stream.__members__.items()} == {
        "INIT": 0,
        "TRAIN": 1,
        "HELD_OUT": 2,
        "DEQUANTIZER_INIT": 100,
        "DEQUANTIZER_TRAIN": 101,
        "DEQUANTIZER_COMPARISON": 102,
        "CLASSIFIER_INIT": 200,
        "NOISY_CLASSIFIER_INIT": 300,
        "OBSERVATION": 2147483648,
        "CASCADE": 2147483649,
    }
    assert len(set(Stream)) == len(Stream.__members__)


def changed(outputs_of, kind):
    """For each field of the keys which outputs are others if the keys of that field are."""
    keys = image_keys(kind, jax.random.key(0), PLACES)
    other = image_keys(kind, jax.random.key(1), PLACES)
    before = outputs_of(keys)
    moved = {}
    for field in kind._fields:
        after = outputs_of(keys._replace(**{field: getattr(other, field)}))
        moved[field] = {name for name in before if np.any(before[name] != after[name])}
    return moved


def test_in_training_each_key_moves_its_own_output_only(monkeypatch):
    def loss(score_model, x0, u, z, dropout_keys):
        levels = jnp.floor(4 * x0)
        return {
            "mirrored": levels,
            "place in the cell": jnp.round(4 * x0 - levels, 5),
            "time": u,
            "noise": z,
            "dropout": jax.random.key_data(dropout_keys),
            "class": score_model.condition["label"],
        }

    trained = objective.Objective(
        space=PixelSpace((2, 2, 1), 4, centered=False, uniform_dequantization=True),
        loss=loss,
        parameterization=None,
        apply=lambda: None,
        null_condition=lambda condition: {"label": jnp.full(8, 10)},
        random_flip=True,
        draw=DRAWS["independent"],
        batch_size=8,
        label_dropout=0.5,
    )

    def outputs_of(keys):
        monkeypatch.setattr(objective, "image_keys", lambda *_: keys)
        batch = Batch(IMAGES, {"label": PLACES}, PLACES)
        return trained.training_losses({}, batch, jax.random.key(2))

    assert changed(outputs_of, TrainingKeys) == {
        "dequantization": {"place in the cell"},
        "flip": {"mirrored"},
        "time": {"time"},
        "noise": {"noise"},
        "dropout": {"dropout"},
        "label_dropout": {"class"},
    }


def test_in_a_measurement_each_key_moves_its_own_part_only(monkeypatch):
    """The dequantized image and the key of the last decoding step are shared by the ODE and the bound."""
    config = get_config()
    config.data.update(num_levels=4, image_size=2)
    config.likelihood.update(
        probe="gaussian", bound_draws=2, rtol=0.1, atol=0.1, eps=1e-2, decoder="gaussian"
    )
    law = (jnp.asarray(p) for p in ((0.3, 0.7), (-1.0, 0.6), (0.04, 0.09)))
    model = ProductMixtureScore(*law, VP())
    measure = per_image.build_per_image(config, VP(), 4)

    @jax.jit
    def outputs_of(keys):
        with monkeypatch.context() as patched:
            patched.setattr(per_image, "image_keys", lambda *_: keys)
            values = measure(
                model, UniformDequantizer(), jax.random.key(2), Batch(IMAGES, (), PLACES)
            )
        return {name: of["nats"] for name, of in values.items()}

    assert changed(outputs_of, MeasurementKeys) == {
        "dequantization": {"ode", "bound"},
        "probe": {"ode"},
        "bound": {"bound"},
        "decoding": {"ode", "bound"},
    }
