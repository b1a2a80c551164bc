"""Mistakes with scores given a measurement, and with the samplers made for one."""

from tests.mutants.mutant import mutants

SCORES = "tests/guidance/test_posterior_scores.py"
ORACLE = f"{SCORES}::test_the_oracle_is_the_gradient_of_the_joint_density"

# fmt: off
POSTERIORS = [
    *mutants("guidance/exact_posterior.py", ORACLE,
        ("oracle-of-the-prior-mean", "mean = self.prior.mean + self.gain @ (y - self.predicted)", "mean = self.prior.mean"),
        ("oracle-with-the-prior-covariance", "GaussianScore.create(jnp.asarray(mean), jnp.asarray(covariance), model.sde)", "GaussianScore.create(jnp.asarray(mean), jnp.asarray(prior), model.sde)"),
        ("joseph-without-noise", "left @ prior @ left.T + known.std**2 * gain @ gain.T", "left @ prior @ left.T"),
        ("mixture-weights-kept", "jax.nn.softmax(jnp.log(self.weights) + log_joint)", "self.weights"),
        ("evidence-without-its-volume", "off @ self.precision @ off + self.log_volume", "off @ self.precision @ off"),
        ("points-weighed-once", "log_weights = self.prior.log_weights() + self._log_likelihoods(y)", "log_weights = self._log_likelihoods(y)"),
        ("evidence-of-points-without-a-dimension", "len(y) * jnp.log(jnp.sqrt(2.0 * jnp.pi) * self.std)", "jnp.log(jnp.sqrt(2.0 * jnp.pi) * self.std)"),
    ),
    *mutants("models/exact.py", ORACLE,
        ("weights-of-points-forgotten", "return self.log_weights() - 0.5 * squares", "return -0.5 * squares"),
    ),
    *mutants("guidance/likelihood_score.py", f"{SCORES}::test_mmps_is_the_oracle_on_gaussian_data",
        ("tweedie-covariance-by-sigma", "jnp.square(around.sigma) / around.alpha * back", "around.sigma / around.alpha * back"),
        ("tweedie-covariance-over-alpha-squared", "jnp.square(around.sigma) / around.alpha * back", "jnp.square(around.sigma / around.alpha) * back"),
        ("gradients-not-conjugate", "return v, r, r + again * direction, smaller", "return v, r, r, smaller"),
        ("guidance-without-the-jacobian", "return score + around.transposed(weighted)", "return score + weighted"),
    ),
    *mutants("guidance/likelihood_score.py", f"{SCORES}::test_conjugate_gradients",
        ("one-step-size-for-the-batch", "return expand(jnp.sum((u * v).reshape(len(u), -1), axis=1), u)", "return jnp.full((len(u),) + (1,) * (u.ndim - 1), jnp.sum(u * v))"),
    ),
    *mutants("guidance/likelihood_score.py", f"{SCORES}::test_tmpd_is_exact_for_uncorrelated_measurements",
        ("tmpd-without-noise", "jnp.square(measurement.std) + rows", "rows"),
    ),
    *mutants("guidance/likelihood_score.py", f"{SCORES}::test_pigdm_is_exact_for_the_data_it_assumes {SCORES}::test_limit_laws",
        ("pigdm-with-the-noise-of-vp", "sigma / (alpha + sigma))", "sigma)"),
        ("pigdm-with-the-ratio", "sigma / (alpha + sigma))", "sigma / alpha)"),
    ),
    *mutants("guidance/likelihood_score.py", f"{SCORES}::test_dps_is_the_gradient_of_its_likelihood",
        ("dps-over-sigma", "self.scale / jnp.square(measurement.std) * r", "self.scale / measurement.std * r"),
    ),
    *mutants("guidance/likelihood_score.py", f"{SCORES}::test_products_are_counted",
        ("last-product-not-counted", "return 1 + self.covariance.products", "return self.covariance.products"),
    ),
    *mutants("guidance/proximal.py", f"{SCORES}::test_proximal_steps_are_means_given_y",
        ("proximal-noise-by-sigma-over-alpha", "self.measurement.std * alpha / sigma)", "self.measurement.std * sigma / alpha)"),
        ("proximal-score-over-sigma", "return score + alpha / jnp.square(sigma) * moved", "return score + alpha / sigma * moved"),
    ),
    *mutants("guidance/posterior.py", f"{SCORES}::test_what_is_bound",
        ("measured-but-not-told-the-class", "model=bind(self.model, told or ())", "model=self.model"),
        ("a-measurement-is-no-condition", 'return of_model if self.y is None else {"measured": self.y, **(of_model or {})}', "return of_model"),
    ),
    *mutants("evaluation/affine_law.py", f"{SCORES}::test_a_sampler_has_pigdms_law",
        ("law-without-its-noise", "matrix @ covariance @ matrix.T + noises @ noises.T", "matrix @ covariance @ matrix.T"),
    ),
]
# fmt: on
