"""Mistakes in samplers and likelihoods."""

from tests.mutants.mutant import mutants

VECTOR_LAWS = "tests/samplers/test_vector_laws.py"
STEP_LAWS = "tests/samplers/test_finite_step_laws.py"
CORRECTORS = "tests/samplers/test_correctors.py"
GENERATE = "tests/generation/test_generate.py"
SAMPLE_FILES = "tests/generation/test_sample_files.py"
BATCHES = " ".join(
    f"{GENERATE}::{test}"
    for test in (
        "test_same_images_for_any_batch_and_total",
        "test_same_images_as_one_device_without_a_driver",
    )
)
FIRST_TIMES = "tests/samplers/test_first_times.py"
FIXED_STEPS = "tests/samplers/test_fixed_steps.py"
GRIDS = " ".join(
    f"tests/samplers/test_grids.py::{test}"
    for test in ("test_what_is_equally_spaced", "test_an_explicit_list_is_taken_as_it_is")
)
NOISE = "tests/samplers/test_noise.py"
PUBLISHED_SAMPLER = "tests/samplers/test_published_sampler.py"
PUBLISHED_LEVELS = "tests/samplers/test_published_levels.py"
DRIVERS = "tests/generation/test_drivers.py"
EVALUATIONS = f"{DRIVERS}::test_nfe_is_the_number_of_calls"
DENOISED = f"{DRIVERS}::test_the_last_denoising_is_a_regression"
ODE = "tests/samplers/test_ode.py"

