"""NumPy files that are not what they claim to be, each with the expected message."""

import io
import pickle
import struct
import zipfile

import numpy as np

IMAGES = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.array([1, 2, 0], np.uint8)
IMAGES = np.broadcast_to(IMAGES + np.array([0, 0, 255], np.uint8), (40, 8, 8, 3)).copy()
IMAGES[..., 2] = 255 - IMAGES[..., 0]  # file i of colour (i, 2 i, 255 - i), as in picture_folder


def npy(array, **replaced):
    """The bytes of np.save, with another header if that is asked for."""
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | replaced
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def npz(path, compression=zipfile.ZIP_STORED, **contents):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)


def patched(path, marker, offset, form, value):
    """A number of the zip archive's own records replaced, wherever they begin with `marker`."""
    content = bytearray(path.read_bytes())
    place = content.find(marker)
    while place >= 0:
        struct.pack_into(form, content, place + offset, value)
        place = content.find(marker, place + 4)
    path.write_bytes(content)


CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


class Marks:
    """Pickled, it makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def objects(path):
    array = np.empty(40, object)
    array[:] = [Marks(path.with_name("executed"))] * 40
    np.savez(path, images=array)


def pickled(path):
    path.write_bytes(pickle.dumps(Marks(path.with_name("executed"))))


def encrypted(path):
    npz(path, images=npy(IMAGES))
    patched(path, CENTRAL, 8, "<H", 1)
    patched(path, LOCAL, 6, "<H", 1)


def flipped_bit(path, compression):
    npz(path, compression, images=npy(IMAGES))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def bomb(path):
    """A petabyte, it says, of which some bytes are there."""
    npz(path, zipfile.ZIP_DEFLATED, images=npy(IMAGES, shape=(10**12, 8, 8, 3)))
    patched(path, CENTRAL, 24, "<I", 2**32 - 2)
    patched(path, LOCAL, 22, "<I", 2**32 - 2)


def cut(path):
    npz(path, images=npy(IMAGES))
    path.write_bytes(path.read_bytes()[:-1000])


def saved(**arrays):
    return lambda path: np.savez(path, **{"images": IMAGES, **arrays})


def written(content):
    return lambda path: path.write_bytes(content)


# name -> (what writes the file, what is said)
REFUSED = {
    "fractions": (saved(images=IMAGES / 255), "images is of type float64, expected uint8"),
    "16 bits": (saved(images=IMAGES.astype(np.uint16)), "images is of type uint16, expected"),
    "truth values": (saved(images=IMAGES > 9), "images is of type bool, expected uint8"),
    "strings": (saved(images=np.full((40, 8, 8, 3), "a")), "images is of type <U1, expected"),
    "five axes": (saved(images=IMAGES[None]), r"has the shape \(1, 40, 8, 8, 3\), expected"),
    "no images": (saved(images=IMAGES[:0]), r"has the shape \(0, 8, 8, 3\), expected"),
    "one image": (saved(images=IMAGES[:1]), "has one image; a train and a test split need two"),
    "another size": (saved(images=IMAGES[:, :7]), r"images of shape \(7, 8, 3\), but data.image_size=8"),
    "another test size": (saved(test_images=IMAGES[:, :, :7]), r"test_images' has images of shape \(8, 7, 3\)"),
    "grey": (saved(images=IMAGES[..., 0]), "has 1 channels, but data.num_channels=3"),
    "too few labels": (saved(labels=np.arange(39)), "has 39 labels for 40 images; give one for each"),
    "test labels of nothing": (saved(test_labels=np.arange(4)), "has 4 test_labels for 0 test_images"),
    "labels of one split": (saved(labels=np.arange(40), test_images=IMAGES), "has labels of one split only"),
    "fractional labels": (saved(labels=np.arange(40) / 2), r"labels is float64 of shape \(40,\), expected integers"),
    "negative labels": (saved(labels=np.arange(40) - 2), "labels has numbers from -2 to 37, expected classes"),
    "huge labels": (saved(labels=np.arange(40) + 2**31), "expected classes 0, 1, "),
    "other arrays": (lambda path: np.savez(path, x=IMAGES, y=IMAGES), "has x, y, expected `images`"),
    "no arrays": (npz, "has no arrays, expected `images`"),
    "objects": (objects, "holds Python objects, and to unpickle them would run what they name"),
    "pickled": (pickled, r"begins with b'\\x80.*: expected what np.save .* pickled files are never read"),
    "nothing": (written(b""), "is empty: expected what np.save"),
    "text": (written(b"label,image\n1,a.png\n"), "begins with b'label,': expected what np.save"),
    "encrypted": (encrypted, "images.npy is encrypted; write it again without a password"),
    "a flipped bit": (lambda path: flipped_bit(path, zipfile.ZIP_STORED), "cannot be read: BadZipFile: Bad CRC-32"),
    "a flipped bit, compressed": (lambda path: flipped_bit(path, zipfile.ZIP_DEFLATED), "cannot be read: (error|BadZipFile)"),
    "cut": (cut, "cannot be read: BadZipFile: File is not a zip file"),
    "compressed otherwise": (lambda path: npz(path, zipfile.ZIP_BZIP2, images=npy(IMAGES)), "compressed as NumPy does not"),
    "10^12 images": (lambda path: npz(path, images=npy(IMAGES, shape=(10**12, 8, 8, 3))), r"claims to be uint8 of shape \(1000000000000, 8, 8, 3\), 192000000000000 bytes, and there are 7680"),
    "10^12 images, compressed": (lambda path: npz(path, zipfile.ZIP_DEFLATED, images=npy(IMAGES, shape=(10**12, 8, 8, 3))), "claims to be uint8 .* there are 7680"),
    "10^12 images alone": (written(npy(IMAGES, shape=(10**12, 8, 8, 3))), "its array is damaged: it claims .* there are 7680"),
    "a bomb": (bomb, r"images.npy is damaged: 4294967294 bytes cannot come out of \d+"),
    "fewer than none": (written(npy(IMAGES, shape=(-40, 8, 8, 3))), r"it claims the shape \(-40, 8, 8, 3\)"),
    "half a header": (written(npy(IMAGES)[:60]), "its array is damaged: ValueError"),
    "a header of another version": (written(npy(IMAGES).replace(b"NUMPY\1", b"NUMPY\7")), r"its array is damaged: KeyError"),
    "a header that nests": (written(b"\x93NUMPY\1\0\x00\x10" + b"(" * 4095 + b"\n"), "its array is damaged: "),
}  # fmt: skip
