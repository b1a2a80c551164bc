"""The image files under a folder: each once, however links lead to it, and in an order that no disk decides."""

from __future__ import annotations

import collections
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from score_sde.data.builders import DatasetError, one_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def image_files(folder: Path) -> list[Path]:
    """All image files under a folder, sorted by name: those of SUFFIXES at any depth; names that begin with a dot are not seen.

    Links are followed. A file or folder to which several ways lead is taken once, by the way without links if there is
    one. How many files were left out, and of which kinds, is logged.

    Raises:
        DatasetError: no images, a folder that cannot be listed, or an image that is no file: a broken link or a pipe.
    """
    return sorted(found(folder).values(), key=lambda path: path.relative_to(folder).as_posix())


def found(folder: Path) -> dict[str, Path]:
    """By its place on the disk, each image's path under the folder."""
    images: dict[str, Path] = {}
    links: list[os.DirEntry[str]] = []
    ignored: collections.Counter[str] = collections.Counter()
    for entry, place in entries(folder):
        if suffix(entry.name) not in SUFFIXES:
            ignored[suffix(entry.name)] += 1
        elif entry.is_symlink():
            links.append(entry)
        else:
            images[place] = usable(entry)
    for entry in sorted(links, key=lambda entry: entry.path):
        images.setdefault(os.path.realpath(entry.path), usable(entry))
    if not images:
        raise DatasetError(
            f"{folder} has no image files: none there or deeper ends in {', '.join(SUFFIXES)}{listed(ignored)}"
        )
    if ignored:
        logging.getLogger(__name__).warning("%s%s", folder, listed(ignored))
    return images


def ignored_suffixes(folder: Path) -> collections.Counter[str]:
    """Of the files that are not read, how many have which."""
    suffixes = collections.Counter(suffix(entry.name) for entry, _ in entries(folder))
    return collections.Counter({s: n for s, n in suffixes.items() if s not in SUFFIXES})


def suffix(name: str) -> str:
    """Of a file's name, in small letters."""
    return os.path.splitext(name)[1].lower() or "no suffix"


def listed(ignored: collections.Counter[str]) -> str:
    """The files that are not read, in words."""
    kinds = ", ".join(f"{count} of {suffix}" for suffix, count in ignored.most_common(5))
    return f"; {ignored.total()} other files are not read: {kinds}" if ignored else ""


def entries(folder: Path) -> Iterator[tuple[os.DirEntry[str], str]]:
    """What is no folder, with its place on the disk but for a link of its own; each folder once, those behind links last."""
    seen = set()
    folders = [str(folder)]
    links: list[str] = []
    while folders or links:
        parent = folders.pop() if folders else links.pop(0)
        place = os.path.realpath(parent)
        if place in seen:
            continue
        seen.add(place)
        try:
            children = sorted(os.scandir(parent), key=lambda entry: entry.name)
        except OSError as error:
            raise DatasetError(f"{parent} cannot be listed: {one_line(error)}") from error
        for entry in children:
            if entry.name.startswith("."):
                continue
            if leads_to(entry, "is_dir"):
                (links if entry.is_symlink() else folders).append(entry.path)
            else:
                yield entry, os.path.join(place, entry.name)


def usable(entry: os.DirEntry[str]) -> Path:
    """The path of an image, unless to read it would fail, or wait for ever."""
    if not leads_to(entry, "is_file"):
        raise DatasetError(
            f"{entry.path} is named as an image but is no file: a broken link, or a pipe; remove it"
        )
    return Path(entry.path)


def leads_to(entry: os.DirEntry[str], what: str) -> bool:
    """Whether an entry, or what it links to, is of this kind; of links in a circle it is not."""
    try:
        return bool(getattr(entry, what)())
    except OSError:
        return False
