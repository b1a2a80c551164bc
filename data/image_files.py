"""The image files under a folder, each once whatever links point to it, in an order independent of the file system."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from score_sde.data.builders import DatasetError, one_line
from score_sde.data.notes import say

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
NAMED = 5  # kinds of files or folders that a message names


def image_files(folder: Path) -> list[Path]:
    """All files under a folder, at any depth, that end in one of SUFFIXES, sorted by name; names with a leading dot are skipped.

    Links are followed. A file or folder with several paths is taken once, by the path without links if there is one.
    The number and kinds of ignored files are printed.

    Raises:
        DatasetError: no images, a folder that cannot be listed, or an image that is not a file: a broken link or a pipe.
    """
    return sorted(found(folder).values(), key=lambda path: path.relative_to(folder).as_posix())


def found(folder: Path) -> dict[str, Path]:
    """The path of each image under the folder, keyed by its real path."""
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
        others = f"; {listed(ignored)}" if ignored else ""
        raise DatasetError(
            f"{folder} has no image files: no file in it or its subfolders ends in {', '.join(SUFFIXES)}{others}"
        )
    if ignored:
        say(f"{folder}: {listed(ignored)}")
    return images


def ignored_suffixes(folder: Path) -> collections.Counter[str]:
    """Count the suffixes of the files that are not read."""
    suffixes = collections.Counter(suffix(entry.name) for entry, _ in entries(folder))
    return collections.Counter({s: n for s, n in suffixes.items() if s not in SUFFIXES})


def beside(folder: Path, parts: Sequence[str]) -> collections.Counter[str]:
    """Count what a folder holds beside these subfolders, which alone are read: folders, and suffixes of files."""
    where = f"beside {'/ and '.join(parts)}/"
    with os.scandir(folder) as children:
        others = [child for child in children if child.name not in parts and child.name[0] != "."]
    folders = sorted(f"{child.name}/" for child in others if leads_to(child, "is_dir"))
    files = (child.name for child in others if not leads_to(child, "is_dir"))
    counts = collections.Counter(f"{suffix(name)} {where}" for name in files)
    if folders:
        kind, more = ("folder", "folders")[len(folders) > 1], ", ..." * (len(folders) > NAMED)
        counts[f"{kind} {where} ({', '.join(folders[:NAMED])}{more})"] = len(folders)
    return counts


def suffix(name: str) -> str:
    """The suffix of a file name in lower case."""
    return os.path.splitext(name)[1].lower() or "no suffix"


def listed(ignored: collections.Counter[str]) -> str:
    """Describe the files that are not read, for a message."""
    kinds = ", ".join(f"{count} of {suffix}" for suffix, count in ignored.most_common(NAMED))
    what = "1 file is" if ignored.total() == 1 else f"{ignored.total()} files are"
    return f"{what} not read: {kinds}"


def entries(folder: Path) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Yield every non-folder entry and its path, with links of its folder resolved; visit each folder once, linked ones last."""
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
    """The path of an image; DatasetError if reading it would fail or block forever."""
    if not leads_to(entry, "is_file"):
        raise DatasetError(
            f"{entry.path} has the name of an image but is not a file (a broken link, or a pipe); remove it"
        )
    return Path(entry.path)


def leads_to(entry: os.DirEntry[str], what: str) -> bool:
    """Whether an entry, or the target of its link, is of this kind; False for circular links."""
    try:
        return bool(getattr(entry, what)())
    except OSError:
        return False
