"""Mistakes with a training state that is split over the devices."""

from tests.mutants.mutant import mutants

SHARDED = "tests/training/test_sharded_state.py"
BITS = f"{SHARDED}::test_updates_have_the_bits_of_the_other_ways"
CLIP = f"{SHARDED}::test_the_clip_is_by_the_norm_of_all_parts"
PARTS = f"{SHARDED}::test_a_device_holds_its_parts_and_no_more"
ANY_WAY = f"{SHARDED}::test_a_run_goes_on_in_any_way"
TABLE = "tests/benchmarks/test_state_on_devices.py"

# fmt: off
SHARDING = [
    *mutants("devices/sharded.py", f"{SHARDED}::test_a_leaf_is_split_along_its_largest_dimension_that_the_devices_divide",
        ("split-with-a-rest", "if size % num_devices == 0]", "if size >= num_devices]"),
        ("small-leaves-split", "math.prod(shape) < SMALL or not divisible", "not divisible"),
        ("split-along-the-smallest-dimension", "max(divisible, key", "min(divisible, key"),
    ),
    *mutants("devices/sharded.py", BITS,
        ("parts-summed-not-averaged", "return total / jax.lax.axis_size(AXIS)", "return total"),
        ("part-of-one-devices-gradient", "total = jax.lax.psum_scatter(whole, AXIS, scatter_dimension=axis, tiled=True)\n    return total / jax.lax.axis_size(AXIS)", "size = whole.shape[axis] // jax.lax.axis_size(AXIS)\n    return jax.lax.dynamic_slice_in_dim(whole, jax.lax.axis_index(AXIS) * size, size, axis)"),
        ("small-leaves-of-one-device", "return jax.lax.pmean(whole, AXIS)", "return whole"),
        ("small-leaves-summed", "return jax.lax.pmean(whole, AXIS)", "return jax.lax.psum(whole, AXIS)"),
        ("loss-sees-the-parts-of-others-shifted", "return jax.lax.all_gather(part, AXIS,", "part = jax.lax.ppermute(part, AXIS, [(i, (i + 1) % jax.lax.axis_size(AXIS)) for i in range(jax.lax.axis_size(AXIS))])\n    return jax.lax.all_gather(part, AXIS,"),
    ),
    *mutants("training/step.py", CLIP,
        ("norm-of-a-part", "optax.tree.norm(gradient)", "optax.tree.norm(jax.tree.map(lambda g: g[..., : g.shape[-1] // 4], gradient))"),
    ),
    *mutants("devices/sharded.py", CLIP,
        ("clip-by-the-norm-of-a-part", "mean = jax.tree.map(averaged, found.mean, means)", "mean = jax.tree.map(averaged, found.mean, means)\n            norm = jax.lax.rsqrt(sum(jax.numpy.square(g).sum() for g in jax.tree.leaves(mean[1])))\n            mean = (mean[0], jax.tree.map(lambda g: g * jax.numpy.minimum(norm, 1.0), mean[1]))"),
    ),
    *mutants("devices/sharded.py", PARTS,
        ("whole-again-after-an-update", "specs = self.specs(flag, tree)", "specs = self.specs(False, tree)"),
        ("template-of-whole-leaves", "placed(leaf, self.place(leaf)), shapes", "placed(leaf, self.replicated()), shapes"),
    ),
    *mutants("training/memory.py", PARTS,
        ("memory-of-all-parts", "shape = sharding.shard_shape(leaf.shape) if sharding else leaf.shape", "shape = leaf.shape"),
    ),
    *mutants("training/start.py", PARTS,
        ("begun-whole", "out_shardings=places, compiler", "out_shardings=devices.replicated(), compiler"),
    ),
    *mutants("training/run.py", ANY_WAY,
        ("evaluators-given-parts", "self.devices.whole(self.state.ema_params)", "self.state.ema_params"),
    ),
    *mutants("training/replay.py", f"{SHARDED}::test_an_update_again",
        ("replayed-from-a-whole-state", "checkpoints.restore(devices.template(state_shapes(task)), before)", "checkpoints.restore(state_shapes(task), before)"),
        ("losses-of-one-host-in-another-order", "return joined.rows,", "return joined.rows[::-1],"),
    ),
    *mutants("devices/host_copies.py", ANY_WAY,
        ("first-part-only", "            if where not in parts:\n", "            if not parts:\n"),
    ),
    *mutants("devices/host_copies.py", f"{SHARDED}::test_a_copy_holds_each_part_once",
        ("one-finite-part-will-do", "return all(np.all(np.isfinite(part))", "return any(np.all(np.isfinite(part))"),
    ),
    *mutants("benchmarks/state_on_devices.py", TABLE,
        ("parts-of-a-reduce-scatter", 'whole = {"reduce-scatter": num_devices}', "whole = {}"),
    ),
]
# fmt: on
