"""Wrong versions of the code, one line each, and the tests that must notice: see __main__.py.

Each stands for a mistake that somebody has made in this field. `before` occurs exactly once in its file.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mutant:
    """The file with `before` replaced by `after` is wrong; `tests` are the ones to ask first."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


def mutants(file: str, tests: str, *rows: tuple[str, str, str]) -> list[Mutant]:
    """Mutants (name, before, after) of one file that the same tests, separated by spaces, notice."""
    return [Mutant(name, file, before, after, tuple(tests.split())) for name, before, after in rows]


IDENTITIES = "tests/sde_lib/test_sde_identities.py"
FLOAT32 = "tests/sde_lib/test_sde_float32.py"
USER_SDE = "tests/sde_lib/test_user_sde.py"
FAMILY = "tests/sde_lib/test_reverse_family.py"
CHAINS = "tests/sde_lib/test_chains.py"
PARAMETERIZATION = "tests/models/test_parameterization.py"
EXACT = "tests/models/test_exact_scores.py"
LOSSES = "tests/training/test_losses.py"
PUBLISHED_LOSSES = f"{LOSSES}::test_continuous_losses_are_the_published_ones"
STEP = "tests/training/test_step.py"
FEED = "tests/training/test_feed.py"
HELD_OUT = "tests/training/test_held_out.py"
OPTIMIZER = "tests/training/test_optimizer.py"
RESUMED = "tests/training/test_loop.py::test_a_resumed_run_is_the_run_without_a_stop"
VECTOR_LAWS = "tests/samplers/test_vector_laws.py"
STEP_LAWS = "tests/samplers/test_finite_step_laws.py"
CORRECTORS = "tests/samplers/test_correctors.py"
GENERATE = "tests/samplers/test_generate.py"
BATCHES = " ".join(
    f"{GENERATE}::{test}"
    for test in (
        "test_same_images_for_any_batch_and_total",
        "test_same_images_as_one_device_without_a_driver",
    )
)
NOISE = "tests/samplers/test_noise.py"
PUBLISHED_SAMPLER = "tests/samplers/test_published_sampler.py"
PUBLISHED_LEVELS = "tests/samplers/test_published_levels.py"
ODE = "tests/samplers/test_ode.py"
LIKELIHOOD = "tests/evaluation/test_likelihood.py"
DIVERGENCE = "tests/evaluation/test_divergence.py"
BITS = "tests/evaluation/test_bits_per_dim.py"
SCALING = "tests/data/test_scaling.py"
ORDER = "tests/data/test_data_order.py"

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

