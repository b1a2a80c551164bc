"""Loading a dequantizer: the one trained for the same checkpoint, or an error with the reason."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_sde.errors import UserError
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.likelihood.dequantization.flow import FlowDequantizer, init_params
from score_sde.likelihood.dequantization.trained import (
    build_flow,
    dequantizer_folder,
    load_dequantizer,
    write_record,
)
from score_sde.spaces import build_space
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.state import TrainState
from score_sde.training.trained_score import LoadedScore
from tests.likelihood.dequantization.two_pixels import images_of

WEIGHTS = {"w": np.arange(3.0, dtype=np.float32)}


def loaded(step, model=WEIGHTS, **fields):
    return LoadedScore(model, step, **fields)


@pytest.fixture
def variational(config):
    config.likelihood.dequantization = "variational"
    return config


def save(config, folder, step=3):
    """A dequantizer as training leaves it, with averaged weights of their own; gives these."""
    write_record(config, folder, WEIGHTS)
    flow = build_flow(config)
    shape = build_space(config).shape
    template = jax.eval_shape(lambda: init_params(flow, shape, jax.random.key(0)))
    rng = np.random.default_rng(0)
    params, ema = (
        jax.tree.map(
            lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape), jnp.float32), template
        )
        for _ in range(2)
    )
    with Checkpoints(folder) as checkpoints:
        state = TrainState(jnp.int32(step), params, ema, optax.adam(1e-3).init(params))
        checkpoints.save(step, state)
    return FlowDequantizer(ema, flow)


def test_the_averaged_flow_comes_back_with_its_own_options(variational, tmp_path):
    saved = save(variational, dequantizer_folder(tmp_path, loaded(1300)))
    # A likelihood need not be told how the flow was built.
    variational.dequantizer.update(width=64, depth=6)
    found = load_dequantizer(variational, tmp_path, loaded(1300))
    images, keys = images_of(7), jax.random.split(jax.random.key(0), 7)
    draw = jax.jit(lambda dequantizer: dequantizer(images, keys))
    for one, other in zip(draw(saved), draw(found), strict=True):
        np.testing.assert_array_equal(one, other)


def test_uniform_needs_no_file(config, tmp_path):
    dequantizer = load_dequantizer(config, tmp_path, loaded(None))
    assert dequantizer == UniformDequantizer()
    images, keys = images_of(4000), jax.random.split(jax.random.key(0), 4000)
    u, log_q = dequantizer(images, keys)
    np.testing.assert_array_equal(log_q, np.zeros(4000))
    # Kolmogorov-Smirnov with 8000 numbers: beyond .0302 one time in a million (Dvoretzky-Kiefer-Wolfowitz).
    sorted_u = np.sort(np.ravel(u))
    assert np.abs(sorted_u - (np.arange(8000) + 0.5) / 8000).max() < 0.0302


def test_what_is_not_there_or_of_something_else_is_refused(variational, tmp_path):
    def refusal(step=1300):
        with pytest.raises(UserError) as caught:
            load_dequantizer(variational, tmp_path, loaded(step))
        return str(caught.value)

    assert "checkpoint of step 0" in refusal(None)
    assert "run --mode dequantize first" in refusal()
    assert not list(tmp_path.iterdir())
    folder = dequantizer_folder(tmp_path, loaded(1300))
    save(variational, folder)
    assert "there is one for step1300" in refusal(2600)
    variational.data.num_levels = 2
    assert "num_levels=2 (trained with 4)" in refusal()
    variational.data.num_levels = 4
    record = json.loads((folder / "dequantizer.json").read_text())
    (folder / "dequantizer.json").write_text(json.dumps({**record, "format": 2}))
    assert "format=1 (trained with 2)" in refusal()
    variational.likelihood.dequantization = "normal"
    assert "'normal' is unknown; choose one of uniform, variational" in refusal()


@pytest.mark.parametrize(
    ("name", "other", "words"),
    [
        ("eps", 1e-3, r"eps=0.001 \(trained with 1e-05\)"),
        ("conditional", False, r"conditional=False \(trained with True\)"),
    ],
)
def test_a_flow_is_trained_on_for_the_same_bound_only(variational, tmp_path, name, other, words):
    """A likelihood may use it for another, since the bound holds with any flow; records without these settings are accepted."""
    folder = dequantizer_folder(tmp_path, loaded(1300))
    save(variational, folder)
    variational.likelihood[name] = other
    with pytest.raises(UserError, match=words):
        write_record(variational, folder, WEIGHTS)
    assert load_dequantizer(variational, tmp_path, loaded(1300)).flow == build_flow(variational)
    record = json.loads((folder / "dequantizer.json").read_text())
    (folder / "dequantizer.json").write_text(
        json.dumps({key: of for key, of in record.items() if key != name})
    )
    write_record(variational, folder, WEIGHTS)


def test_a_damaged_record_is_named(variational, tmp_path):
    folder = dequantizer_folder(tmp_path, loaded(3))
    write_record(variational, folder, WEIGHTS)
    norms = '{"width": 1, "depth": 1, "norms": "many"}'
    for text in ("", "[1, 2]", '{"format": ', norms):
        (folder / "dequantizer.json").write_text(text)
        with pytest.raises(UserError, match=r"dequantizer\.json is damaged .* --mode dequantize"):
            write_record(variational, folder, WEIGHTS)


def test_a_flow_is_refused_for_other_weights_of_the_same_name(variational, tmp_path):
    """Weights retrained to the same step, or with another adapter of the same file name."""
    folder = dequantizer_folder(tmp_path, loaded(1300))
    save(variational, folder)
    again = {"w": np.float32([0, 1, 3])}
    for attempt in (
        lambda: load_dequantizer(variational, tmp_path, loaded(1300, again)),
        lambda: write_record(variational, folder, again),
    ):
        with pytest.raises(UserError, match="trained for other weights of the score model"):
            attempt()
    adapted = loaded(1300, again, adapters=(("runs/lora", 0.5),))
    with pytest.raises(UserError, match="step1300-lora0.5 .there is one for step1300"):
        load_dequantizer(variational, tmp_path, adapted)


def test_the_last_bits_of_computed_weights_do_not_matter(variational, tmp_path):
    """As in a product of adapters on another machine; if only the hash is recorded, weights must match it exactly."""
    folder = dequantizer_folder(tmp_path, loaded(1300))
    save(variational, folder)
    near, far = ({"w": WEIGHTS["w"] * np.float32(of)} for of in (1 + 1e-6, 1 + 1e-4))
    assert not np.array_equal(near["w"], WEIGHTS["w"])
    load_dequantizer(variational, tmp_path, loaded(1300, near))
    with pytest.raises(UserError, match="trained for other weights"):
        load_dequantizer(variational, tmp_path, loaded(1300, far))
    record = json.loads((folder / "dequantizer.json").read_text())
    del record["norms"]
    (folder / "dequantizer.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="trained for other weights"):
        load_dequantizer(variational, tmp_path, loaded(1300, near))


def test_a_record_of_an_earlier_version_names_no_weights(variational, tmp_path):
    folder = dequantizer_folder(tmp_path, loaded(1300))
    save(variational, folder)
    record = json.loads((folder / "dequantizer.json").read_text())
    del record["weights"]
    (folder / "dequantizer.json").write_text(json.dumps(record))
    assert load_dequantizer(variational, tmp_path, loaded(1300)).flow.width == 16
