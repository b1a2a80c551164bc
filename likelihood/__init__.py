"""Likelihoods: log-densities of the probability-flow ODE, bounds on those of the SDE, bits/dim of a set of images.

log_density.py    log-densities of a batch of images, by the probability-flow ODE
trace.py, estimators.py, hutch_plus_plus.py, divergence.py
                  exact and estimated traces of the Jacobian along the ODE
bound.py, discrete_bound.py, decoder.py
                  variational bounds: of the SDE, of a chain, and the last step from eps to the data
per_image.py      the quantities that config.likelihood measures per image
bits_per_dim.py   bits/dim of a set of images, over batches, devices and repeats
dequantization/   uniform or learned noise that makes integer images continuous
options.py        config.likelihood, config.dequantizer and config.classifier
figures.py, table.py, picture.py
                  the records, table and picture of --mode likelihood
anomaly.py, classifier.py
                  anomaly detection and classification by likelihood
"""