TRAINING = [
    *mutants("training/losses.py", PUBLISHED_LOSSES,
        ("loss-weight-g", "self.sde.diffusion_squared(t) / jnp.square(sigma) * error", "self.sde.diffusion(t) / jnp.square(sigma) * error"),
        ("loss-weight-over-sigma", "self.sde.diffusion_squared(t) / jnp.square(sigma) * error", "self.sde.diffusion_squared(t) / sigma * error"),
    ),
    *mutants("training/losses.py", LOSSES,
        ("loss-with-the-sign-of-the-noise", "* score + z)", "* score - z)"),
        ("loss-from-time-zero", "self.eps + u * (self.sde.T - self.eps)", "u * self.sde.T"),
        ("loss-past-the-end-of-time", "self.eps + u * (self.sde.T - self.eps)", "self.eps + u * self.sde.T"),
        ("loss-noised-by-the-variance", "x = mean + expand(sigma, x0) * z", "x = mean + expand(jnp.square(sigma), x0) * z"),
    ),
    *mutants("training/losses.py", f"{LOSSES}::test_a_zero_output_has_the_loss_of_the_noise",
        ("loss-of-the-whole-sum", "0.5 * jnp.sum(squares, axis=1)", "jnp.sum(squares, axis=1)"),
        ("loss-always-the-mean", "jnp.mean(squares, axis=1) if reduce_mean else 0.5 * jnp.sum(squares, axis=1)", "jnp.mean(squares, axis=1)"),
    ),
    *mutants("training/losses.py", f"{LOSSES}::test_discrete_losses_are_the_published_ones",
        ("discrete-loss-without-alpha", "expand(self.chain.alphas[level], x0) * x0", "x0"),
        ("discrete-loss-without-the-last-level", "(u * n).astype(jnp.int32)", "(u * (n - 1)).astype(jnp.int32)"),
    ),
    *mutants("training/objective.py", f"{STEP}::test_keys_differ_between_uses_images_and_steps",
        ("images-share-their-noise", "jax.random.split(jax.random.fold_in(key, index), 5)", "jax.random.split(key, 5)"),
    ),
    *mutants("training/objective.py", f"{STEP}::test_training_mirrors_half_of_the_images_whatever_their_time",
        ("flips-decided-by-the-time", "uniforms(keys.flip) < 0.5", "uniforms(keys.time) < 0.5"),
    ),
    *mutants("training/objective.py", f"{STEP}::test_x0_of_levels_is_dequantised_and_flipped_as_asked",
        ("dequantisation-shared", "u = jax.vmap(lambda key: jax.random.uniform(key, shape))(keys)", "u = jax.random.uniform(keys[0], images.shape[1:])[None].repeat(images.shape[0], 0)"),
    ),
    *mutants("training/step.py", f"{STEP}::test_dropout_and_the_step_enter_the_randomness",
        ("noise-the-same-at-every-step", "jax.random.fold_in(stream_key(config.seed, Stream.TRAIN), state.step)", "stream_key(config.seed, Stream.TRAIN)"),
    ),
    *mutants("training/step.py", f"{STEP}::test_the_update_is_the_gradient_of_the_mean_loss",
        ("average-one-step-behind", "update_ema(state.ema_params, params,", "update_ema(state.ema_params, state.params,"),
    ),
    *mutants("training/step.py", f"{STEP}::test_four_devices_make_the_update_of_one",
        ("gradients-summed-over-devices", "jax.lax.pmean((loss, gradient), AXIS)", "jax.lax.psum((loss, gradient), AXIS)"),
        ("gradients-of-one-device", "loss, gradient = jax.lax.pmean((loss, gradient), AXIS)", "loss = jax.lax.pmean(loss, AXIS)"),
    ),
    *mutants("training/held_out.py", f"{STEP}::test_held_out_loss_is_the_mean_over_the_split_whatever_the_batch",
        ("padding-counts-in-the-held-out-loss", "(place < n).astype(np.float32)", "np.ones(share, np.float32)"),
    ),
    *mutants("training/state.py", OPTIMIZER,
        ("average-rate-swapped", "ema + (1.0 - rate) * (p - ema)", "ema + rate * (p - ema)"),
        ("average-drifts-at-rest", "ema + (1.0 - rate) * (p - ema)", "rate * ema + (1.0 - rate) * p"),
        ("average-warm-up-off-by-one", "n = (step + 1).astype(jnp.float32)", "n = step.astype(jnp.float32)"),
        ("average-warm-up-ignored", "return jnp.minimum(rate, (1.0 + n) / (10.0 + n))", "return rate"),
    ),
    *mutants("training/optimizer.py", OPTIMIZER,
        ("warm-up-off-by-one", "jnp.minimum(count / optim.warmup, 1.0)", "jnp.minimum((count + 1) / optim.warmup, 1.0)"),
        ("clip-of-each-number", "optax.clip_by_global_norm(clip)", "optax.clip(clip)"),
        ("betas-swapped", "b1=optim.beta1, b2=optim.beta2", "b1=optim.beta2, b2=optim.beta1"),
        ("adam-eps-ignored", ", eps=optim.eps)", ")"),
        ("decay-of-frozen-frequencies", "optax.add_decayed_weights(decay, mask=trained)", "optax.add_decayed_weights(decay)"),
        ("cosine-from-the-start", "(count - optim.warmup) / decaying", "count / decaying"),
    ),
    *mutants("training/loop.py", FEED,
        ("resumed-data-from-the-start", "        step = start_step\n", "        step = 0\n"),
        ("resumed-stream-from-the-start", "split.batches(seed, batch_size, start_step, host, hosts)", "split.batches(seed, batch_size, 0, host, hosts)"),
    ),
    *mutants("training/loop.py", RESUMED,
        ("resumed-one-batch-late", "feed(self.config, self.datasets.train, self.step)", "feed(self.config, self.datasets.train, self.step + (self.step > 0))"),
    ),
    *mutants("training/loop.py", HELD_OUT,
        ("held-out-loss-of-the-last-weights", "self.held_out(self.state.ema_params)", "self.held_out(self.state.params)"),
    ),
    *mutants("training/objective.py", HELD_OUT,
        ("held-out-loss-with-dropout", "self._losses(params, images, u, keys, None)", "self._losses(params, images, u, keys, keys.dropout)"),
    ),
]

