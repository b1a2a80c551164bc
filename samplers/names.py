"""The names that --sampler takes, with a line of help on each. Nothing heavy is imported here, so that --help is fast."""

SAMPLERS = {
    "pc": "predictor-corrector on the reverse SDE, ancestral sampling, annealed Langevin (sampling.pc)",
    "pc_published": "the published code's predictor-corrector, to the letter (sampling.pc)",
    "ode": "probability-flow ODE by diffrax, adaptive or on a grid (sampling.ode)",
    "sde": "reverse SDE by diffrax, on a grid or adaptive (sampling.sde)",
    "edm": "EDM's Heun sampler with churn, order 2 (sampling.edm)",
    "consistency": "consistency sampling, of a consistency model (sampling.few_steps)",
    "mean_flow": "a step along the average velocity, of a MeanFlow network (sampling.few_steps)",
    "ddim": "DDIM, order 1, with any eta (sampling.exponential, as all below)",
    "dpm_solver_2": "DPM-Solver-2, order 2, two evaluations a step",
    "dpm_solver_3": "DPM-Solver-3, order 3, three evaluations a step",
    "dpm_solver_pp_2s": "DPM-Solver++(2S), order 2, two evaluations a step",
    "dpm_solver_pp_2m": "DPM-Solver++(2M), order 2, with any eta",
    "dpm_solver_pp_3m": "DPM-Solver++(3M), order 2 with its first-order start",
    "deis_t_1": "DEIS, polynomial in t through 2 evaluations, order 2",
    "deis_t_2": "through 3, order 3",
    "deis_t_3": "through 4, order 4",
    "deis_rho_1": "DEIS, polynomial in sigma/alpha through 2 evaluations, order 2",
    "deis_rho_2": "through 3, order 3",
    "deis_rho_3": "through 4, order 4",
    "unip_3": "UniP-3, order 3",
    "unipc_2_bh1": "UniPC-2, order 3",
    "unipc_2_bh2": "UniPC-2, order 3",
    "unipc_3": "UniPC-3, order 4",
}

SECTIONS = dict.fromkeys(SAMPLERS, "exponential") | {
    "pc": "pc",
    "pc_published": "pc",
    "ode": "ode",
    "sde": "sde",
    "edm": "edm",
    "consistency": "few_steps",
    "mean_flow": "few_steps",
}
"""The section of config.sampling with the options of each sampler; those of the others are not read."""
