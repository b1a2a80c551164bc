"""Image quality: distances between the features of images and of real images, each with its standard error.

    estimate.py         a figure with its error and interval
    moments.py          mean and covariance of features, accumulated in parts
    strata.py           sets with equally many images of each class
    frechet.py          the Frechet distance (FID for Inception features), its error and its limit for infinitely many images
    kernel_distance.py  KID, the squared maximum mean discrepancy
    inception_score.py  IS
    neighbours.py       precision, recall, density, coverage; nearest real images
    sliced.py           MIND, the sliced Wasserstein distance
    diversity.py        LPIPS between images of one set
    assessment.py       all of these figures, with notes on their reliability; memorization of training images
    classes.py          the same for each class
    image_sets.py       images by index, from a split, a file or a folder
    statistics_files.py files of features, mean and covariance: our own, and those published by other programs
    reference.py        the real images, or their statistics, to compare with
    table.py            figures as text
    few_images.py       the Frechet distance of few images, and whether its limit can be estimated
    tradeoff_table.py, tradeoff_picture.py
                        quality against network evaluations

Features are float arrays (n, d), one row per image. Figures are computed by NumPy in float64, with a part of the rows converted at a time.
"""