DATA = [
    *mutants("data/order.py", ORDER,
        ("epochs-of-seed-plus-epoch", "np.random.SeedSequence((seed, epoch))", "np.random.SeedSequence(seed + epoch)"),
        ("same-order-in-every-epoch", "np.random.SeedSequence((seed, epoch))", "np.random.SeedSequence((seed, 0))"),
        ("batches-one-step-late", "position = int(step) * batch_size", "position = int(step + 1) * batch_size"),
    ),
    *mutants("data/scaling.py", SCALING,
        ("levels-truncated", "else jnp.round(y * (num_levels - 1))", "else jnp.floor(y * (num_levels - 1))"),
        ("dequantised-levels-rounded", "jnp.floor(y * num_levels) if dequantized", "jnp.round(y * num_levels) if dequantized"),
        ("levels-not-clipped", "levels = jnp.floor(y * num_levels) if dequantized else jnp.round(y * (num_levels - 1))\n    return jnp.clip(levels, 0, num_levels - 1).astype(jnp.uint8)", "levels = jnp.floor(y * num_levels) if dequantized else jnp.round(y * (num_levels - 1))\n    return levels.astype(jnp.uint8)"),
        ("white-is-not-one", "images.astype(jnp.float32) / (num_levels - 1)", "images.astype(jnp.float32) / num_levels"),
        ("noise-up-to-the-next-level", "jnp.clip(u, margin, 1 - margin)", "u"),
        ("offset-with-the-wrong-sign", "- math.log2(scale)", "+ math.log2(scale)"),
        ("offset-without-the-slope", "return 2.0 if centered else 1.0", "return 1.0"),
        ("offset-in-nats", "0.0 if num_levels is None else math.log2(num_levels)", "0.0 if num_levels is None else math.log(num_levels)"),
    ),
]