# fmt: off
SAMPLERS = [
    *mutants("modes/prior.py", "tests/modes/test_prior.py",
        ("signal-left-at-any-end", "if not log_snr > LARGEST_LOG_SNR:", "if not log_snr > -8.0:"),
        ("signal-left-and-not-said", "if not log_snr > LARGEST_LOG_SNR:", "if not log_snr > 2.0:"),
    ),
    *mutants("samplers/predictors.py", VECTOR_LAWS,
        ("em-noise-times-dt", "sde.diffusion(t) * jnp.sqrt(dt) * z", "sde.diffusion(t) * dt * z"),
        ("em-noise-of-the-next-time", "sde.diffusion(t) * jnp.sqrt(dt) * z", "sde.diffusion(s) * jnp.sqrt(dt) * z"),
        ("em-forwards", "return x - dt * drift", "return x + dt * drift"),
        ("reverse-diffusion-divides-by-a", "return (2.0 - a) * x + variance * score", "return x / a + variance * score"),
        ("reverse-diffusion-noise-variance", "+ jnp.sqrt(variance) * z", "+ variance * z"),
        ("flow-predictor-without-half", "+ 0.5 * variance * score", "+ 1.0 * variance * score"),
        ("ancestral-without-a", "return (x + variance * score_at(score, x, batch_times(x, t))) / a", "return x + variance * score_at(score, x, batch_times(x, t))"),
        ("beta-for-beta-tilde", "jnp.sqrt(sde.variance_between(s, t)) * sde.sigma(s) / sde.sigma(t)", "jnp.sqrt(sde.variance_between(s, t))"),
        ("beta-tilde-for-beta", "return ancestral_mean(score, sde, x, t, s) + jnp.sqrt(sde.variance_between(s, t)) * z", "return ancestral_mean(score, sde, x, t, s) + jnp.sqrt(sde.variance_between(s, t)) * sde.sigma(s) / sde.sigma(t) * z"),
    ),
    *mutants("samplers/grids.py", STEP_LAWS,
        ("grid-one-step-short", "return jnp.linspace(t_start, t_end, num_steps + 1)", "return jnp.linspace(t_start, t_end, num_steps)"),
        ("grid-ascending", "jnp.linspace(t_start, t_end,", "jnp.linspace(t_end, t_start,"),
        ("stop-ten-times-too-early", "jnp.linspace(t_start, t_end,", "jnp.linspace(t_start, 10.0 * t_end,"),
        ("stop-at-0.05", "jnp.linspace(t_start, t_end,", "jnp.linspace(t_start, 0.05,"),
    ),
    *mutants("samplers/grids.py", GRIDS,
        ("roots-not-raised-again", "return _between(roots**power, t_start, t_end)", "return _between(roots, t_start, t_end)"),
        ("rho-of-the-variance", "jnp.exp(-0.5 / rho * sde.log_snr", "jnp.exp(-1.0 / rho * sde.log_snr"),
        ("rho-not-taken-back", "-2.0 * rho * jnp.log(roots)", "-2.0 * jnp.log(roots)"),
        ("log-snr-grid-from-eps", "jnp.linspace(ends[0], ends[1], num_steps + 1)\n    return _between(sde.time_of_log_snr(log_snrs)", "jnp.linspace(ends[1], ends[0], num_steps + 1)\n    return _between(sde.time_of_log_snr(log_snrs)"),
    ),
    *mutants("samplers/fixed_steps.py", f"{FIXED_STEPS}::test_nfe_is_the_number_of_calls",
        ("fixed-steps-cost-of-an-attempt-too-few", "keep_path, cost.attempt, cost.first)", "keep_path, cost.attempt, cost.first - cost.attempt)"),
        ("fixed-steps-without-the-first", "keep_path, cost.attempt, cost.first)", "keep_path, cost.attempt)"),
    ),
    *mutants("samplers/problem.py", "tests/samplers/test_configured.py::test_left_alone_the_grid_suits_the_sampler",
        ("auto-grid-is-uniform", 'self.ends_in_noise else suited', 'self.ends_in_noise else "uniform"'),
        ("auto-grid-before-the-named", "if name != AUTO:", "if False:"),
    ),
    *mutants("samplers/problem.py", "tests/samplers/test_configured.py::test_samples_of_edm_have_the_datas_spread",
        ("equal-steps-that-end-in-noise", 'return "rho" if suited', 'return "uniform" if suited'),
    ),
    *mutants("samplers/problem.py", "tests/samplers/test_configured.py::test_equal_steps_stay_where_they_end_in_no_noise",
        ("rho-for-all-that-equal-steps-suit", 'if suited == "uniform" and self.ends_in_noise else suited', 'if suited == "uniform" else suited'),
        ("noise-that-stays-for-noise-that-falls", "bool(before - after > SEEN)", "bool(before > SEEN)"),
        ("end-of-the-whole-range", "(self.t_start - eps) / USUAL_STEPS", "(self.latest - eps) / USUAL_STEPS"),
    ),
    *mutants("samplers/problem.py", "tests/samplers/test_configured.py::test_a_networks_error_of_a_few_hundredths_stays_small",
        ("equal-steps-where-time-is-fast", 'return "log_snr" if self.starts_fast else "uniform"', 'return "uniform"'),
        ("fast-as-of-a-thousand-steps", "FASTEST = 50.0", "FASTEST = 1000.0"),
    ),
    *mutants("samplers/problem.py", "tests/samplers/test_configured.py::test_what_cannot_follow_such_a_process_is_refused",
        ("fast-whatever-the-average", "if self.first_rate > 10 * average else", "if True else"),
    ),
    *mutants("samplers/configured.py", "tests/samplers/test_configured.py::test_left_alone_the_grid_suits_the_sampler",
        ("edm-along-log-snr", '"log_snr" if problem.starts_fast else "rho"', '"log_snr"'),
    ),
    *mutants("samplers/problem.py", f"{FIRST_TIMES}::test_few_steps_of_a_network_keep_the_spread",
        ("log-snr-from-the-end", "LITTLE_SIGNAL = -10.1", "LITTLE_SIGNAL = -20.0"),
        ("little-signal-on-no-grid", "self.whole or grid not in BASED_ON_LOG_SNR:", "True:"),
    ),
    *mutants("samplers/grids.py", f"{FIRST_TIMES}::test_few_steps_of_a_network_keep_the_spread",
        ("rho-from-the-end", 'BASED_ON_LOG_SNR = ("log_snr", "rho")', 'BASED_ON_LOG_SNR = ("log_snr",)'),
    ),
    *mutants("samplers/problem.py", f"{FIRST_TIMES}::test_a_grid_begins_at_the_end_where_the_prior_holds_there_only",
        ("little-signal-of-any-noise", "if abs(ratio - 1) <= SAME_NOISE else", "if True else"),
        ("little-signal-of-nearly-the-same-noise", "SAME_NOISE = 1e-3", "SAME_NOISE = 1e-2"),
    ),
    *mutants("samplers/problem.py", f"{FIRST_TIMES}::test_other_grids_begin_at_the_end",
        ("little-signal-on-every-grid", "self.whole or grid not in BASED_ON_LOG_SNR:", "self.whole:"),
    ),
    *mutants("samplers/problem.py", f"{FIRST_TIMES}::test_a_grid_of_the_log_snr_begins_where_a_little_signal_is_left",
        ("start-images-from-a-little-signal", "if self.options.t_start or self.whole or", "if self.whole or"),
        ("encoding-to-a-little-signal", "if self.options.t_start or self.whole or", "if self.options.t_start or"),
    ),
    *mutants("samplers/configured.py", f"{FIRST_TIMES}::test_a_grid_of_the_log_snr_begins_where_a_little_signal_is_left",
        ("recorded-start-of-the-process", '"t_start": problem.first_time(grid)', '"t_start": problem.t_start'),
        ("few-step-networks-from-a-little-signal", 'whole = whole or SECTIONS.get(options.sampler) == "few_steps"', "whole = whole"),
    ),
    *mutants("samplers/configured.py", f"{FIRST_TIMES}::test_too_few_steps_of_the_sde_are_refused",
        ("euler-steps-to-their-whole-stability", "STABLE = {1: 1.5, 2: 2.0}", "STABLE = {1: 2.0, 2: 2.0}"),
        ("second-order-steps-without-stability", "STABLE = {1: 1.5, 2: 2.0}", "STABLE = {1: 1.5, 2: 3.0}"),
        ("too-few-steps-without-noise-refused", "group.h**2 * rate", "rate"),
        ("too-few-steps-of-any-process-refused", 'group.steps == "grid" and problem.starts_fast and', 'group.steps == "grid" and'),
    ),
    *mutants("modes/interpolate.py", "tests/modes/test_interpolate.py::test_images_are_encoded_up_to_the_end_of_the_process",
        ("interpolation-from-a-little-signal", "stand_in(config, sde), whole=True)", "stand_in(config, sde))"),
    ),
    *mutants("score_sde/trained.py", "tests/test_library_latents.py::test_latents_are_at_the_end_of_the_process",
        ("latents-at-a-little-signal", "configure(config.sampling, self.sde, whole=True)", "configure(config.sampling, self.sde)"),
    ),
    *mutants("samplers/configured.py", f"{FIRST_TIMES}::test_edm_along_the_log_snr_is_nearer_where_alpha_goes_to_0",
        ("edm-along-rho-from-thousands", '"log_snr" if problem.starts_fast else "rho"', '"rho"'),
    ),
    *mutants("samplers/configured.py", "tests/samplers/test_configured.py::test_a_networks_error_of_a_few_hundredths_stays_small",
        ("ode-in-equal-steps-where-time-is-fast", 'else problem.small_steps\n    return solved(problem, sampler, "ode"', 'else "uniform"\n    return solved(problem, sampler, "ode"'),
    ),
    *mutants("samplers/configured.py", "tests/samplers/test_configured.py::test_the_grid_is_for_the_steps_that_need_it",
        ("levels-of-langevin-on-another-grid", "problem.grid(num_times - 1, problem.small_steps)", "problem.grid(num_times - 1)"),
    ),
    *mutants("samplers/configured.py", "tests/samplers/test_configured.py::test_what_cannot_follow_such_a_process_is_refused",
        ("published-euler-of-any-length-refused", "problem.starts_fast and not growth <= 1 and", "problem.starts_fast and"),
        ("published-euler-under-any-process", "not growth <= 1 and not steps_along_chain(", "False and not steps_along_chain("),
        ("polynomials-in-t-under-any-process", "if method in IN_TIME and problem.starts_fast:", "if False:"),
    ),
    *mutants("samplers/configured.py", f"{FIXED_STEPS}::test_a_list_of_times_is_that_of_the_sampler_in_use",
        ("ode-grid-of-the-other-sampler", "problem.grid(num_steps, suited), settings, tweedie", "problem.grid(problem.options.pc.num_steps, suited), settings, tweedie"),
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
        ("corrector-at-the-time-before", "corrector(score, self.sde, x, s, a, noise", "corrector(score, self.sde, x, t, a, noise"),
        ("a-upside-down", "self.sde.alpha_between(s, t)", "self.sde.alpha_between(t, s)"),
        ("corrector-steps-share-noise", "noise(k, 1 + j, x)", "noise(k, 1, x)"),
        ("corrector-shares-the-predictors-noise", "noise(k, 1 + j, x)", "noise(k, j, x)"),
        ("steps-share-noise", "noise(k, 0, x)", "noise(0, 0, x)"),
        ("corrector-before-predictor",
         """\
            x = self.predictor(score, self.sde, x, t, s, z)
        if self.corrector is None:
            return x
        if self.last_noise:
            return self.correct(score, noise, k, t, s, x)
""",
         """\
            if self.corrector is not None and self.last_noise:
                x = self.correct(score, noise, k, t, s, x)
            x = self.predictor(score, self.sde, x, t, s, z)
        if self.corrector is None or self.predictor is not None and self.last_noise:
            return x
        if self.last_noise:
            return self.correct(score, noise, k, t, s, x)
"""),
    ),
    *mutants("samplers/predictor_corrector.py", EVALUATIONS,
        ("one-corrector-step-counted", "return 0 if self.corrector is None else self.corrector_steps", "return 0 if self.corrector is None else 1"),
    ),
    *mutants("samplers/record.py", VECTOR_LAWS,
        ("start-ignored", "if x_start is None else x_start", "if True else x_start"),
    ),
    *mutants("generation/drivers.py", DENOISED,
        ("no-last-denoising", "return tweedie(model, sde, x, configured.grid[-1]), 1", "return x, 1"),
    ),
    *mutants("generation/drivers.py", EVALUATIONS,
        ("denoising-not-counted", "sampler.nfe(num_steps) + more", "sampler.nfe(num_steps)"),
        ("ode-denoising-not-counted", "jnp.asarray(samples.nfe + more)", "jnp.asarray(samples.nfe)"),
    ),
    *mutants("samplers/published.py", PUBLISHED_LEVELS,
        ("published-level-rounded", "i = (t * (chain.num_scales - 1) / sde.T).astype", "i = jnp.round(t * (chain.num_scales - 1) / sde.T).astype"),
    ),
    *mutants("samplers/published.py", PUBLISHED_SAMPLER,
        ("published-grid-of-n-steps", "jnp.linspace(self.sde.signal_end, eps, self.num_scales)", "jnp.linspace(self.sde.signal_end, eps, self.num_scales + 1)"),
        ("published-norms-of-one-device", "return norm if self.axis_name is None else jax.lax.pmean(norm, self.axis_name)", "return norm"),
        ("published-last-noise-kept", "return state.mean if self.noise_removal else state.x", "return state.x"),
        ("published-predictor-first",
         """\
        x = self.correct(score, grid[k], noise, k, state.x)
        return self.predict(score, grid[k], noise(k, 0, x), x)
""",
         """\
        x, mean = self.predict(score, grid[k], noise(k, 0, state.x), state.x)
        return State(self.correct(score, grid[k], noise, k, x), mean)
"""),
    ),
    *mutants("samplers/record.py", "tests/samplers/test_grids.py::test_a_grid_outside_the_process_is_refused tests/samplers/test_grids.py::test_a_grid_of_the_process_is_not",
        ("grid-that-begins-after-the-end-of-time", "np.all(above & (times <= T * (1 + 1e-6)))", "np.all(above)"),
        ("grid-that-ends-at-zero", "above = times >= 0 if self.reaches_zero else times > 0", "above = times >= 0"),
        ("grid-that-rises-for-any-sampler", "(self.reversible and np.all(steps >= 0))", "np.all(steps >= 0)"),
        ("repeated-times-refused", "np.all(steps <= 0) or", "np.all(steps < 0) or"),
    ),
    *mutants("samplers/noise.py", f"{NOISE}::test_noise_of_other_images_is_refused",
        ("noise-of-fewer-images", "if len(self.keys) != len(like):", "if False:"),
    ),
    *mutants("samplers/grids.py", "tests/samplers/test_grids.py::test_a_grid_of_the_log_snr_ends_above_zero",
        ("log-snr-down-to-zero", "and not t_end > 0:", "and t_end < 0:"),
    ),
    *mutants("samplers/noise.py", NOISE,
        ("images-of-a-batch-share-noise", "jax.random.fold_in(key, index)", "jax.random.fold_in(key, 0)"),
        ("noise-the-same-in-every-step", "jax.random.fold_in(key, step - START)", "jax.random.fold_in(key, 0)"),
        ("noise-the-same-in-every-slot", "jax.random.fold_in(jax.random.fold_in(key, step - START), slot)", "jax.random.fold_in(key, step - START)"),
        ("noise-uniform", "return jax.random.normal(key, like.shape[1:], like.dtype)", "return jax.random.uniform(key, like.shape[1:], like.dtype, -(3**0.5), 3**0.5)"),
    ),
    *mutants("generation/drivers.py", BATCHES,
        ("steps-past-the-end", "last = jnp.minimum(first + steps_per_call, num_steps)", "last = first + steps_per_call"),
    ),
    *mutants("generation/sample_files.py", f"{SAMPLE_FILES}::test_what_cannot_work_is_refused",
        ("pictures-of-any-number-of-channels", 'if save == "png" and num_channels not in (1, 3):', "if False:"),
    ),
    *mutants("generation/sample_files.py", SAMPLE_FILES,
        ("pictures-written-over-each-other", "self.first += len(images)", "self.first += 0"),
        ("last-batch-counted-as-a-whole-one", "len(array) * (num_batches - 1) + len(last[name])", "len(array) * num_batches"),
    ),
    *mutants("generation/sample_files.py", f"{SAMPLE_FILES}::test_files_say_of_which_class_each_image_is",
        ("samples-without-their-classes", "for name, array in of_all.items():", "for name, array in ():"),
    ),
    *mutants("modes/sample.py", f"{SAMPLE_FILES}::test_an_array_file_has_what_makes_its_levels_the_shades_of_pictures",
        ("files-with-the-last-level-for-their-number", "np.asarray(space.num_levels)", "np.asarray(space.num_levels - 1)"),
    ),
    *mutants("generation/conditions.py", SAMPLE_FILES,
        ("labels-in-blocks", "turn[indices % len(turn)]", "turn[(indices // 2) % len(turn)]"),
    ),
    *mutants("score_sde/unfinished.py", SAMPLE_FILES,
        ("finished-batches-drawn-again", "return self.read(number) if number in self.found else None", "return None"),
    ),
    *mutants("devices/batches.py", BATCHES,
        ("last-batch-begins-again", "yield start + places,", "yield (start + places) % max(start, batch_size),"),
    ),
    *mutants("samplers/record.py", f"{ODE}::test_gaussian_law_of_the_flow",
        ("ode-from-unit-noise", "self.sde.prior_sample(noise(START, 0, like))", "noise(START, 0, like)"),
    ),
]

EVALUATION = [
]
# fmt: on
