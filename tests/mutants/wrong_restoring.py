"""Mistakes with particles, with samplers that ask for whole images, and with measurements that are not linear."""

from tests.mutants.mutant import mutants

TWISTED = "tests/samplers/test_twisted.py"
EVIDENCE = f"{TWISTED}::test_the_mean_of_the_evidence_is_the_chains"
DECOUPLED = "tests/samplers/test_decoupled.py"
NONLINEAR = "tests/measurements/test_nonlinear.py"

# fmt: off
RESTORING = [
    *mutants("samplers/twisted.py", EVIDENCE,
        ("guess-never-taken-back", "            pending=ratio - guess,", "            pending=ratio,"),
        ("proposal-not-corrected", "ratio = -jnp.sum(", "ratio = 0.0 * jnp.sum("),
        ("proposal-without-its-square", "apart * z + 0.5 * jnp.square(apart)", "apart * z"),
        ("likelihood-never-asked", "ratio - guess + ends, 0.0)", "ratio - guess, 0.0)"),
        ("evidence-of-the-sum", "return jax.nn.logsumexp(log_weights, axis=1) - jnp.log(log_weights.shape[1])", "return jax.nn.logsumexp(log_weights, axis=1)"),
        ("weights-kept-when-resampled", "log_weights=jnp.where(bad[:, None], 0.0, state.log_weights)", "log_weights=state.log_weights"),
        ("weights-forgotten-without-resampling", "added = jnp.where(bad, _log_mean(state.log_weights), 0.0)", "added = _log_mean(state.log_weights)"),
        ("y-of-other-images", "jnp.repeat(leaf, k, axis=0)", "jnp.concatenate([leaf] * k)"),
        ("chosen-whatever-the-weight", "return draw(jax.nn.softmax(log_weights), uniform(noise(k, 2, log_weights)))", "return draw(jax.nn.softmax(0.0 * log_weights), uniform(noise(k, 2, log_weights)))"),
        ("gradient-of-other-particles", "lambda leaf: jax.vmap(lambda one, i: one[i])(leaf, taken),", "lambda leaf: leaf if leaf.ndim > 2 else jax.vmap(lambda one, i: one[i])(leaf, taken),"),
    ),
    *mutants("samplers/twisted.py", f"{TWISTED}::test_particles_are_resampled_below_the_threshold_only",
        ("never-resampled", "(size < self.threshold * self.particles)", "(size < self.threshold)"),
    ),
    *mutants("samplers/twisted.py", f"{TWISTED}::test_no_noise_is_used_twice",
        ("chosen-by-what-resampled", "uniform(noise(k, 2, log_weights))", "uniform(noise(k, 1, log_weights))"),
    ),
    *mutants("samplers/twisted.py", f"{TWISTED}::test_evaluations_are_counted",
        ("evaluations-of-one-particle", "    def nfe(self, num_steps: int) -> int:\n        return num_steps * self.particles", "    def nfe(self, num_steps: int) -> int:\n        return num_steps"),
    ),
    *mutants("samplers/resampling.py", TWISTED,
        ("systematic-without-chance", "+ u[0]) / len(weights)", "+ 0.5) / len(weights)"),
        ("multinomial-of-one-number", "return _at(weights, u)", "return _at(weights, 0.0 * u + u[0])"),
        ("size-of-the-largest-weight", "jnp.sum(jnp.square(jax.nn.softmax(log_weights, axis=1)), axis=1)", "jnp.max(jax.nn.softmax(log_weights, axis=1), axis=1)"),
    ),
    *mutants("samplers/given_gaussian.py", DECOUPLED,
        ("unseen-modes-without-noise", "noisy + seen, 1.0), 1.0)", "noisy + seen, 1.0), 0.0)"),
        ("draw-of-the-mean", "jnp.sqrt(variance * left) * noise(0)", "0.0 * jnp.sqrt(variance * left) * noise(0)"),
        ("draw-by-the-noise-of-y", "jnp.sqrt(variance * left)", "jnp.sqrt(noisy * left)"),
        ("langevin-with-half-the-noise", "jnp.sqrt(2.0 * step)", "jnp.sqrt(step)"),
        ("langevin-around-where-it-is", "gradient = (mean - x) / variance + jax.grad", "gradient = jax.grad"),
    ),
    *mutants("samplers/decoupled.py", DECOUPLED,
        ("daps-with-sigma-for-the-ratio", "jnp.square(self.scale * _noise_to_signal(self.sde, t))", "jnp.square(self.scale * self.sde.sigma(t))"),
        ("daps-at-the-time-before", "return self.sde.alpha(s) * x_0 + self.sde.sigma(s) * noise(k, 0, state)", "return self.sde.alpha(t) * x_0 + self.sde.sigma(t) * noise(k, 0, state)"),
        ("ode-of-one-step", "jax.lax.fori_loop(0, last, ddim, x), times[last])", "x, t)"),
        ("coupling-that-falls-on", "eta = jnp.maximum(self.coupling, _noise_to_signal(self.sde, grid[k]))", "eta = _noise_to_signal(self.sde, grid[k])"),
        ("coupling-squared-twice", "score.measurement, y, x, jnp.square(eta)", "score.measurement, y, x, eta**4"),
        ("prior-without-alpha", "down, self.sde.alpha(t) * z)", "down, z)"),
        ("prior-by-the-draws-noise", "at = noise(k, first + j, x)", "at = noise(k, j, x)"),
        ("start-as-large-as-eta", "return x / self.sde.prior_std", "return x"),
        ("zeta-not-rooted", "jnp.sqrt(self.zeta) * noise", "self.zeta * noise"),
    ),
    *mutants("measurements/nonlinear.py", NONLINEAR,
        ("magnitudes-of-the-image-alone", "s=longer, axes=axes", "axes=axes"),
        ("rounding-stops-the-gradient", "return x + jax.lax.stop_gradient(off)", "return x + off"),
    ),
    *mutants("measurements/linear.py", NONLINEAR,
        ("derivative-at-nothing", "jax.vjp(self.apply, x)[1](v)[0]", "jax.vjp(self.apply, 0.0 * x)[1](v)[0]"),
    ),
]
# fmt: on
