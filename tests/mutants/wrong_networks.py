"""Mistakes in the layers of the networks."""

from tests.mutants.mutant import mutants

NORM = "tests/models/test_group_norm.py"
RESAMPLE = "tests/models/test_resample.py"
TRANSFORMERS = "tests/models/test_transformers.py"
ADM = "tests/models/test_adm.py"

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
    *mutants("models/adm_blocks.py", ADM,
        ("adm-heads-of-the-other-order", "Attention(heads, self.heads_first,", "Attention(heads, not self.heads_first,"),
        ("adm-shift-before-scale", "scale, shift = jnp.split(told", "shift, scale = jnp.split(told"),
        ("adm-sines-first", "(time_features(noise_input, features))", "(jnp.roll(time_features(noise_input, features), features // 2, -1))"),
        ("adm-norm-of-another-eps", "GroupNorm(GROUPS, dtype, 1e-5,", "GroupNorm(GROUPS, dtype, 1e-6,"),
        ("adm-padded-at-the-end", "((edge, edge), (edge, edge)),", "\"SAME\","),
        ("adm-level-after-the-norm", "h = of_h(h + told)", "h = of_h(h) + told"),
        ("adm-resampled-before-the-norm", "h = change(nn.silu(norm(\"in_layers_0\", self.dtype)(x)))", "h = nn.silu(norm(\"in_layers_0\", self.dtype)(change(x)))"),
        ("adm-skips-in-order", "[h, skips.pop()]", "[h, skips.pop(0)]"),
        ("adm-skip-before-the-rest", "[h, skips.pop()]", "[skips.pop(), h]"),
        ("adm-block-ends-at-random", "\"out_layers_3\", init=ZERO", "\"out_layers_3\", init=OF_FAN_IN"),
    ),
    *mutants("models/transformer.py", TRANSFORMERS,
        ("heads-before-query-key-value", "heads = (b, n, 3, self.num_heads, width // self.num_heads)\n", "heads = (b, n, self.num_heads, 3, width // self.num_heads)\n"),
        ("patches-columns-first", "return split.transpose(0, 1, 3, 2, 4, 5).reshape(b, -1, p * p * c)", "return split.transpose(0, 3, 1, 2, 4, 5).reshape(b, -1, p * p * c)"),
        ("pixels-of-a-patch-columns-first", "split = patches.reshape(b, h // p, w // p, p, p, -1)", "split = patches.reshape(b, h // p, w // p, p, p, -1).swapaxes(3, 4)"),
        ("one-gelu", "nn.gelu(hidden, self.approximate)", "nn.gelu(hidden, True)"),
        ("tokens-not-centred", "x = x if self.centered else 2 * x - 1", "x = jnp.asarray(x)"),
    ),
    *mutants("models/dit.py", TRANSFORMERS,
        ("scale-before-shift", "shift1, scale1, gate1, shift2, scale2, gate2 = modulation", "scale1, shift1, gate1, shift2, scale2, gate2 = modulation"),
        ("rows-of-positions-first", "for axis in (column, row)", "for axis in (row, column)"),
        ("norm-of-another-eps", "nn.LayerNorm(1e-6,", "nn.LayerNorm(1e-5,"),
        ("modulation-without-swish", "layer(nn.silu(condition))", "layer(condition)"),
        ("head-scale-first", "shift, scale = Modulation(2", "scale, shift = Modulation(2"),
        ("gates-open-at-first", "kernel_init=ZERO, name=\"1\"", "kernel_init=SMALL, name=\"1\""),
    ),
    *mutants("models/uvit.py", TRANSFORMERS,
        ("time-before-class", "return [classes(labels_or_none(condition, len(labels), self.num_classes)), time]", "return [time, classes(labels_or_none(condition, len(labels), self.num_classes))]"),
        ("skips-in-order", "(h, skips.pop())", "(h, skips.pop(0))"),
        ("skip-before-the-rest", "jnp.concatenate([x, skip], axis=-1)", "jnp.concatenate([skip, x], axis=-1)"),
        ("told-tokens-last", "jnp.concatenate([told, embedding(self.patches(x))], axis=1)", "jnp.concatenate([embedding(self.patches(x)), told], axis=1)"),
        ("norm-of-dit", "nn.LayerNorm(1e-5,", "nn.LayerNorm(1e-6,"),
    ),
    *mutants("models/embeddings.py", TRANSFORMERS,
        ("time-sines-first", "jnp.concatenate([jnp.cos(angles), jnp.sin(angles)]", "jnp.concatenate([jnp.sin(angles), jnp.cos(angles)]"),
        ("time-frequencies-to-the-end", "10_000.0 ** (-np.arange(half) / half)", "10_000.0 ** (-np.arange(half) / (half - 1))"),
    ),
    *mutants("foreign_weights/state_dicts.py", TRANSFORMERS,
        ("patch-kernel-by-channel", "found = np.moveaxis(found, 0, 2)", "found = np.swapaxes(found, 0, 1)"),
    ),
]
