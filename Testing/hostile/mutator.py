"""Damage by chance: bits, cuts, holes, doubled and overwritten stretches, numbers of another size."""

from __future__ import annotations

import re
import struct

import numpy as np


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """The bytes after one to three accidents, most of them in the first 600, where headers are."""
    for _ in range(rng.integers(1, 4)):
        if not content:
            break
        content = MUTATIONS[rng.integers(len(MUTATIONS))](bytearray(content), rng)
    return content


def _place(content: bytearray, rng: np.random.Generator) -> int:
    return int(rng.integers(min(len(content), 600) if rng.random() < 0.8 else len(content)))


def _flip(content: bytearray, rng: np.random.Generator) -> bytes:
    for _ in range(rng.integers(1, 9)):
        content[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(content)


def _cut(content: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(content[: _place(content, rng)])


def _drop(content: bytearray, rng: np.random.Generator) -> bytes:
    start = _place(content, rng)
    del content[start : start + int(rng.integers(1, 40))]
    return bytes(content)


def _double(content: bytearray, rng: np.random.Generator) -> bytes:
    start = _place(content, rng)
    part = content[start : start + int(rng.integers(1, 200))]
    return bytes(content[:start] + part * int(rng.integers(2, 50)) + content[start:])


def _overwrite(content: bytearray, rng: np.random.Generator) -> bytes:
    start = _place(content, rng)
    filler = [b"\0", b"\xff", b"\x7f", b"9", b"-", b"%", b"\n"][rng.integers(7)]
    length = min(int(rng.integers(1, 33)), len(content) - start)
    content[start : start + length] = filler * length
    return bytes(content)


def _number(content: bytearray, rng: np.random.Generator) -> bytes:
    """A number of a binary header, or one of a text header, becomes an extreme one."""
    digits = list(re.finditer(rb"\d+(\.\d+)?", bytes(content[:600])))
    if digits and rng.random() < 0.5:
        match = digits[rng.integers(len(digits))]
        texts = (b"0", b"-1", b"nan", b"inf", b"1e400", b"2147483648", b"99999999999999999999", b"")
        return bytes(content[: match.start()]) + texts[rng.integers(len(texts))] + bytes(content[match.end() :])
    form, value = [("<h", -1), ("<h", 32767), ("<i", -1), ("<i", 2**31 - 1), ("<f", np.nan), ("<f", np.inf),
                   ("<f", 0.0), ("<f", -1e30), ("<q", 2**62), ("<H", 65535)][rng.integers(10)]  # fmt: skip
    start = _place(content, rng) // 2 * 2
    if start + struct.calcsize(form) <= len(content):
        struct.pack_into(form, content, start, value)
    return bytes(content)


MUTATIONS = (_flip, _flip, _cut, _drop, _double, _overwrite, _number, _number)
