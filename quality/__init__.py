"""How good images are: distances of their features to those of real images, each with its error.

    estimate.py         a figure with its error and interval
    moments.py          mean and covariance of features that come in parts
    strata.py           sets with as many images of each class
    frechet.py          the Frechet distance (FID where features are Inception's), its error and its limit of many images
    kernel_distance.py  KID, the squared maximum mean discrepancy
    inception_score.py  IS
    neighbours.py       precision, recall, density, coverage; nearest real images
    sliced.py           MIND, the sliced Wasserstein distance
    diversity.py        LPIPS between images of one set
    assessment.py       all of them, with what should be known of them; whether images are learnt by heart
    classes.py          the same of each class
    image_sets.py       images by their places: a split, a file, a folder
    statistics_files.py features with mean and covariance in a file: kept, and read where other programs publish them
    reference.py        what images are held beside
    table.py            figures for people
    few_images.py       the Frechet distance of few images, and whether they have a limit
    tradeoff_table.py, tradeoff_picture.py
                        quality against evaluations of the network

Features are float arrays (n, d), a row for each image. Figures are NumPy's in float64, of which a part of the rows is there at a time.
"""
