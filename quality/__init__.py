"""How good images are: distances of their features to those of real images, each with its error.

    moments.py         mean and covariance of features that come in parts
    frechet.py         the Frechet distance (FID where features are Inception's), its error and its limit of many images
    kernel_distance.py KID, the squared maximum mean discrepancy
    inception_score.py IS
    neighbours.py      precision, recall, density, coverage; nearest real images
    sliced.py          MIND, the sliced Wasserstein distance
    few_images.py      the Frechet distance of few images, and whether they have a limit
    tradeoff_table.py, tradeoff_picture.py
                       quality against evaluations of the network

Features are float arrays (n, d), a row for each image. Everything is NumPy in float64.
"""
