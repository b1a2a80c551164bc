"""Mistakes in DDIM, DPM-Solver and their stochastic forms."""

from tests.mutants.mutant import mutants

FLOW = "tests/samplers/test_exponential.py"
NOISE = "tests/samplers/test_exponential_noise.py"
SINGLE_STEP = "samplers/exponential/single_step.py"
STOCHASTIC = "samplers/exponential/stochastic.py"
SAMPLER = "samplers/exponential/sampler.py"

# fmt: off
EXPONENTIAL = [
    *mutants(SINGLE_STEP, f"{FLOW}::test_error_after_40_steps",
        ("ddim-as-euler-in-lambda", "constant = -jnp.expm1(-h)", "constant = h"),
        ("noise-line-of-the-constants-weight", "linear = constant - h * jnp.exp(-h)", "linear = 0.5 * h * constant"),
        ("dpm-solver-2-halfway-in-rho", "middle = predict(0.5, with_noise(x, rho, 0.5 * h, eps))\n        end", "middle = predict(0.5, 0.5 * (x + with_noise(x, rho, h, eps)))\n        end"),
        ("dpm-solver-3-second-stage-without-slope", "with_noise(x, rho, two_thirds, eps, slope)", "with_noise(x, rho, two_thirds, eps)"),
        ("dpm-solver-3-slope-over-a-third", "(later - eps) / two_thirds", "(later - eps) / third"),
        ("data-of-the-middle-with-the-first-noise-level", "middle - rho * jnp.exp(-0.5 * h) * predict(0.5, middle)", "middle - rho * predict(0.5, middle)"),
        ("data-held-half-the-way", "data + jnp.exp(-h) * (x - data)", "data + jnp.exp(-0.5 * h) * (x - data)"),
    ),
    *mutants(SINGLE_STEP, f"{FLOW}::test_inversion_and_back",
        ("no-way-back-to-noise", "rho = jnp.exp(-jnp.sign(h) * t0)", "rho = jnp.exp(-t0)"),
    ),
    *mutants(SINGLE_STEP, f"{FLOW}::test_states_between_the_steps",
        ("states-between-without-their-slope", "share * (1.0 - share) * self.bend", "0.0 * self.bend"),
        ("states-between-by-lambda", "share = jnp.expm1(-tau) / jnp.expm1(-self.h)", "share = tau / self.h"),
    ),
    *mutants(SINGLE_STEP, f"{FLOW}::test_adaptive_steps_follow_the_tolerance",
        ("error-estimate-of-the-first-order", "eps + 0.5 * h * slope", "eps"),
    ),
    *mutants(SAMPLER, f"{FLOW}::test_adaptive_steps_are_much_the_same_in_every_process",
        ("errors-in-units-of-x-over-alpha", "start, end = (jax.lax.rsqrt(1.0 + jnp.exp(-2.0 * t)) for t in (t0, t1))", "start, end = 1.0, 1.0"),
    ),
    *mutants("samplers/adaptive.py", f"{FLOW}::test_nfe_is_the_number_of_calls",
        ("exponential-rejected-steps-not-counted", "stats[\"num_steps\"]", "stats[\"num_accepted_steps\"]"),
    ),
    *mutants(SAMPLER, f"{FLOW}::test_error_after_40_steps",
        ("score-at-half-the-log-snr", "noise_at(self.sde, 2.0 * lambda_,", "noise_at(self.sde, lambda_,"),
    ),
    *mutants(SAMPLER, f"{FLOW}::test_every_process_moves_x_over_alpha_alike",
        ("result-not-scaled-back", "Samples(alpha[-1] * solution.y,", "Samples(solution.y,"),
    ),
    *mutants(SAMPLER, f"{FLOW}::test_the_path_is_where_shorter_grids_end",
        ("path-of-x-over-alpha", "expand(alpha, solution.path) * solution.path", "solution.path"),
    ),
    *mutants("samplers/exponential/methods.py", f"{FLOW}::test_nfe_is_the_number_of_calls",
        ("dpm-solver-3-counted-as-two", "DPMSolver3(), 3, 3,", "DPMSolver3(), 3, 2,"),
    ),
    *mutants(STOCHASTIC, f"{NOISE}::test_law_on_correlated_data",
        ("eta-not-squared", "return -(self.eta**2) *", "return -self.eta *"),
        ("forward-variance-for-the-posterior", "return -(self.eta**2) * jnp.expm1(-2.0 * h)", "return (self.eta**2) * (2.0 * h) / (1.0 + 2.0 * h)"),
        ("noise-kept-beside-the-new", "jnp.sqrt(1.0 - v) * (y0 - data)", "(y0 - data)"),
        ("noise-of-a-unit-step", "brownian.contr(t0, t1) / jnp.sqrt(h)", "brownian.contr(t0, t1)"),
        ("data-extrapolated-to-the-end", "data + 0.5 * h / h_before", "data + h / h_before"),
        ("steps-taken-as-equal", "data + 0.5 * h / h_before * (data - before)", "data + 0.5 * jnp.isfinite(h_before) * (data - before)"),
        ("first-step-extrapolates-from-zero", "jnp.full_like(t0, jnp.inf)", "jnp.ones_like(t0)"),
    ),
    *mutants(STOCHASTIC, f"{NOISE}::test_order_of_the_law",
        ("ddims-noise-in-the-multistep", "return -jnp.expm1(-2.0 * self.eta**2 * h)", "return -(self.eta**2) * jnp.expm1(-2.0 * h)"),
    ),
    *mutants(SAMPLER, f"{NOISE}::test_without_noise_it_is_the_deterministic_method {NOISE}::test_law_on_correlated_data",
        ("always-the-noise-of-eta-1", "method.with_noise(self.eta)", "method.with_noise(1.0)"),
    ),
]
# fmt: on
