"""Mistakes in the solvers of the reverse SDE, their Brownian paths, and EDM's sampler."""

from tests.mutants.mutant import mutants

BROWNIAN = "tests/samplers/test_brownian.py"
LAWS = "tests/samplers/test_sde_laws.py::test_law_on_correlated_data"
SAMPLER = "tests/samplers/test_sde.py"
EDM = "tests/samplers/test_edm.py"

# fmt: off
REVERSE_SDE = [
    *mutants("samplers/brownian.py", BROWNIAN,
        ("levy-area-of-variance-ds", "jnp.sqrt(ds / 12.0)", "jnp.sqrt(ds)"),
        ("levy-area-shares-the-increments-noise", "self.noise(k, 1, self.like)", "self.noise(k, 0, self.like)"),
        ("increment-of-deviation-ds", "increment = jnp.sqrt(ds)", "increment = ds"),
        ("step-found-by-its-start", "middles - 0.5 * (t0 + t1)", "middles - t0"),
        ("levy-area-of-the-tree-not-turned", "H=jnp.negative(there.H)", "H=there.H"),
        ("tree-not-rooted-at-the-end", "tree.evaluate(self.t1 - t1, self.t1 - t0,", "tree.evaluate(t0 - self.t0, t1 - self.t0,"),
        ("trees-share-a-path", "key=jax.random.fold_in(key, TREE)", "key=jax.random.fold_in(jax.random.key(0), TREE)"),
    ),
    *mutants("samplers/sde.py", LAWS,
        ("sde-noise-of-h-1", "self.sde.reverse_diffusion(-s, self.h)", "self.sde.reverse_diffusion(-s)"),
        ("sde-drift-of-h-1", "self.sde.reverse_drift(x, t, score_at(score, x, t), self.h)", "self.sde.reverse_drift(x, t, score_at(score, x, t))"),
        ("sde-forwards", "return -self.sde.reverse_drift", "return self.sde.reverse_drift"),
        ("shark-is-sra1", "SDESolver(diffrax.ShARK, 2, True)", "SDESolver(diffrax.SRA1, 2, True)"),
        ("sea-is-euler", "SDESolver(diffrax.SEA, 1, False)", "SDESolver(diffrax.Euler, 1, False)"),
    ),
    *mutants("samplers/sde.py", f"{SAMPLER}::test_nfe_is_the_number_of_calls",
        ("sde-counts-steps", "keep_path, solver.evaluations,", "keep_path, 1,"),
    ),
    *mutants("samplers/adaptive.py", f"{SAMPLER}::test_nfe_is_the_number_of_calls",
        ("sde-counts-accepted-steps", 'stats["num_steps"]', 'stats["num_accepted_steps"]'),
    ),
    *mutants("samplers/sde.py", f"{SAMPLER}::test_a_path_that_is_kept_is_not_interpolated",
        ("sde-path-interpolated", "step_ts=s if keep_path else None", "step_ts=None"),
    ),
    *mutants("samplers/sde.py", f"{SAMPLER}::test_an_image_with_steps_of_its_own_does_not_depend_on_the_others",
        ("sde-steps-of-the-batch", "self.adaptive is not None and self.adaptive.each_image", "False"),
    ),
    *mutants("samplers/sde.py", f"{SAMPLER}::test_without_noise_no_noise_is_drawn",
        ("sde-draws-noise-for-the-ode", "noise if self.h else NoNoise()", "noise"),
    ),
    *mutants("samplers/edm.py", EDM,
        ("churn-without-the-limit", "min(self.s_churn / grid.shape[0], MAX_GAMMA)", "self.s_churn / grid.shape[0]"),
        ("churn-counts-steps", "self.s_churn / grid.shape[0]", "self.s_churn / (grid.shape[0] - 1)"),
        ("churn-beyond-the-process", "(1.0 + gamma) * rho, rho), limit)", "(1.0 + gamma) * rho, rho), 2.0 * limit)"),
        ("churn-noise-of-the-difference", "rho_hat**2 - rho**2", "(rho_hat - rho)**2"),
        ("churn-without-its-time", "return later, x_hat +", "return t, x_hat +"),
        ("churn-noise-unscaled", "self.s_noise * added * z", "added * z"),
        ("churn-at-any-noise", "(self.s_min <= rho) & (rho <= self.s_max)", "rho > 0"),
        ("heun-corrects-at-the-start", "self._slope(score, s, end)", "self._slope(score, t, end)"),
        ("heun-corrects-from-the-start", "self._slope(score, s, end)", "self._slope(score, s, x_hat)"),
        ("heun-without-half", "0.5 * rise * (slope", "rise * (slope"),
        ("edm-forgets-alpha", "return self.sde.alpha(s) * end", "return self.sde.alpha(t) * end"),
        ("edm-counts-the-last-step", "return self.order * num_steps", "return self.order * num_steps + 1"),
    ),
]
