"""Mistakes in the ODE likelihood: its trace, its error bars, its gradients, and the solver's steps and their count."""

from tests.mutants.mutant import mutants

COST = "tests/benchmarks/test_divergence_cost.py"
DIVERGENCE = "tests/likelihood/test_divergence.py"
GRADIENTS = "tests/likelihood/test_likelihood_gradients.py"
LIKELIHOOD = "tests/likelihood/test_log_density.py"
TRACE = "tests/likelihood/test_trace.py"
STEPS = "tests/samplers/test_step_size.py"
NFE = "tests/samplers/test_ode.py::test_nfe_is_the_number_of_calls"
PUBLISHED = "tests/likelihood/test_published_likelihood.py"
OWN_STEPS = f"{GRADIENTS}::test_an_image_with_steps_of_its_own_does_not_depend_on_the_others"

# fmt: off
ODE_LIKELIHOOD = [
    *mutants("likelihood/log_density.py", LIKELIHOOD,
        ("divergence-with-the-wrong-sign", "sde.prior_log_density(latent) + trace.value", "sde.prior_log_density(latent) - trace.value"),
        ("density-at-a-fixed-eps", "jnp.asarray([eps, sde.T])", "jnp.asarray([1e-4, sde.T])"),
        ("prior-density-of-the-data", "sde.prior_log_density(latent)", "sde.prior_log_density(x)"),
    ),
    *mutants("likelihood/log_density.py", OWN_STEPS,
        ("likelihood-steps-of-the-batch", "if each_image:", "if False:"),
        ("images-share-a-key", "each_alone(alone, score, x, keys)", "each_alone(alone, score, x, jnp.broadcast_to(keys[:1], keys.shape))"),
    ),
    *mutants("likelihood/log_density.py", f"{DIVERGENCE}::test_the_error_bar_of_a_likelihood_holds",
        ("error-bar-is-the-variance", "standard_error=trace.standard_error", "standard_error=trace.standard_error**2"),
    ),
    *mutants("likelihood/divergence.py", DIVERGENCE,
        ("probe-only-once", "return value, take(e, pushed)[None]", "return value, take(jnp.ones_like(e), pushed)[None]"),
        ("products-of-another-image", "return take(e, push(e))", "return take(jnp.roll(e, 1, 0), push(e))"),
        ("trace-of-the-first-chunk", "jax.lax.map(one, indices, batch_size=at_once)", "jax.lax.map(one, indices % at_once, batch_size=at_once)"),
    ),
    *mutants("likelihood/trace.py", f"{DIVERGENCE}::test_probes_have_identity_covariance",
        ("probes-shared-by-the-batch", "jax.vmap(lambda key: self.probe(key, shape, x.dtype))(keys)", "jnp.broadcast_to(self.probe(keys[0], shape, x.dtype), (len(keys), *shape))"),
        ("probes-of-an-image-are-one", "shape = (self.num_rates, *x.shape[1:])", "shape = (1, *x.shape[1:])"),
    ),
    *mutants("likelihood/estimators.py", f"{DIVERGENCE}::test_probes_have_identity_covariance",
        ("probe-of-uniform-entries", "jax.random.normal", "jax.random.uniform"),
    ),
    *mutants("likelihood/trace.py", TRACE,
        ("error-bar-of-n", "jnp.std(values, axis=1, ddof=1) / math.sqrt(num)", "jnp.std(values, axis=1, ddof=1) / num"),
        ("error-bar-is-the-spread", "jnp.std(values, axis=1, ddof=1) / math.sqrt(num)", "jnp.std(values, axis=1, ddof=1)"),
        ("one-probe-is-sure", "jnp.full_like(mean, jnp.nan)", "jnp.zeros_like(mean)"),
        ("rows-not-those-of-hadamard", "i[:, None] & jnp.arange", "i[:, None] ^ jnp.arange"),
        ("rows-drawn-with-replacement", "jax.random.permutation(row_key, jnp.arange(self.order, dtype=jnp.int32))", "jax.random.randint(row_key, (self.order,), 0, self.order)"),
        ("orthogonal-without-signs", "return signs * row", "return jnp.ones_like(signs) * row"),
        ("orthogonal-of-an-order-too-many", "1 << (dimension - 1).bit_length()", "1 << dimension.bit_length()"),
    ),
    *mutants("likelihood/hutch_plus_plus.py", TRACE,
        ("sketch-of-the-probes-own-key", "draw_signs(keys[:, 0])", "draw_signs(keys[:, 0]) * 0 + 1"),
        ("hutchpp-without-its-shift", "y - centre * s), 1, 2))[0]", "y), 1, 2))[0]"),
        ("hutchpp-probes-not-projected", "e = e - q @ (jnp.swapaxes(q, 1, 2) @ e)", "e = e - 0 * (q @ (jnp.swapaxes(q, 1, 2) @ e))"),
        ("hutchpp-sphere-of-all-dimensions", "math.sqrt(dimension - k)", "math.sqrt(dimension)"),
        ("hutchpp-forgets-its-directions", "return Trace(integrals[:, 0] + rest", "return Trace(rest"),
        ("hutchpp-mean-of-directions", "jnp.sum(forms[:, :k], axis=1, keepdims=True)", "jnp.mean(forms[:, :k], axis=1, keepdims=True)"),
    ),
    *mutants("likelihood/trace.py", f"{TRACE}::test_error_bars_hold",
        ("error-bar-of-independent-rows", "math.sqrt(1 - self.num_rates / self.order)", "math.sqrt(1 + self.num_rates / self.order)"),
    ),
    *mutants("samplers/step_size.py", STEPS,
        ("accepted-steps-never-shrink", "jnp.clip(SAFETY * error ** (-1 / error_order), MIN_FACTOR, longest)", "jnp.clip(SAFETY * error ** (-1 / error_order), jnp.where(keep, 1.0, MIN_FACTOR), longest)"),
        ("steps-grow-after-a-rejection", "jnp.where(keep & rejected, 1.0, MAX_FACTOR)", "MAX_FACTOR"),
        ("error-scaled-by-the-start", "jnp.maximum(jnp.abs(start), jnp.abs(end))", "jnp.abs(start)"),
        ("error-norm-is-a-sum", "return jnp.sqrt(squares / sum(leaf.size for leaf in leaves))", "return jnp.sqrt(squares)"),
        ("error-of-another-order", "error ** (-1 / error_order)", "error ** (-1 / (error_order - 1))"),
        ("first-step-of-the-slope-alone", "steepest = jnp.maximum(d1, d2)", "steepest = d1"),
        ("first-step-unlimited", "jnp.minimum(100 * h0, h1.astype(h0.dtype))", "h1.astype(h0.dtype)"),
        ("first-step-backwards", "return sign * jax", "return -sign * jax"),
        ("first-step-below-rounding", "jax.lax.stop_gradient(jnp.maximum(h, shortest_step(t0)))", "jax.lax.stop_gradient(h)"),
        ("slope-at-the-second-point", "h0, slope = steps[0], jax.tree.map(lambda f: f[0], slopes)", "h0, slope = steps[0], jax.tree.map(lambda f: f[1], slopes)"),
        ("retreat-unknown-at-nan", "jnp.where(jnp.isfinite(error), factor, MIN_FACTOR)", "factor"),
    ),
    *mutants("samplers/adaptive.py", NFE,
        ("first-step-not-counted", "cost.attempt,\n            FIRST_STEP_COST,", "cost.attempt,\n            0,"),
        ("rejected-steps-not-counted", 'stats["num_steps"]', 'stats["num_accepted_steps"]'),
        ("dopri5-has-seven-stages", "SolverCost(DormandPrince, 6, 1)", "SolverCost(DormandPrince, 7, 0)"),
        ("first-slope-thrown-away", "solver_state=(jnp.asarray(False), slope)", "solver_state=(jnp.asarray(True), slope)"),
    ),
    *mutants("samplers/adaptive.py", f"{STEPS}::test_steps_are_those_of_scipy",
        ("error-estimate-of-shampine", "b_error=1.5 * np", "b_error=1.0 * np"),
    ),
    *mutants("benchmarks/divergence_cost.py", COST,
        ("cost-marked-by-the-median", "row.low > TIME_LIMIT", "row.time > TIME_LIMIT"),
        ("cost-of-many-products-marked", "above = row.products == 1 and", "above ="),
    ),
    *mutants("benchmarks/divergence_cost.py", f"{COST}::test_a_measurement",
        ("operations-of-a-loop-counted", "if products <= at_once else None", "if products else None"),
    ),
    *mutants("samplers/adaptive.py", f"{GRADIENTS}::test_gradients_on_gaussian_data",
        ("gradient-without-the-first-stage", 'if self.adjoint == "backsolve":', "if True:"),
    ),
]
# fmt: on
