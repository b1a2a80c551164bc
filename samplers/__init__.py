"""Samplers: from noise to images.

    names.py, configured.py     the names of --sampler; building and checking the sampler of a config (problem.py)
    stepping.py                 samplers that are a loop over steps: predictor_corrector.py (predictors.py, correctors.py,
                                optimal_variance.py), edm.py, published.py
    imputation.py, ddrm.py, decoupled.py, twisted.py
                                samplers conditioned on a measurement: RePaint, DDRM, DAPS, PnP-DM, particles
                                (given_gaussian.py, resampling.py)
    few_steps.py                samplers of networks trained for few steps: consistency models, MeanFlow
    ode.py, sde.py              the probability-flow ODE and the reverse SDE, solved by diffrax (adaptive.py,
                                fixed_steps.py, brownian.py)
    exponential/                DDIM, DPM-Solver, DEIS, UniPC as diffrax solvers
    grids.py, schedules.py      time grids of fixed steps
    noise.py, record.py         the source of randomness; the interface of all samplers and what they return
    entries.py, entry_list.py   samplers with all settings but the number of steps, by name; parsing of lists of them
    options.py                  the options of config.sampling

Every sampler is called as sampler(score, grid, noise, like, x_start, keep_path) -> Samples, for every process. generation/
runs them over devices, for any number of images. docs/samplers.md describes what each is good for and how to add one.
"""
