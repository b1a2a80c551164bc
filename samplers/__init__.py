"""Samplers: how noise becomes images. One family of update rules to a file.

A sampler takes a score model (`score(x, t)`), a forward process, times or tolerances, and its noise, and
gives a `Samples` record. `predictor_corrector.py` simulates the reverse SDE, `ode.py` solves the
probability-flow ODE, `generate.py` runs either over many batches and devices. A new predictor or corrector
is a function registered in `predictors.py` or `correctors.py`; a new solver of the ODE one line in `ode.py`.
"""
