"""Mistakes in the variational bounds, in the decoders, and in the score of uniform data."""

from tests.mutants.mutant import mutants

BOUND = "tests/likelihood/test_bound.py"
IDENTITY = f"{BOUND}::test_the_exact_score_pays_for_the_prior_only"
CORRELATED = f"{BOUND}::test_correlated_data"
ERROR_BARS = f"{BOUND}::test_squared_errors_have_no_bias {BOUND}::test_strata_and_resolved_noise_make_it_steady"
DECODER = "tests/likelihood/test_decoder.py"
DISCRETE = "tests/likelihood/test_discrete_bound.py"
JOINT_LAWS = f"{DISCRETE}::test_it_is_the_relative_entropy_of_the_joint_laws"
UNIFORM = "tests/models/test_uniform_score.py"

# fmt: off
BOUNDS = [
    *mutants("likelihood/bound.py", f"{IDENTITY} {CORRELATED}",
        ("bound-without-the-priors-variance", "of_one = 0.5 * spread - ", "of_one = 0.5 - "),
        ("bound-of-the-mean-undamped", "sde.prior_log_density(mean)", "sde.prior_log_density(x0)"),
        ("bound-drift-sign", "0.5 * spread - jnp.log(", "0.5 * spread + jnp.log("),
        ("bound-without-half", "0.5 * (start - end) * noise_error", "(start - end) * noise_error"),
        ("bound-uniform-in-t", "t = sde.time_of_log_snr(log_snr)", "t = eps + u * (sde.T - eps)"),
        ("resolved-noise-not-put-back", "(sum_squares(z) - z[0].size)", "sum_squares(z)"),
        ("resolved-noise-of-one-dimension", "(sum_squares(z) - z[0].size)", "(sum_squares(z) - 1.0)"),
    ),
    *mutants("likelihood/bound.py", ERROR_BARS,
        ("bound-without-strata", "u = (draw // 2 + jitter) / strata", "u = jitter"),
        ("bound-error-of-a-pair", "0.5 * jnp.sqrt(", "jnp.sqrt("),
        ("bound-without-resolved-noise", "w = jnp.square(jax.nn.sigmoid(log_snr + jnp.log(RESOLVED)))", "w = jnp.zeros_like(log_snr)"),
        ("pairs-share-noise", "jax.random.fold_in(key, draw)", "jax.random.fold_in(key, draw // 2)"),
    ),
    *mutants("likelihood/bound.py", f"{BOUND}::test_noise_that_the_score_resolves_is_taken_out",
        ("resolved-noise-by-its-root", "w = jnp.square(jax.nn.sigmoid(", "w = (jax.nn.sigmoid("),
    ),
    *mutants("likelihood/decoder.py", DECODER,
        ("decoder-without-alpha", "0.5 * (sum_squares(eps_hat - z) - sum_squares(z)) - _log_alpha(sde, x0, eps)", "0.5 * (sum_squares(eps_hat - z) - sum_squares(z))"),
        ("decoder-mean-noise-not-random", "0.5 * (sum_squares(eps_hat - z) - sum_squares(z))", "0.5 * (sum_squares(eps_hat - z) - x0[0].size)"),
        ("decoder-squares-without-half", "(0.5 * noise_error(eps_hat, z, log_snr) + constant)", "(noise_error(eps_hat, z, log_snr) + constant)"),
        ("decoder-half-a-level", "return 0.5 * slope(centered)", "return slope(centered)"),
        ("decoder-levels-of-l", "return 0.5 * slope(centered) / (num_levels - 1)", "return 0.5 * slope(centered) / num_levels"),
        ("decoder-tails-exchanged", "jnp.where(level >= num_levels - 1, highest, inner)", "jnp.where(level >= num_levels - 1, lowest, inner)"),
        ("decoder-without-tails", "level <= 0, lowest,", "level < 0, lowest,"),
        ("gaussian-decoder-of-the-std", "jnp.log(2.0 * jnp.pi * variance)", "jnp.log(2.0 * jnp.pi * variance**2)"),
    ),
    *mutants("likelihood/decoder.py", f"{DECODER}::test_noise_that_a_decoder_does_not_feel",
        ("decoder-curvature-has-the-wrong-sign", "return -jax.jvp(", "return jax.jvp("),
    ),
    *mutants("likelihood/discrete_bound.py", JOINT_LAWS,
        ("chain-error-without-a", "/ (chain.step_alphas * chain.sigmas)", "/ chain.sigmas"),
        ("chain-error-of-the-level-below", "0.5 * jnp.square(missed) / variances", "0.5 * jnp.square(missed) / jnp.roll(variances, 1)"),
        ("chain-without-the-variances", "excess - jnp.log1p(excess)", "excess"),
        ("chain-prior-of-1", "chain.sigmas[-1] / prior_std, chain.alphas[-1] / prior_std", "chain.sigmas[-1], chain.alphas[-1]"),
        ("chain-posterior-without-sigma", "jnp.square(chain.step_sigmas[1:] * chain.sigmas[:-1] / chain.sigmas[1:])", "jnp.square(chain.step_sigmas[1:])"),
        ("chain-decoder-beside-the-square", "jnp.where(level == 0, decoded - weight * resolved, of_step)", "of_step + jnp.where(level == 0, decoded, 0.0)"),
        ("chain-decoder-of-noisy-x", "/ chain.step_alphas[0]", "* chain.step_alphas[0]"),
        ("chain-forgets-x0", "+ 0.5 * jnp.square(alpha_end) * sum_squares(x0)", ""),
    ),
    *mutants("likelihood/discrete_bound.py", f"{DISCRETE}::test_estimates_and_error_bars",
        ("chain-levels-drawn-evenly", "level = 1 + jnp.minimum(", "level = 1 + 0 * jnp.minimum("),
        ("chain-strata-count-the-decoder", "strata = draws // 2 - 1", "strata = draws // 2"),
        ("chain-decoder-drawn-once", "first = draw < 2", "first = draw < 1"),
        ("chain-weights-without-the-strata", "factor = cumulative[-1] / strata / error_weights", "factor = cumulative[-1] / error_weights"),
        ("chain-visits-half-the-levels", "draws >= 2 * chain.num_scales", "draws >= chain.num_scales / 3"),
    ),
    *mutants("models/normal_interval.py", f"{UNIFORM}::test_no_gap_in_float32",
        ("interval-by-erfcx-alone", "far = x > FAR", "far = x > 1e9"),
    ),
    *mutants("models/normal_interval.py", f"{UNIFORM}::test_density_is_the_blurred_interval tests/models/test_exact_scores.py::test_score_is_the_gradient_of_the_log_density",
        ("interval-without-the-far-edge", "fall = jnp.where(edges.inside, 1.0, edges.fall)", "fall = jnp.ones_like(edges.fall)"),
        ("interval-slope-has-no-sign", "jnp.where(centre < 0, steepness, -steepness)", "steepness"),
    ),
    *mutants("models/exact.py", f"{UNIFORM}::test_density_is_the_blurred_interval {UNIFORM}::test_float32 tests/models/test_exact_scores.py::test_score_is_the_gradient_of_the_log_density",
        ("uniform-not-shrunk", "jnp.broadcast_to(alpha * half / sigma, x.shape)", "jnp.broadcast_to(half / sigma, x.shape)"),
        ("uniform-middle-forgotten", "(x - alpha * middle) / sigma", "x / sigma"),
        ("uniform-score-in-sigma", "log_mass_slope(*self._interval(x, t)) / expand(self.sde.sigma(t), x)", "log_mass_slope(*self._interval(x, t))"),
        ("uniform-width-not-shrunk", "width = expand(self.sde.alpha(t), x) * (self.high - self.low)", "width = self.high - self.low"),
    ),
]