SAMPLERS = [
    *mutants("samplers/predictors.py", VECTOR_LAWS,
        ("em-noise-times-dt", "sde.diffusion(t) * jnp.sqrt(dt) * z", "sde.diffusion(t) * dt * z"),
        ("em-noise-of-the-next-time", "sde.diffusion(t) * jnp.sqrt(dt) * z", "sde.diffusion(s) * jnp.sqrt(dt) * z"),
        ("em-forwards", "return x - dt * drift", "return x + dt * drift"),
        ("reverse-diffusion-divides-by-a", "return (2.0 - a) * x + variance * score", "return x / a + variance * score"),
        ("reverse-diffusion-noise-variance", "+ jnp.sqrt(variance) * z", "+ variance * z"),
        ("flow-predictor-without-half", "+ 0.5 * variance * score", "+ 1.0 * variance * score"),
        ("ancestral-without-a", "return (x + variance * score(x, batch_times(x, t))) / a", "return x + variance * score(x, batch_times(x, t))"),
        ("beta-for-beta-tilde", "jnp.sqrt(sde.variance_between(s, t)) * sde.sigma(s) / sde.sigma(t)", "jnp.sqrt(sde.variance_between(s, t))"),
        ("beta-tilde-for-beta", "return ancestral_mean(score, sde, x, t, s) + jnp.sqrt(sde.variance_between(s, t)) * z", "return ancestral_mean(score, sde, x, t, s) + jnp.sqrt(sde.variance_between(s, t)) * sde.sigma(s) / sde.sigma(t) * z"),
    ),
    *mutants("samplers/grids.py", STEP_LAWS,
        ("grid-one-step-short", "num_steps + 1)", "num_steps)"),
        ("grid-ascending", "jnp.linspace(t_start, t_end,", "jnp.linspace(t_end, t_start,"),
        ("stop-ten-times-too-early", "jnp.linspace(t_start, t_end,", "jnp.linspace(t_start, 10.0 * t_end,"),
        ("stop-at-0.05", "jnp.linspace(t_start, t_end,", "jnp.linspace(t_start, 0.05,"),
    ),
    *mutants("samplers/correctors.py", CORRECTORS,
        ("langevin-step-without-two", "step = expand(2.0 * jnp.square(", "step = expand(jnp.square("),
        ("langevin-step-without-a", "jnp.square(a * snr * _norms(z)", "jnp.square(snr * _norms(z)"),
        ("langevin-noise-without-two", "return x + step * gradient + jnp.sqrt(2.0 * step) * z", "return x + step * gradient + jnp.sqrt(step) * z"),
        ("langevin-norms-of-the-batch", "_norms(z) / _norms(gradient)", "jnp.mean(_norms(z)) / jnp.mean(_norms(gradient))"),
    ),
    *mutants("samplers/correctors.py", VECTOR_LAWS,
        ("ald-step-of-sigma", "jnp.square(a * snr * sde.sigma(t))", "jnp.square(a * snr) * sde.sigma(t)"),
        ("ald-step-without-a", "jnp.square(a * snr * sde.sigma(t))", "jnp.square(snr * sde.sigma(t))"),
    ),
    *mutants("samplers/predictor_corrector.py", VECTOR_LAWS,
        ("corrector-at-the-time-before", "self.corrector(score, self.sde, x, s, a, z", "self.corrector(score, self.sde, x, t, a, z"),
        ("a-upside-down", "self.sde.alpha_between(s, t)", "self.sde.alpha_between(t, s)"),
        ("corrector-steps-share-noise", "noise(k, 1 + j, x)", "noise(k, 1, x)"),
        ("corrector-shares-the-predictors-noise", "noise(k, 1 + j, x)", "noise(k, j, x)"),
        ("steps-share-noise", "noise(k, 0, x))", "noise(0, 0, x))"),
        ("no-last-denoising", "return denoise(self.sde, score(x, times), x, times)", "return x"),
        ("start-ignored", "if x_start is None else x_start", "if True else x_start"),
        ("corrector-before-predictor",
         """\
        if self.predictor is not None:
            x = self.predictor(score, self.sde, x, t, s, noise(k, 0, x))
        if self.corrector is not None:
            a = self.sde.alpha_between(s, t)
            for j in range(self.corrector_steps):
                z = noise(k, 1 + j, x)
                x = self.corrector(score, self.sde, x, s, a, z, self.snr)
""",
         """\
        if self.corrector is not None:
            a = self.sde.alpha_between(s, t)
            for j in range(self.corrector_steps):
                z = noise(k, 1 + j, x)
                x = self.corrector(score, self.sde, x, s, a, z, self.snr)
        if self.predictor is not None:
            x = self.predictor(score, self.sde, x, t, s, noise(k, 0, x))
"""),
    ),
    *mutants("samplers/predictor_corrector.py", f"{GENERATE}::test_nfe_of_predictor_corrector_is_the_number_of_calls",
        ("denoising-not-counted", "num_steps * a_step + int(self.noise_removal)", "num_steps * a_step"),
        ("one-corrector-step-counted", "a_step += self.corrector_steps", "a_step += 1"),
    ),
    *mutants("samplers/published.py", PUBLISHED_LEVELS,
        ("published-level-rounded", "i = (t * (chain.num_scales - 1) / sde.T).astype", "i = jnp.round(t * (chain.num_scales - 1) / sde.T).astype"),
    ),
    *mutants("samplers/published.py", PUBLISHED_SAMPLER,
        ("published-grid-of-n-steps", "jnp.linspace(self.sde.T, eps, self.num_steps)", "jnp.linspace(self.sde.T, eps, self.num_steps + 1)"),
        ("published-norms-of-one-device", "return norm if self.axis_name is None else jax.lax.pmean(norm, self.axis_name)", "return norm"),
        ("published-last-noise-kept", "return state.mean if self.noise_removal else state.x", "return state.x"),
        ("published-predictor-first",
         """\
        x = self.correct(score, times[k], noise, k, state.x)
        return self.predict(score, times[k], noise(k, 0, x), x)
""",
         """\
        x, mean = self.predict(score, times[k], noise(k, 0, state.x), state.x)
        return State(self.correct(score, times[k], noise, k, x), mean)
"""),
    ),
    *mutants("samplers/noise.py", NOISE,
        ("images-of-a-batch-share-noise", "jax.random.fold_in(key, index)", "jax.random.fold_in(key, 0)"),
        ("noise-the-same-in-every-step", "jax.random.fold_in(key, step - START)", "jax.random.fold_in(key, 0)"),
        ("noise-the-same-in-every-slot", "jax.random.fold_in(jax.random.fold_in(key, step - START), slot)", "jax.random.fold_in(key, step - START)"),
        ("noise-uniform", "return jax.random.normal(key, like.shape[1:], like.dtype)", "return jax.random.uniform(key, like.shape[1:], like.dtype, -(3**0.5), 3**0.5)"),
    ),
    *mutants("samplers/generate.py", BATCHES,
        ("steps-past-the-end", "last = jnp.minimum(first + STEPS_PER_CALL, num_steps)", "last = first + STEPS_PER_CALL"),
    ),
    *mutants("samplers/batches.py", BATCHES,
        ("last-batch-begins-again", "indices = np.arange(start, start + batch_size)", "indices = np.arange(start, start + batch_size) % max(start, batch_size)"),
    ),
    *mutants("samplers/ode.py", ODE,
        ("ode-with-the-sdes-drift", "score(x, times), h=0.0)", "score(x, times), h=1.0)"),
    ),
    *mutants("samplers/ode.py", f"{ODE}::test_last_denoising_counts",
        ("ode-denoising-not-counted", "denoise(self.sde, score(x, times), x, times), nfe + 1", "denoise(self.sde, score(x, times), x, times), nfe"),
    ),
    *mutants("samplers/ode.py", f"{ODE}::test_gaussian_law_of_the_flow",
        ("ode-from-unit-noise", "self.sde.prior_sample(noise(START, 0, like))", "noise(START, 0, like)"),
    ),
    *mutants("samplers/adaptive.py", f"{ODE}::test_nfe_is_the_number_of_calls",
        ("first-stage-not-counted", "solver.attempt * attempts + solver.first * first_attempts", "solver.attempt * attempts"),
        ("rejected-steps-not-counted", "attempts = stats[\"num_accepted_steps\"] + stats[\"num_rejected_steps\"]", "attempts = stats[\"num_accepted_steps\"]"),
        ("dopri5-has-seven-stages", "SolverCost(diffrax.Dopri5, 6, 1)", "SolverCost(diffrax.Dopri5, 7, 0)"),
    ),
]

