"""Mistakes in the layers of the networks."""

from tests.mutants.mutant import mutants

NORM = "tests/models/test_group_norm.py"
RESAMPLE = "tests/models/test_resample.py"

# fmt: off
NETWORKS = [
    *mutants("models/group_norm.py", NORM,
        ("groups-of-every-so-many-channels", "group = jnp.arange(c) // (c // groups)", "group = jnp.arange(c) % groups"),
        ("one-platform-for-all", "cpu=by_channel, default=by_group", "cpu=by_channel, default=by_channel"),
        ("statistics-in-the-dtype-of-x", "x = x.astype(jnp.promote_types(x.dtype, jnp.float32))", "x = jnp.asarray(x)"),
        ("variance-of-what-is-not-centred", "group_mean(jnp.square(centred), groups)", "group_mean(jnp.square(x), groups) - jnp.square(group_mean(x, groups))"),
    ),
    *mutants("models/resample.py", RESAMPLE,
        ("phases-exchanged", "pads = [(1 - row, row), (1 - column, column)]", "pads = [(row, 1 - row), (column, 1 - column)]"),
        ("middle-tap-on-the-other-side", "jnp.stack([k[0], k[1] + k[2]])", "jnp.stack([k[0] + k[1], k[2]])"),
        ("rows-for-columns", "halves(halves(kernel)[row].swapaxes(0, 1))[column]", "halves(halves(kernel)[column].swapaxes(0, 1))[row]"),
    ),
]
