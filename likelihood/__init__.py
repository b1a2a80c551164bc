"""Likelihoods: log-densities by the probability-flow ODE, bounds on the SDE's, bits/dim of a set of images.

log_density.py    ln p of an array of images, by the ODE with the trace of its Jacobian
trace.py, estimators.py, hutch_plus_plus.py, divergence.py
                  that trace, exact or estimated
bound.py, discrete_bound.py, decoder.py
                  variational bounds: continuous, of a chain, and the last step from eps to the data
per_image.py      what config.likelihood measures of each image
bits_per_dim.py   of a set of images over devices and repeats
dequantization/   the noise that makes integer images continuous: uniform, or a flow that learns it
options.py        config.likelihood, config.dequantizer and config.classifier
figures.py, table.py, picture.py
                  what --mode likelihood records and shows
anomaly.py, classifier.py
                  what likelihoods are used for
"""