EVALUATION = [
    *mutants("evaluation/likelihood.py", LIKELIHOOD,
        ("divergence-with-the-wrong-sign", "sde.prior_log_density(latent) + integral", "sde.prior_log_density(latent) - integral"),
        ("density-at-a-fixed-eps", "solver.solve(augmented, start, eps, sde.T, score)", "solver.solve(augmented, start, 1e-4, sde.T, score)"),
        ("prior-density-of-the-data", "sde.prior_log_density(latent)", "sde.prior_log_density(x)"),
    ),
    *mutants("evaluation/divergence.py", DIVERGENCE,
        ("probe-only-once", "probe * jacobian_probe", "jacobian_probe"),
        ("probe-of-another-image", "jnp.sum((probe * jacobian_probe)", "jnp.sum((jnp.roll(probe, 1, 0) * jacobian_probe)"),
        ("probe-shared-by-the-batch", "jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)", "jnp.broadcast_to(jax.random.normal(keys[0], x.shape[1:], x.dtype), x.shape)"),
        ("probe-of-uniform-entries", "jax.random.normal(key, x.shape[1:], x.dtype)", "jax.random.uniform(key, x.shape[1:], x.dtype, -1, 1)"),
        ("trace-of-the-first-chunk", "jnp.arange(dimension), batch_size", "jnp.arange(min(dimension, UNITS_AT_ONCE)), batch_size"),
    ),
    *mutants("evaluation/divergence.py", f"{LIKELIHOOD}::test_a_probe_sees_the_quadratic_form_of_the_integrated_jacobian",
        ("probe-drawn-again-on-the-way",
         "value, jacobian_probe = jax.jvp(velocity, (x,), (probe,))\n        return value, jnp.sum((probe *",
         "now = jnp.where(jnp.mean(x**2) < 0.5, probe, jnp.roll(probe, 1, -1))\n        value, jacobian_probe = jax.jvp(velocity, (x,), (now,))\n        return value, jnp.sum((now *"),
    ),
    *mutants("evaluation/bits_per_dim.py", BITS,
        ("bits-are-nats", "-nats / (dimension * math.log(2)) + offset", "-nats / dimension + offset"),
        ("bits-minus-the-offset", "-nats / (dimension * math.log(2)) + offset", "-nats / (dimension * math.log(2)) - offset"),
        ("repeats-repeat-the-noise", "jax.random.fold_in(jax.random.key(seed), repeat)", "jax.random.key(seed)"),
        ("images-share-dequantisation", "jax.random.fold_in(key, index)", "jax.random.fold_in(key, 0)"),
        ("standard-error-of-n", "per_image.std(ddof=1)", "per_image.std(ddof=0)"),
        ("standard-error-is-the-spread", "per_image.std(ddof=1) / math.sqrt(len(per_image))", "per_image.std(ddof=1)"),
    ),
]
# fmt: on

MUTANTS = [*PROCESSES, *MODELS, *TRAINING, *DATA, *SAMPLERS, *EVALUATION]
