"""What quality is measured in: numbers that a network trained on photographs makes of an image.

    extractors.py        pixels or a network's features of any number of images, as config.evaluation.features says
    resize.py            levels of any size -> 299x299 as TensorFlow 1 enlarged them
    inception.py         the InceptionV3 of FID, KID and IS
    inception_weights.py its weights, read from the public PyTorch file

Images are (n, h, w, c), levels 0..255 in uint8; features are float arrays (n, d), a row for each image.
"""
