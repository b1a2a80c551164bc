"""Options of config.data."""

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
    """Fields of config.data: the dataset, the image size, and the scaling."""

    name: str = option(
        "digits",
        "digits | mnist5k | photo_patches | mnist | fashion_mnist | cifar10 | mixture | shapes (with segmentation masks) | captions "
        "(shapes with a text) | folder | arrays | huggingface | idx | any image dataset of TFDS",
    )
    data_dir: str = option(
        "", "where TFDS keeps its data; empty: TFDS's own default, ~/tensorflow_datasets"
    )
    folder: str = option(
        "",
        "data.name=folder: PNG, JPEG or WebP files of 8 bits at any depth, in train/ and test/ or all together; transparent pixels become "
        "black; data.name=huggingface: a folder of save_to_disk, or of Parquet files; data.name=idx: the folder of MNIST's four files, "
        "or of files with their names",
    )
    file: str = option(
        "",
        "data.name=arrays: an .npz file with `images`, uint8 (n, h, w, c) or (n, h, w), and optionally `labels`, `paired` (condition "
        "images (n, h, w, _), uint8 or real numbers), `test_images`, `test_labels` and `test_paired`; or an .npy file with the images",
    )
    image_size: int = option(
        8,
        "pixels per side; the network halves it len(model.ch_mult) - 1 times",
        count(2**20),
    )
    image_width: int = option(
        0,
        "width in pixels of images that are not square, whose height is image_size; 0: square",
        count(2**20, 0),
    )
    num_channels: int = option(1, "channels per image", count(1024))
    num_levels: int = option(
        256,
        "grey levels per channel: the dataset's own, or a divisor to which they are reduced, such as 32 for 8-bit images at 5 bits; 0: "
        "the data are real numbers, not levels",
        not_negative,
    )
    stored_levels: int = option(
        256,
        "grey levels of image files and of TFDS's images, which have 8 bits; the digits have their own number",
        finite("2 to 256", lambda n: 2 <= n <= 256, 1, 512),
    )
    centered: bool = option(True, "scale images to [-1, 1]; False: to [0, 1] (VE)")
    label: int = option(-1, "use only the images of this class; -1: all", at_least(-1))
    random_flip: bool = option(False, "mirror half of the training images")
    uniform_dequantization: bool = option(
        True, "train on (level + u) / levels; False: on level / (levels - 1)"
    )
    resize: bool = option(
        False,
        "resize images of other sizes: crop the largest centred part with the wanted aspect ratio, and resize that",
    )
    crop_size: int = option(
        0,
        "shorter side of that part in pixels; 0: the largest that fits (CelebA: 140)",
        not_negative,
    )
    resample: str = option(
        "bicubic", "the filter: bicubic | bilinear | box; all of them average when they shrink"
    )
    pad: int = option(
        0,
        "black pixels added on each side of a stored image, which image_size counts: 2 makes MNIST's 28 pixels 32",
        not_negative,
    )
    in_memory: str = option(
        "auto",
        "hold the training images in the device's memory: auto | yes | no",
        one_of("auto", "yes", "no"),
    )
    # 0.3 N(-1, 0.04) + 0.7 N(0.6, 0.09) has the golden scores and likelihoods of the tests.
    mixture_weights: tuple[float, ...] = option(
        (0.3, 0.7),
        "data.name=mixture: weights of the Gaussian mixture that each coordinate follows; they sum to 1",
    )
    mixture_means: tuple[float, ...] = option(
        (-1.0, 0.6), "data.name=mixture: means of its components"
    )
    mixture_variances: tuple[float, ...] = option(
        (0.04, 0.09), "data.name=mixture: variances of its components"
    )
