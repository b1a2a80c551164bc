"""config.data."""

from __future__ import annotations

import dataclasses

from score_sde.options import (
    Section,
    at_least,
    count,
    finite,
    not_negative,
    one_of,
    option,
)


@dataclasses.dataclass(frozen=True)
class DataOptions(Section):
    """Fields of config.data: which images, of what size, and how they are scaled."""

    name: str = option(
        "digits",
        "digits | mnist5k | photo_patches | mnist | fashion_mnist | cifar10 | mixture | shapes (masks with their pictures) | captions (shapes with a text) | folder | arrays | huggingface | idx | any "
        "image dataset of TFDS",
    )
    data_dir: str = option(
        "", "where TFDS keeps its data; empty: TFDS's own default, ~/tensorflow_datasets"
    )
    folder: str = option(
        "",
        "data.name=folder: where the images are, PNG, JPEG or WebP files of 8 bits at any depth, in train/ and test/ or all together; "
        "what is transparent in them becomes black; data.name=huggingface: a folder of save_to_disk, or of Parquet files; "
        "data.name=idx: the folder of MNIST's four files, or of files named so",
    )
    file: str = option(
        "",
        "data.name=arrays: an .npz file with `images`, uint8 (n, h, w, c) or (n, h, w), and if it has them `labels`, `paired` (other "
        "images (n, h, w, _) that a network is told, uint8 or real numbers), `test_images`, `test_labels` and `test_paired`; or an .npy file "
        "with the images",
    )
    image_size: int = option(
        8,
        "pixels a side; the network halves it len(model.ch_mult) - 1 times",
        count(2**20),
    )
    image_width: int = option(
        0,
        "pixels of the width, where image_size is the height only; 0: images are square",
        count(2**20, 0),
    )
    num_channels: int = option(1, "channels of an image", count(1024))
    num_levels: int = option(
        256,
        "grey levels a channel: the dataset's own, or a divisor to which it is then reduced, as 32 for 8-bit images at 5 "
        "bits; 0: the data are real numbers, not levels",
        not_negative,
    )
    stored_levels: int = option(
        256,
        "grey levels of image files and of TFDS's images, all of 8 bits; digits know theirs",
        finite("2 to 256", lambda n: 2 <= n <= 256, 1, 512),
    )
    centered: bool = option(True, "the process runs on [-1, 1]; False: on [0, 1] (VE)")
    label: int = option(
        -1, "only the images of this class, of a dataset that has labels; -1: all", at_least(-1)
    )
    random_flip: bool = option(False, "mirror half of the training images")
    uniform_dequantization: bool = option(
        True, "train on (level + u) / levels; False: on level / (levels - 1)"
    )
    resize: bool = option(
        False,
        "crop to the largest part in the middle that has the wanted shape, and resize to that, where images differ in size",
    )
    crop_size: int = option(
        0,
        "pixels of that part's shorter side; 0: as many as there are (CelebA: 140)",
        not_negative,
    )
    resample: str = option(
        "bicubic", "bicubic | bilinear | box: the filter; all average when they shrink"
    )
    pad: int = option(
        0,
        "pixels of level 0 added on each of the four sides of a stored image, which image_size counts: 2 makes MNIST's 28 pixels 32",
        not_negative,
    )
    in_memory: str = option(
        "auto",
        "auto | yes | no: hold the training images on the device",
        one_of("auto", "yes", "no"),
    )
    # 0.3 N(-1, 0.04) + 0.7 N(0.6, 0.09) has the golden scores and likelihoods of the tests.
    mixture_weights: tuple[float, ...] = option(
        (0.3, 0.7), "data.name=mixture, the law of every coordinate: weights, which sum to 1"
    )
    mixture_means: tuple[float, ...] = option((-1.0, 0.6), "its means")
    mixture_variances: tuple[float, ...] = option((0.04, 0.09), "its variances")
