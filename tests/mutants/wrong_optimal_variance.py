"""Mistakes in optimal variances, their table, schedules, thresholding and annealed Langevin dynamics."""

from tests.mutants.mutant import mutants

VARIANCE = "tests/samplers/test_optimal_variance.py"
SCHEDULES = "tests/samplers/test_schedules.py"
NORMS = "tests/evaluation/test_score_norms.py"
THRESHOLDS = "tests/models/test_thresholding.py"
ANNEALED = "tests/samplers/test_annealed_langevin.py"

# fmt: off
VARIANCES = [
    *mutants("samplers/optimal_variance.py", VARIANCE,
        ("beta-tilde-upside-down", "jnp.square(sde.sigma(s) / sde.sigma(t))", "jnp.square(sde.sigma(t) / sde.sigma(s))"),
        ("missed-variance-without-a", "jnp.square(variance / (a * sde.sigma(t)))", "jnp.square(variance / sde.sigma(t))"),
        ("missed-variance-of-the-next-time", "jnp.square(variance / (a * sde.sigma(t)))", "jnp.square(variance / (a * sde.sigma(s)))"),
        ("missed-variance-not-squared", "return jnp.square(variance / (a * sde.sigma(t))) * error", "return variance / (a * sde.sigma(t)) * error"),
        ("error-of-sigma-times-norm", "1.0 - jnp.square(sde.sigma(t)) * norm", "1.0 - sde.sigma(t) * norm"),
        ("error-at-the-next-time", "missed_variance(sde, t, s, self.error(sde, t))", "missed_variance(sde, t, s, self.error(sde, s))"),
        ("error-linear-in-time", "jnp.interp(-log_snr, -sde.log_snr(times), errors)", "jnp.interp(t, times, errors)"),
        ("error-not-below-the-bound", "jnp.clip(error, 0.0, jnp.minimum(", "jnp.clip(error, -1.0, jnp.minimum("),
        ("error-not-above-the-bound", "jnp.minimum(1.0, self.half_range**2", "jnp.minimum(2.0, self.half_range**2"),
        ("range-not-squared", "self.half_range**2 * jnp.exp(log_snr)", "self.half_range * jnp.exp(log_snr)"),
        ("optimal-noise-variance", "jnp.sqrt(self.variance(sde, t, s)) * z", "self.variance(sde, t, s) * z"),
    ),
    *mutants("samplers/schedules.py", SCHEDULES,
        ("cost-without-what-is-missed", "(best + missed) / given - 1.0", "best / given - 1.0"),
        ("divergence-the-other-way", "jnp.log(given / best)", "jnp.log(best / given)"),
        ("cost-of-the-next-levels-error", "jnp.asarray(errors)[start]", "jnp.asarray(errors)[end]"),
        ("cost-without-half", "0.5 * ((best + missed) / given", "((best + missed) / given"),
        ("one-step-too-many", "for _ in range(num_steps - 1):", "for _ in range(num_steps):"),
        ("the-nearest-choice", "choice[path[-1]]", "choice[len(costs) - 1]"),
        ("choices-in-the-order-made", "for choice in reversed(choices):", "for choice in choices:"),
    ),
    *mutants("evaluation/score_norms.py", NORMS,
        ("levels-share-noise", "eps, t = noise(level, 0, x0)", "eps, t = noise(0, 0, x0)"),
        ("norm-not-of-a-dimension", "jnp.mean(jnp.square(a).reshape(a.shape[0], -1), axis=1)", "jnp.sum(jnp.square(a).reshape(a.shape[0], -1), axis=1)"),
        ("error-of-the-score-for-the-noise", "missed = eps - predicted_noise(sde, scores, t)", "missed = eps + scores"),
        ("error-with-the-wrong-sign", "missed = eps - predicted_noise(sde, scores, t)", "missed = eps + predicted_noise(sde, scores, t)"),
        ("norm-of-clean-images", "scores = score(mean + expand(sigma, x0) * eps, t)", "scores = score(mean, t)"),
        ("batches-share-noise", "first += len(x0)", "first += 0"),
        ("norms-standard-error-is-the-spread", "standard_error = np.sqrt(variance / count)", "standard_error = np.sqrt(variance)"),
        ("norms-standard-error-of-n", "* count / (count - 1)", "* 1.0"),
        ("norms-of-any-checkpoint", "if given != expected:", "if False:"),
        ("norms-of-any-levels", "if first > t_end * (1 + 1e-6) or last", "if last"),
    ),
    *mutants("models/score.py", THRESHOLDS,
        ("threshold-without-alpha", "sde.alpha(t) / jnp.square(sde.sigma(t))", "sde.alpha(t) ** 0 / jnp.square(sde.sigma(t))"),
        ("threshold-weight-of-sigma", "/ jnp.square(sde.sigma(t))", "/ sde.sigma(t)"),
    ),
    *mutants("models/thresholding.py", THRESHOLDS,
        ("threshold-away", "self.threshold(denoised) - denoised)", "denoised - self.threshold(denoised))"),
        ("quantile-of-the-batch", "jnp.quantile(sizes, self.quantile, axis=1)", "jnp.quantile(sizes, self.quantile) + jnp.zeros(sizes.shape[0])"),
        ("dynamic-stretches-what-is-in-range", "expand(jnp.maximum(half, jnp.quantile(sizes, self.quantile, axis=1)), denoised)", "expand(jnp.quantile(sizes, self.quantile, axis=1), denoised)"),
        ("dynamic-not-shrunk", "centre + half / r * jnp.clip", "centre + jnp.clip"),
        ("dynamic-about-zero", "centre, half = 0.5 * (self.high + self.low), 0.5", "centre, half = 0.0, 0.5"),
        ("static-from-below-only", "return jnp.clip(denoised, self.low, self.high)", "return jnp.maximum(denoised, self.low)"),
    ),
    *mutants("samplers/correctors.py", ANNEALED,
        ("ald-step-half", "step = 2.0 * jnp.square(a * snr * sde.sigma(t))", "step = jnp.square(a * snr * sde.sigma(t))"),
    ),
    *mutants("samplers/predictor_corrector.py", ANNEALED,
        ("one-corrector-step-too-few", "jax.lax.fori_loop(0, self.corrector_steps, correct_once, x)", "jax.lax.fori_loop(1, self.corrector_steps, correct_once, x)"),
    ),
]
# fmt: on
