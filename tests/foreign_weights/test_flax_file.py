"""Checkpoints of the JAX original: files with its layout (score_sde, flax 0.3) and recorded weights.

No such file is available, so the layout is written here by name: the State of its training, saved by
flax.training.checkpoints, with flax.optim.Adam's {target, state: {step, param_states}} inside.
"""

import copy

import flax.serialization
import msgpack
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from tiny_run import assert_trees_equal

from score_sde.errors import UserError
from score_sde.foreign_weights import checkpoint_file


@pytest.fixture
def state(record):
    """The recorded training state as the JAX original would hold it."""
    mu, nu = (flatten_dict(tree) for tree in record.moments[1:])
    param_states = {leaf: {"grad_ema": mu[leaf], "grad_sq_ema": nu[leaf]} for leaf in mu}
    return {
        "step": 6,
        "optimizer": {
            "target": record.params,
            "state": {"step": np.array(6, np.int32), "param_states": unflatten_dict(param_states)},
        },
        "lr": 0.001,
        "model_state": {},
        "ema_rate": 0.999,
        "params_ema": record.ema_params,
        "rng": np.array([1, 2], np.uint32),
    }


@pytest.fixture
def read(config, tmp_path):
    def read(state):
        path = tmp_path / "checkpoint_6"
        path.write_bytes(flax.serialization.msgpack_serialize(state))
        return checkpoint_file.read(path, config)

    return read


def assert_same_record(a, b):
    assert (a.step, a.moments.updates) == (b.step, b.moments.updates)
    assert a.ema_rate == pytest.approx(b.ema_rate)
    pairs = zip((a.params, a.ema_params, *a.moments[1:]), (b.params, b.ema_params, *b.moments[1:]))
    for given, expected in pairs:
        assert_trees_equal(given, expected)


def first_leaf(tree):
    while isinstance(tree, dict):
        tree = tree[min(tree)]
    return tree


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("optimizer", "target"), np.nan, "^model.* has 1 of .* values that no training gives, .* nan"),
        (("params_ema",), np.inf, "^ema.* inf: the run had diverged"),
        (("optimizer", "state", "param_states"), -np.inf, r"^exp_avg\[.* -inf"),
        (("optimizer", "state", "param_states"), np.nan, r"^exp_avg\[.* nan"),
    ],
)  # fmt: skip
def test_values_that_no_training_gives_are_refused(state, read, path, value, words):
    state = copy.deepcopy(state)
    tree = state
    for name in path:
        tree = tree[name]
    first_leaf(tree).flat[-1] = value  # of Adam's averages, grad_ema is the first by name
    with pytest.raises(UserError, match=words):
        read(state)


def test_squares_below_zero_are_refused(state, read):
    squares = {
        leaf: np.where(leaf[-1] == "grad_sq_ema", -np.abs(a), a)
        for leaf, a in flatten_dict(state["optimizer"]["state"]["param_states"]).items()
    }
    state["optimizer"]["state"]["param_states"] = unflatten_dict(squares)
    with pytest.raises(UserError, match=r"^exp_avg_sq\[.* values that no training gives"):
        read(state)


@pytest.mark.parametrize("rate", [7.0, 1.0, -0.1, np.nan])
def test_a_decay_that_is_none_is_refused(state, read, rate):
    with pytest.raises(UserError, match=f"averaged weights is {rate}; expected 0 <= decay < 1"):
        read({**state, "ema_rate": rate})


def test_the_same_state_in_the_other_format(state, record, read):
    found = read(state)
    assert found.format == "Flax"
    assert_same_record(found, record)


def test_parameters_within_their_collection(state, record, read):
    """Flax may save them under "params"; a later version of the code did."""
    state["optimizer"]["target"] = {"params": state["optimizer"]["target"]}
    state["params_ema"] = {"params": state["params_ema"]}
    states = state["optimizer"]["state"]
    states["param_states"] = {"params": states["param_states"]}
    assert_same_record(read(state), record)


def test_large_arrays_are_stored_in_chunks(state, record, read, monkeypatch):
    """Flax cuts arrays above a gigabyte; here, above a kilobyte."""
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 1024)
    assert_same_record(read(state), record)


def test_numbers_may_be_arrays(state, record, read):
    state.update(step=np.array(6), ema_rate=np.float32(0.999))
    assert_same_record(read(state), record)


def test_without_the_optimizers_averages(state, read):
    del state["optimizer"]["state"]
    assert read(state).moments is None


def test_another_network_is_refused(state, config, read):
    config.model.nf = 16
    with pytest.raises(UserError, match=r"arrays differ in name or shape") as error:
        read(state)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["params_ema"].pop("Conv_0"), r"params_ema.Conv_0.bias: checkpoint absent"),
        (lambda s: s["optimizer"].pop("target"), "no optimizer.target"),
        (lambda s: s.pop("params_ema"), "no params_ema"),
        (lambda s: s.pop("step"), "the file has no step"),
        (lambda s: s.update(step=-1), "step of the file is -1"),
        (lambda s: s.update(optimizer=3), "the file has no optimizer.target|not laid out"),
        (lambda s: s.update(params_ema=np.zeros(3)), "not laid out"),
        (
            lambda s: s["optimizer"]["state"]["param_states"]["Conv_0"]["bias"].pop("grad_ema"),
            r"optimizer.grad_ema.Conv_0.bias: checkpoint absent",
        ),
        (
            lambda s: s["params_ema"]["Conv_0"].update(bias=np.zeros(8, np.float16)),
            r"params_ema.Conv_0.bias of the file is float16",
        ),
    ],
)
def test_differences_are_named(state, read, change, words):
    change(state)
    with pytest.raises(UserError, match=words):
        read(state)


def test_a_file_cut_anywhere_is_refused(state, config, tmp_path):
    whole = flax.serialization.msgpack_serialize(state)
    path = tmp_path / "cut"
    for length in np.linspace(1, len(whole) - 1, 12).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged or cut short"):
            checkpoint_file.read(path, config)


def test_arrays_of_objects_are_refused(config, tmp_path):
    """Flax's encoding of an array with dtype object, whose eight bytes would be an address."""
    array = msgpack.packb(((1,), "object", b"\x08" * 8), use_bin_type=True)
    path = tmp_path / "objects"
    path.write_bytes(msgpack.packb({"step": msgpack.ExtType(1, array)}))
    with pytest.raises(UserError, match="damaged"):
        checkpoint_file.read(path, config)
