"""Texts as numbers: word i of a vocabulary is i + 1, and shorter texts are padded with 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from score_sde.errors import ConfigError
from score_sde.nearest import nearest


def numbers(texts: Sequence[str], vocabulary: Sequence[str], field: str) -> np.ndarray:
    """Convert texts to word numbers, int32 (n, length of the longest text), ignoring case.

    Args:
      field: the source of the texts, for messages.

    Raises:
      ConfigError: a text has no words, or one that is not in the vocabulary.
    """
    place = {word: i + 1 for i, word in enumerate(vocabulary)}
    rows = []
    for text in texts:
        words = text.lower().split()
        if not words:
            raise ConfigError(
                f"{field}: there is a text without words among {', '.join(map(repr, texts))}; leave it out (guidance of weight -1 draws "
                "without a text)"
            )
        for word in words:
            if word not in place:
                near = nearest(word, vocabulary, alike=0.0)
                guess = "" if near is None else f"; the nearest is {near!r}"
                raise ConfigError(
                    f"{field}={text.strip()!r}: the network does not know {word!r}{guess}; it knows {', '.join(vocabulary)}"
                )
        rows.append([place[word] for word in words])
    longest = max(map(len, rows))
    return np.array([row + [0] * (longest - len(row)) for row in rows], np.int32)
