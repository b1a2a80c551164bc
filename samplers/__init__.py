"""Samplers: how noise becomes images.

    names.py, configured.py     the names of --sampler; the sampler that a config describes, checked (problem.py)
    stepping.py                 samplers that are a loop: predictor_corrector.py (predictors.py, correctors.py,
                                optimal_variance.py), edm.py, published.py
    imputation.py, ddrm.py, decoupled.py, twisted.py
                                samplers that are given a measurement: RePaint, DDRM, DAPS, PnP-DM, particles
                                (given_gaussian.py, resampling.py)
    few_steps.py                of networks that were trained for few steps: consistency models, MeanFlow
    ode.py, sde.py              the probability-flow ODE and the reverse SDE by diffrax (adaptive.py,
                                fixed_steps.py, brownian.py)
    exponential/                DDIM, DPM-Solver, DEIS, UniPC as diffrax solvers
    grids.py, schedules.py      the times of fixed steps
    noise.py, record.py         where randomness comes from; how every sampler is called, and what it gives back
    entries.py, entry_list.py   names for samplers with all chosen but their steps, and lists of them as text
    options.py                  the options of config.sampling

Every sampler is called as sampler(score, grid, noise, like, x_start, keep_path) -> Samples, for every process.
generation/ runs them, over devices, for any number of images. docs/samplers.md says what each is good for and how to add one.
"""
