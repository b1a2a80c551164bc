"""Mistakes in the processes, the meaning of a network's output, and the exact scores."""

from tests.mutants.mutant import mutants

IDENTITIES = "tests/sde_lib/test_sde_identities.py"
FLOAT32 = "tests/sde_lib/test_sde_float32.py"
USER_SDE = "tests/sde_lib/test_user_sde.py"
FAMILY = "tests/sde_lib/test_reverse_family.py"
CHAINS = "tests/sde_lib/test_chains.py"
PARAMETERIZATION = "tests/models/test_parameterization.py"
EXACT = "tests/models/test_exact_scores.py"

# fmt: off
PROCESSES = [
    *mutants("sde_lib/base.py", FAMILY,
        ("flow-without-half", "half = 0.5 * (1.0 + h * h)", "half = 1.0 + h * h"),
        ("reverse-sde-with-half", "half = 0.5 * (1.0 + h * h)", "half = 0.5"),
        ("score-times-g", "expand(half * self.diffusion_squared(t), x) * score", "expand(half * self.diffusion(t), x) * score"),
        ("score-pushes-outwards", "return self.drift(x, t) - expand(half", "return self.drift(x, t) + expand(half"),
        ("noise-of-the-family-without-h", "return h * self.diffusion(t)", "return self.diffusion(t)"),
    ),
    *mutants("sde_lib/base.py", IDENTITIES,
        ("forward-noise-times-dt", "self.diffusion(t) * jnp.sqrt(dt)", "self.diffusion(t) * dt"),
    ),
    *mutants("sde_lib/base.py", f"{IDENTITIES}::test_prior_log_density_is_a_gaussian_of_prior_std",
        ("prior-density-of-one-dimension", "-0.5 * dimension * jnp.log(", "-0.5 * jnp.log("),
        ("prior-density-without-its-variance", "- 0.5 * norm_squared / variance", "- 0.5 * norm_squared"),
    ),
    *mutants("sde_lib/base.py", f"{IDENTITIES}::test_prior_sample_scales_its_noise",
        ("prior-without-its-std", "return self.prior_std * noise", "return noise"),
    ),
    *mutants("sde_lib/base.py", USER_SDE,
        ("derived-g2-without-drift", "time_derivative(variance, t) - 2.0 * self.drift_coefficient(t) * variance(t)", "time_derivative(variance, t)"),
        ("derived-step-variance-at-s", "-jnp.square(self.sigma(t)) * jnp.expm1(self.log_snr(t)", "-jnp.square(self.sigma(s)) * jnp.expm1(self.log_snr(t)"),
        ("bisection-the-wrong-way", "self.log_snr(middle) > log_snr", "self.log_snr(middle) < log_snr"),
    ),
    *mutants("sde_lib/linear_beta.py", IDENTITIES,
        ("drift-minus-beta-x", "return -0.5 * self.beta(t)", "return -self.beta(t)"),
        ("alpha-exp-minus-B", "return -0.5 * self.beta_integral(t)", "return -self.beta_integral(t)"),
        ("B-without-half", "return t * (self.beta_min + 0.5 * t *", "return t * (self.beta_min + t *"),
        ("prior-std-0.9", "return 1.0", "return 0.9"),
    ),
    *mutants("sde_lib/vp.py", FLOAT32,
        ("vp-sigma-cancels-in-float32", "jnp.sqrt(-jnp.expm1(-self.beta_integral(t)))", "jnp.sqrt(1.0 - jnp.exp(-self.beta_integral(t)))"),
        ("vp-step-variance-cancels-in-float32", "return -jnp.expm1(-self.beta_integral_between(s, t))", "return jnp.exp(-self.beta_integral(s)) - jnp.exp(-self.beta_integral(t))"),
    ),
    *mutants("sde_lib/vp.py", IDENTITIES,
        ("vp-sigma-is-its-square", "jnp.sqrt(-jnp.expm1(-self.beta_integral(t)))", "-jnp.expm1(-self.beta_integral(t))"),
        ("vp-g2-half-beta", "return self.beta(t)", "return 0.5 * self.beta(t)"),
    ),
    *mutants("sde_lib/sub_vp.py", IDENTITIES,
        ("subvp-sigma-with-root", "        return -jnp.expm1(-self.beta_integral(t))\n", "        return jnp.sqrt(-jnp.expm1(-self.beta_integral(t)))\n"),
        ("subvp-g2-exp-minus-B", "jnp.expm1(-2.0 * self.beta_integral(t))", "jnp.expm1(-self.beta_integral(t))"),
        ("subvp-step-variance-of-t-alone", "self.beta_integral(t) + self.beta_integral(s)", "2.0 * self.beta_integral(t)"),
    ),
    *mutants("sde_lib/sub_vp.py", FLOAT32,
        ("subvp-g2-cancels-in-float32", "-self.beta(t) * jnp.expm1(-2.0 * self.beta_integral(t))", "self.beta(t) * (1.0 - jnp.exp(-2.0 * self.beta_integral(t)))"),
    ),
    *mutants("sde_lib/ve.py", IDENTITIES,
        ("ve-g2-without-two", "return 2.0 * self.log_ratio * jnp.square(self.sigma(t))", "return self.log_ratio * jnp.square(self.sigma(t))"),
        ("ve-prior-of-std-one", "return self.sigma_max\n", "return 1.0\n"),
        ("ve-time-turned-round", "self.sigma_min * jnp.exp(t * self.log_ratio)", "self.sigma_max * jnp.exp(-t * self.log_ratio)"),
        ("ve-step-variance-of-half-the-time", "jnp.expm1(2.0 * self.log_ratio * (t - s))", "jnp.expm1(self.log_ratio * (t - s))"),
    ),
    *mutants("sde_lib/chains.py", CHAINS,
        ("ddpm-last-beta", "jnp.linspace(self.beta_min / n, self.beta_max / n, n)", "jnp.linspace(self.beta_min / n, self.beta_max / n, n, endpoint=False)"),
        ("ddpm-step-without-root", "return jnp.sqrt(1.0 - self.betas)", "return 1.0 - self.betas"),
        ("smld-step-of-half-the-ratio", "math.expm1(-2 * log_ratio)", "math.expm1(-log_ratio)"),
        ("smld-ratio-of-n-steps", "/ (self.num_scales - 1)", "/ self.num_scales"),
        ("ddpm-sigma-cancels-in-float32", "jnp.sqrt(-jnp.expm1(2.0 * self.log_alphas))", "jnp.sqrt(1.0 - jnp.cumprod(1.0 - self.betas))"),
    ),
]

