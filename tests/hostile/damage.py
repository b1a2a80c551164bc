"""Damage to files: flipped bits, truncated copies, zeros from the disk, and other files in their place."""

import random


def flipped(draw, data):
    """One to eight bits."""
    damaged = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def zeroed(draw, data):
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice((1, 16, 512, 4096)))
    return data[:start] + bytes(end - start) + data[end:]


def without_some(draw, data):
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.choice((1, 7, 100)) :]


def with_more(draw, data):
    start = draw.randrange(len(data) + 1)
    return data[:start] + draw.randbytes(draw.choice((1, 7, 100))) + data[start:]


def with_a_number_changed(draw, data):
    """As a digit of a text or a size in a header would be."""
    places = [place for place, byte in enumerate(data) if 48 <= byte < 58] or [0]
    place = draw.choice(places)
    return (
        data[:place]
        + draw.choice((b"9" * 20, b"-1", b"0", b"1e999", b"NaN", b"x"))
        + data[place + 1 :]
    )


DAMAGES = (
    flipped,
    flipped,
    zeroed,
    without_some,
    with_more,
    with_a_number_changed,
    lambda draw, data: data[: draw.randrange(len(data))],
    lambda draw, data: b"",
    lambda draw, data: draw.randbytes(len(data) % 5000),
    lambda draw, data: data * 2,
    lambda draw, data: b"[" * 100_000,
    lambda draw, data: draw.choice((b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'", b"PK\x05\x06" + bytes(18), b"{}", b"null", b"\x80\x04.", b"\x81\xa4step\x01")),
)  # fmt: skip


def damaged(seed, data):
    draw = random.Random(seed)
    return draw.choice(DAMAGES)(draw, data)
