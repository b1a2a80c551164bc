"""Measurements of images, y = A x_0 + sigma_y n, from which guidance and samplers restore them.

measurement.py     an operator A with its noise: draws, residuals, likelihoods
linear.py          operators; the transpose of linear ones, the pseudo-inverse where singular values are known
nonlinear.py       Fourier magnitudes, rounding, any function
coordinates.py     some of the pixels, or of the coordinates in another orthonormal basis
axes.py            one matrix per axis: grey, super-resolution, separable blur
fourier.py         periodic convolution with any kernel; some of the frequencies
matrices.py        any matrix; any linear function
masks.py           masks of known pixels (box, half, random, from a picture) and frequencies
kernels.py         kernels of Gaussian and motion blur
resampling.py      matrices that downsample or blur a line of pixels
configured.py      the measurement described by config.restore.measurement or config.condition
condition_image.py the condition image of a network, made from a measurement

A package of its own because operators know nothing about scores: guidance, samplers and evaluation all depend on it.
"""
