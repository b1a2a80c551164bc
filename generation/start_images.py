"""The images from which sampling starts at sampling.t_start: images of the dataset, pictures of a folder, or arrays in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from score_sde import data
from score_sde.data.array_files import check_levels, read_images
from score_sde.errors import UserError
from score_sde.files import user_path
from score_sde.generation.generate import StartImages
from score_sde.quality.image_sets import of_folder
from score_sde.spaces import Space
from score_sde.training.same_data import check_same_arrays

SPLITS = ("test", "train")
KEYS = ("images", "states")


def check_start_images(sampling: Any) -> None:
    """Refuse t_start without start_images or the reverse, since neither has an effect alone, and a missing file or folder.

    Raises:
      UserError: what was given, and what to do.
    """
    if bool(sampling.t_start) != bool(sampling.start_images):
        raise UserError(
            f"sampling.t_start={sampling.t_start}, sampling.start_images={sampling.start_images!r}: starting at a time other than T requires "
            "both a time and start images (test, train, an .npz file or a folder of pictures); give both or neither"
        )
    if (
        sampling.start_images
        and sampling.start_images not in SPLITS
        and not user_path(sampling.start_images).exists()
    ):
        raise UserError(
            f"sampling.start_images={sampling.start_images!r}: no such file or folder; give {', '.join(SPLITS)}, an .npz file with "
            "`images` (levels, as --mode sample writes them) or `states` (x at t_start), or a folder of pictures"
        )


def load_start_images(config: Any, space: Space, classes: Sequence[str] = ()) -> StartImages | None:
    """The start images that `config.sampling` names; None if it names none. data.label is an index into `classes`.

    Raises:
      UserError: a file or folder that cannot be read or that differs between the hosts, or arrays of another shape than the config's images.
    """
    name, number = config.sampling.start_images, config.sampling.num_images
    if not name:
        return None

    def middle(images: np.ndarray) -> np.ndarray:
        return np.asarray(space.encode_middle(jnp.asarray(images)), np.float32)

    if name in SPLITS:
        split = getattr(data.load(config, classes=classes), name)
        return StartImages(middle(split.take(range(min(number, split.num_images))).images), False)
    what, path = f"sampling.start_images={name!r}", user_path(name)
    if path.is_dir():
        pictures = of_folder(config, what, path, None)
        shown = pictures.take(range(min(number, pictures.num_images)))
        check_same_arrays(what, (shown,))
        return StartImages(middle(shown), False)
    key, array = read_images(config, "sampling.start_images", name, KEYS)
    check_same_arrays(what, (array,))
    if key == "states":
        return StartImages(np.asarray(array, np.float32), True)
    check_levels(config, what, array)
    return StartImages(middle(array), False)
