"""Mistakes in the noise within a level, its density and its training, and in numbers of levels."""

from tests.mutants.mutant import mutants

FLOW = "tests/likelihood/dequantization/test_flow.py"
TRAINING = "tests/likelihood/dequantization/test_training.py"
CLOSES = f"{TRAINING}::test_the_bound_closes_on_the_probability"
UPDATE = f"{TRAINING}::test_an_update_is_that_of_the_whole_batch"
RESUMED = f"{TRAINING}::test_a_killed_run_goes_on_as_if_nothing_had_happened"
TRAINED = "tests/likelihood/dequantization/test_trained.py"

# fmt: off
DEQUANTIZATION = [
    *mutants("likelihood/dequantization/dequantizer.py", FLOW,
        ("dequantization-noise-of-the-batch", "jax.random.uniform(key, images.shape[1:])", "jax.random.uniform(keys[0], images.shape[1:])"),
    ),
    *mutants("likelihood/dequantization/flow.py", FLOW,
        ("couplings-move-the-same-half", "Coupling(self.width, k % 2)", "Coupling(self.width, 0)"),
        ("coupling-sees-what-it-moves", "jnp.where(stays, jnp.tanh(0.5 * y), 0.0)", "jnp.tanh(0.5 * y)"),
        ("coupling-sees-the-image-only", "jnp.where(stays, jnp.tanh(0.5 * y), 0.0)", "jnp.zeros_like(y)"),
        ("flow-forgets-the-image", "context = Context(self.width)(features(images, self.num_levels, e.dtype))", "context = Context(self.width)(features(0 * images, self.num_levels, e.dtype))"),
        ("log-q-with-the-wrong-determinant", "log_logistic(e) - log_slope", "log_logistic(e) + log_slope"),
        ("log-q-counts-what-stays", "jnp.where(stays, 0.0, log_scale)", "log_scale"),
        ("log-q-of-the-logit", "- log_slope - log_logistic(y)", "- log_slope"),
        ("scale-limited-in-the-density-only", "moved = jnp.exp(log_scale) * y", "moved = jnp.exp(1.1 * log_scale) * y"),
        ("flow-does-not-start-uniform", "kernel_init=init", "kernel_init=nn.initializers.lecun_normal()"),
        ("logit-of-zero", "jnp.maximum(uniform(images, keys), SMALLEST)", "uniform(images, keys)"),
    ),
    *mutants("likelihood/dequantization/objective.py", CLOSES,
        ("log-q-with-the-wrong-sign", "z, self.eps) + log_q", "z, self.eps) - log_q"),
        ("log-q-forgotten", "z, self.eps) + log_q", "z, self.eps)"),
        ("bound-without-the-offset", "(dimension * math.log(2)) + offset", "(dimension * math.log(2))"),
    ),
    *mutants("likelihood/dequantization/training.py", UPDATE,
        ("dequantizer-of-the-same-noise-again", "Stream.DEQUANTIZER_TRAIN), step)", "Stream.DEQUANTIZER_TRAIN), 0)"),
        ("dequantizer-in-nats", "nats / (math.prod(self.bound.space.shape) * math.log(2))", "nats"),
    ),
    *mutants("likelihood/dequantization/training.py", RESUMED,
        ("dequantizer-of-the-last-weights", "devices.whole(state.ema_params)", "devices.whole(state.params)"),
    ),
    *mutants("likelihood/dequantization/comparison.py", CLOSES,
        ("compared-with-itself", "bound(dequantizer, *rest)", "bound(UniformDequantizer(), *rest)"),
    ),
    *mutants("modes/dequantize.py", "tests/modes/test_dequantize.py",
        ("bound-of-the-uniform-for-the-learnt", 'float(bounds.learnt.mean())', 'float(bounds.uniform.mean())'),
        ("bound-of-the-learnt-for-the-uniform", 'float(bounds.uniform.mean())', 'float(bounds.learnt.mean())'),
        ("gain-with-the-wrong-sign", 'float(bounds.gain.mean())', '-float(bounds.gain.mean())'),
    ),
    *mutants("modes/dequantize.py", "tests/modes/test_dequantize.py::test_an_unconditional_bound_needs_a_network_that_learned_it",
        ("flow-for-a-score-never-learnt", "    if not config.likelihood.conditional:\n", "    if False:\n"),
    ),
    *mutants("likelihood/dequantization/trained.py", f"{TRAINED}::test_a_flow_is_trained_on_for_the_same_bound_only",
        ("flow-of-another-bound-kept", "        **of_bound(config),\n", ""),
        ("flow-of-no-known-bound-refused", "{**of_bound(config), **read_record(path)}", "read_record(path)"),
    ),
    *mutants("likelihood/dequantization/trained.py", TRAINED,
        ("dequantizer-of-any-step", '"dequantizer" / loaded.name', '"dequantizer" / "step0"'),
        ("dequantizer-of-any-weights", "    refuse_other_weights(path, recorded, loaded.model)\n", ""),
        ("dequantizer-for-these-very-bits", "if not same and not near_norms(", "if not same or not near_norms("),
        ("dequantizer-built-by-the-config", 'recorded["width"], recorded["depth"]', "config.dequantizer.width, config.dequantizer.depth"),
        ("dequantizer-for-any-images", "refuse_difference(path, recorded, {name", "refuse_difference(path, given, {name"),
    ),
    *mutants("data/loader.py", "tests/data/test_loader.py tests/data/test_folder_dataset.py",
        ("lowest-bits", "images // factor", "images % factor"),
        ("levels-need-not-divide", "or stored % num_levels:", "or stored < num_levels:"),
        ("all-black", "if expected < stored and not images.any():", "if False:"),
        ("black-by-the-first-images", "(whole or (expected < stored and not images.any()))", "whole"),
        ("levels-of-images-unchecked", "if images.max() >= expected:", "if False:"),
    ),
    *mutants("data/scaling.py", "tests/data/test_scaling.py",
        ("levels-in-eight-bits", "np.min_scalar_type(num_levels - 1)", "np.dtype(np.uint8)"),
        ("levels-in-one-integer-too-small", "np.min_scalar_type(num_levels - 1)", "np.min_scalar_type(num_levels)"),
        ("levels-beyond-float32", "MAX_LEVELS = 2**16", "MAX_LEVELS = 2**20"),
    ),
]
# fmt: on
