"""Mistakes in consistency models, MeanFlow and their samplers."""

from tests.mutants.mutant import mutants

CONSISTENCY = "tests/training/test_consistency.py"
MEAN_FLOW = "tests/training/test_mean_flow.py"
SAMPLERS = "tests/samplers/test_few_steps.py"
RUNS = "tests/modes/test_few_step_runs.py"

# fmt: off
FEW_STEPS = [
    *mutants("training/teacher.py", f"{RUNS}::test_a_run_keeps_the_teacher_that_it_began_with",
        ("teacher-as-it-is-now", "if not (saved_steps(checkpoint_folder(workdir)) and (workdir / WEIGHTS).exists()):", "if True:"),
        ("teacher-by-its-present-config", "kept if kept.exists() else folder", "folder"),
    ),
    *mutants("training/teacher.py", "tests/modes/test_few_step_runs.py",
        ("teacher-of-texts", "if teacher.model.words and teacher.model.words != config.model.words:", "if False:"),
    ),
    *mutants("training/score_task.py", f"{RUNS}::test_another_number_of_updates_moves_what_is_spread_over_them",
        ("jump-of-the-schedule-not-said", 'if "training.n_iters" in changed and self.spread:', "if False:"),
    ),
    *mutants("training/score_task.py", "tests/modes/test_few_step_runs.py",
        ("moved-before-it-is-refused", "    if config.checkpoint_step:  # before any checkpoint is moved\n", "    if False:\n"),
    ),
    *mutants("models/edm_network.py", "tests/models/test_edm_networks.py::test_no_augmentation_of_a_network_that_takes_an_interval",
        ("null-of-nothing", "null = dict(super().null_condition(others)) if", "null = super().null_condition(others) if"),
    ),
    *mutants("models/consistency.py", CONSISTENCY,
        ("consistency-ends-without-noise", "moved = (sde.sigma(s) * alpha - sde.alpha(s) * sigma) / w", "moved = (-sde.alpha(s) * sigma) / w"),
        ("consistency-of-x-alone", "kept = (sde.alpha(s) * sigma_rate - sde.sigma(s) * alpha_rate) / w", "kept = sde.alpha(s) / alpha"),
        ("consistency-boundary-by-rounding", "jnp.where(t == s, 0.0, moved)", "moved + 1e-7"),
    ),
    *mutants("training/consistency.py", CONSISTENCY,
        ("target-not-stopped", "jax.lax.stop_gradient(target)", "target"),
        ("teacher-by-euler", "0.5 * rise * (slope + slope_there)", "rise * slope"),
        ("teacher-step-without-alpha", "return alpha_end * (hat +", "return (hat +"),
        ("other-noise-of-the-neighbour", "return self.noised(x0, s, z)", "return self.noised(x0, s, -z)"),
        ("neighbour-of-the-same-time", "self.neighbour(score_model, x, x0, s, t, z), s, *given)", "self.neighbour(score_model, x, x0, s, t, z), t, *given)"),
        ("change-not-over-its-interval", "return self.distance(difference) / (rho_t - rho_s)", "return self.distance(difference)"),
        ("huber-of-half-the-sum", "self.huber * (0.5 * difference[0].size) ** 0.5", "self.huber"),
        ("intervals-of-equal-rho", "self.sde.time_of_log_snr(-2.0 * POWER * jnp.log(root))", "self.sde.time_of_log_snr(-2.0 * jnp.log(root))"),
        ("last-interval-left-out", "jnp.clip(number, 0, self.count - 1)", "jnp.clip(number, 0, self.count - 2)"),
        ("one-doubling-too-few", "// (doublings + 1), 1)", "// doublings, 1)"),
    ),
    *mutants("training/mean_flow.py", MEAN_FLOW,
        ("derivative-without-time", "(v, jnp.ones_like(t))", "(v, jnp.zeros_like(t))"),
        ("derivative-added", "v - expand(t - r, x) * rate", "v + expand(t - r, x) * rate"),
        ("mean-flow-target-not-stopped", "target = jax.lax.stop_gradient(v - expand(t - r, x) * rate)", "target = v - expand(t - r, x) * rate"),
        ("times-of-a-pair-swapped", "t = jnp.where(apart, jnp.maximum(one, other), one)", "t = jnp.where(apart, jnp.minimum(one, other), one)"),
        ("weight-of-one-time", "jnp.where(apart, self._weight(other), 1.0)", "1.0"),
        ("adaptive-weight-with-gradient", "jax.lax.stop_gradient(error + OFFSET) ** -self.power", "(error + OFFSET) ** -self.power"),
    ),
    *mutants("models/predictions.py", MEAN_FLOW,
        ("interval-told-as-the-time", "return INTERVAL_LABEL * (t - r) / self.sde.T", "return INTERVAL_LABEL * t / self.sde.T"),
    ),
    *mutants("samplers/few_steps.py", SAMPLERS,
        ("noise-of-the-whole-process", "self.sde.variance_between(eps, s)", "jnp.square(self.sde.sigma(s))"),
        ("noise-in-the-last-step", "jnp.where(last, 0.0,", "jnp.where(last, 1e-3,"),
        ("step-of-the-whole-time", "return state - (t - r) *", "return state - t *"),
        ("average-velocity-of-swapped-times", "times = batch_times(state, r), batch_times(state, t)", "times = batch_times(state, t), batch_times(state, r)"),
    ),
    *mutants("samplers/configured.py", f"{SAMPLERS}::test_what_a_config_makes_of_them",
        ("mean-flow-stops-at-eps", "problem.grid(num_steps).at[-1].set(0.0)", "problem.grid(num_steps)"),
    ),
    *mutants("generation/sampled_score.py", RUNS,
        ("another-eps-than-trained-on", 'if task == "consistency" and sampling.eps != config.training.eps:', "if False:"),
    ),
]
# fmt: on
