"""Both ways of sharing a batch: what a device sees, what is returned, and bitwise equal results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde import data
from score_sde.configs.toy_mixture import get_config
from score_sde.devices import AXIS, DEVICES, build_devices, index_batches
from score_sde.errors import UserError
from score_sde.generation.generate import build_generator
from score_sde.likelihood.bits_per_dim import measure_bits_per_dim
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.models.exact import ProductMixtureScore
from score_sde.sde_lib import build_sde


@pytest.fixture(params=list(DEVICES))
def devices(request):
    return DEVICES[request.param]()


def test_a_device_sees_its_rows_and_all_of_what_is_not_mapped(devices):
    def f(whole, rows, tree):
        total = jax.lax.psum(jnp.sum(rows), AXIS)
        place = jax.lax.axis_index(AXIS)
        return {"rows": rows * 10 + place + whole[-1], "two": tree[0]}, (total, whole)

    run = devices.data_parallel(f, (False, True, True), out_mapped=(True, False))
    rows, tree = devices.split((np.arange(8), [np.arange(16).reshape(8, 2)]))
    mapped, (total, whole) = run(np.array([1, 2, 100]), rows, tree)
    gathered = devices.gather(mapped, 7)
    expected = np.arange(8) * 10 + np.arange(8) // 2 + 100
    np.testing.assert_array_equal(gathered["rows"], expected[:7])
    np.testing.assert_array_equal(gathered["two"], np.arange(14).reshape(7, 2))
    assert int(total) == 28
    np.testing.assert_array_equal(whole, [1, 2, 100])


def test_an_argument_can_be_an_empty_tree(devices):
    run = devices.data_parallel(lambda none, rows, unit: rows + 1, (False, True, True))
    rows, unit = devices.split((np.arange(4), ()))
    np.testing.assert_array_equal(devices.gather(run(None, rows, unit), 4), [1, 2, 3, 4])


def test_leaves_get_the_axis_of_their_own_argument(devices):
    """Arguments of three leaves, of one and of none: as many leaves as arguments."""
    run = devices.data_parallel(
        lambda whole, scale, rows, unit, none: rows * whole[2] + scale,
        (False, False, True, True, True),
    )
    rows, unit, none = devices.split((np.arange(8), (), None))
    result = run([np.ones(8), np.ones(8), 10], np.float32(0.5), rows, unit, none)
    np.testing.assert_array_equal(devices.gather(result, 8), np.arange(8) * 10 + 0.5)


def test_donated_memory_is_taken_over(devices):
    state = jax.device_put(jnp.zeros(5), devices.replicated())
    run = devices.data_parallel(lambda state, rows: state + 1, (False, True), False, donate=(0,))
    after = run(state, devices.split(np.arange(4)))
    np.testing.assert_array_equal(after, np.ones(5))
    assert state.is_deleted()


def test_a_mapped_result_goes_on_to_the_next_function(devices):
    twice = devices.data_parallel(lambda x: 2 * x, (True,), donate=(0,))
    x = devices.split(np.arange(12.0).reshape(4, 3))
    np.testing.assert_array_equal(
        devices.gather(twice(twice(x)), 4), 4 * np.arange(12.0).reshape(4, 3)
    )


def small():
    config = get_config()
    config.data.image_size = 4
    config.sampling.batch_size = config.likelihood.batch_size = 8
    config.sampling.pc.num_steps = 12
    config.likelihood.update(num_images=11, bound_draws=4)
    return config


def samples(config, sde, model):
    return [build_generator(config, sde, (4, 4, 1))(model, 11, 3, show=False).x]


def likelihoods(config, sde, model):
    split = data.load(config).test
    measured = measure_bits_per_dim(config, sde, model, UniformDequantizer(), split, 0, show=False)
    return [array for part in measured.by_name.values() for array in (part.bits_per_dim, part.nfe)]


@pytest.mark.parametrize(
    ("found", "fields"),
    [
        (samples, {"sampling.sampler": "pc"}),
        (likelihoods, {"likelihood.bound_draws": 0}),
        pytest.param(samples, {"sampling.sampler": "ode"}, marks=pytest.mark.slow),
        pytest.param(likelihoods, {"likelihood.ode": False}, marks=pytest.mark.slow),
    ],
    ids=["pc", "likelihood", "ode", "bound"],
)
def test_samples_and_likelihoods_are_the_same_to_the_bit(found, fields):
    """Samples by loops and by an adaptive solver of diffrax, likelihoods and their bound, of 11 images."""
    arrays = []
    for way in ("pmap", "shard_map"):
        config = small()
        config.update_from_flattened_dict({"data_parallel": way, **fields})
        sde = build_sde(config)
        law = ProductMixtureScore(
            *map(jnp.asarray, ((0.3, 0.7), (-1.0, 0.6), (0.04, 0.09))), sde=sde
        )
        # Its score alone, as of a network.
        arrays.append(found(config, sde, jax.tree_util.Partial(law)))
    assert len(arrays[0]) == len(arrays[1]) > 0
    for one, other in zip(*arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_batches_hold_every_index_once_and_fill_the_last():
    batches = list(index_batches(11, 4))
    assert [count for _, count in batches] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in batches]), np.arange(12))


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_hosts_share_every_batch(monkeypatch, hosts):
    """With simulated process index and count: every place of the batch belongs to one host, in order."""
    monkeypatch.setattr(jax, "process_count", lambda: hosts)
    shares = []
    for host in range(hosts):
        monkeypatch.setattr(jax, "process_index", lambda host=host: host)
        shares += [rows for rows, _ in index_batches(8, 8)]
    np.testing.assert_array_equal(np.concatenate(shares), np.arange(8))


def test_an_unknown_way_is_refused():
    config = small()
    config.data_parallel = "pjit"
    with pytest.raises(UserError, match="data_parallel='pjit' is unknown; choose one of pmap, sh"):
        build_devices(config)
