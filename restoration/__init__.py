"""Image restoration: posterior samples given measurements, by several methods, and their evaluation.

options.py     config.restore
methods.py     METHODS: for each name, the score given y and the sampler
observed.py    the measurements: made from images of a split, file or folder, or read from a file
draws.py       any number of posterior draws per image, in batches
figures.py     PSNR, SSIM, residuals, ranks and coverage
table.py       these figures as text
picture.py     originals, measurements, draws, mean and standard deviation side by side

A package of its own because it combines measurements, guidance, samplers and evaluation, which do not depend on each other.
"""
