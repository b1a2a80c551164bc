"""Evaluation of score models: distances to known distributions, denoising errors, calibration, pictures. Likelihoods: see likelihood/."""