MODELS = [
    *mutants("models/parameterization.py", PARAMETERIZATION,
        ("labels-up-to-1000", "MAX_LABEL = 999.0", "MAX_LABEL = 1000.0"),
        ("noise-with-the-sign-of-the-score", "return MAX_LABEL * t / self.sde.T\n\n    def score(self, out: Array, t: Array) -> Array:\n        return -out", "return MAX_LABEL * t / self.sde.T\n\n    def score(self, out: Array, t: Array) -> Array:\n        return out"),
        ("smld-labels-truncated", "return jnp.round((self.sde.T - t)", "return jnp.floor((self.sde.T - t)"),
        ("smld-labels-count-up", "(self.chain.num_scales - 1 - level)", "level"),
        ("ve-told-the-log-of-sigma", "return self.sde.sigma(t)\n", "return jnp.log(self.sde.sigma(t))\n"),
        ("ddpm-labels-by-time", "return jnp.interp(-self.sde.log_snr(t), -log_snrs.astype(t.dtype), levels)", "return t * (self.chain.num_scales - 1)"),
    ),
    *mutants("models/score.py", EXACT,
        ("tweedie-with-sigma", "(x + sigma * (sigma * score)) / alpha", "(x + sigma * score) / alpha"),
        ("tweedie-without-alpha", "(x + sigma * (sigma * score)) / alpha", "x + sigma * (sigma * score)"),
        ("noise-is-the-score", "return -expand(sde.sigma(t), score) * score", "return expand(sde.sigma(t), score) * score"),
    ),
    *mutants("models/exact.py", EXACT,
        ("gaussian-marginal-without-alpha", "alpha**2 * self.eigenvalues[None] + sigma**2", "self.eigenvalues[None] + sigma**2"),
        ("mixture-of-equal-weights", "return jnp.log(self.weights)[:, None] + log_densities", "return log_densities"),
    ),
]
# fmt: on
