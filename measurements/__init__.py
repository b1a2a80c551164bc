"""What is measured of an image, y = A x_0 + sigma_y n: guidance and samplers restore images from it.

measurement.py     A with its noise: draws, residuals, likelihoods
linear.py          A: its transpose, and what follows where its singular values are known
nonlinear.py       magnitudes of frequencies, rounding, any function
coordinates.py     some pixels, or some coordinates of another orthonormal basis
axes.py            a matrix for each axis: grey, super-resolution, separable blur
fourier.py         periodic blur by any kernel; some frequencies
matrices.py        any matrix; any linear function of a user's
masks.py           which pixels are known: a box, a half, random ones, those of a picture; which frequencies
kernels.py         Gaussian and motion blur
resampling.py      matrices that shrink or blur a line of pixels
configured.py      the measurement that config.restore.measurement or config.condition describes
condition_image.py the image that a network is told, made of what is measured

A room of its own, since A knows nothing of scores: it is what guidance and samplers are given, and what results are held to.
"""
