"""Picture files that are in both sets of an evaluation, by which images look as good as the real ones that they are."""

from __future__ import annotations

import os
from typing import Any

from score_sde.data.folder import PARTS, folder_of, split_files
from score_sde.data.image_files import SUFFIXES, entries, suffix
from score_sde.errors import ConfigError
from score_sde.files import user_path
from score_sde.progress import say


def check_apart(config: Any) -> None:
    """Refuse evaluation.images all of which, or with which all of the reference, are the same files; print a note if only some are.

    For example data.folder itself, whose training split is the reference; its test/ has no file of that split.

    Raises:
      ConfigError: the number of shared pictures, and what to do.
    """
    options = config.evaluation
    images, real = (pictures(config, named) for named in (options.images, options.reference))
    both = len(images & real)
    if not both:
        return
    what = f"{both} of the {len(images)} pictures of evaluation.images={options.images!r} are files of evaluation.reference={options.reference!r} too"
    if both == min(len(images), len(real)):
        raise ConfigError(
            f"{what}, so every figure is trivial; give pictures that are not the reference's, such as test/ beside train/"
        )
    say(f"note: {what}, which makes the images look more like it than others would")


def pictures(config: Any, named: str) -> set[str]:
    """The real paths of the pictures of a folder or of a split of data.folder; empty for other datasets and files."""
    folder = user_path(named)
    if named in PARTS:
        if config.data.name != "folder":
            return set()
        folder = folder_of(config.data) / named
        if not folder.is_dir():
            files = split_files(folder.parent)[PARTS.index(named)]
            return {os.path.realpath(path) for path in files}
    elif not folder.is_dir():
        return set()
    # Not `found`, which would list the files that are not read a second time.
    places = (place for entry, place in entries(folder) if suffix(entry.name) in SUFFIXES)
    return {os.path.realpath(place) for place in places}
