"""Images restored from measurements: draws of the posterior by a method, and what they are worth.

options.py     config.restore
methods.py     METHODS: the score given y and the sampler for it, by name
observed.py    images of a split, a file or a folder, measured; or measurements as they are
draws.py       any number of draws of each image, batch by batch
figures.py     PSNR, SSIM, residuals, ranks and coverage
table.py       the same for people
picture.py     originals, measurements, draws, mean and spread side by side

A room of its own, since it puts measurements, guidance, samplers and evaluation together, which know nothing of each other.
"""
