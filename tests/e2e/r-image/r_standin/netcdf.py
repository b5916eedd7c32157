"""The mean of a variable in a small NetCDF classic file, such as the test model writes (Classic Format Specification)."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8}
_DOUBLE = 6


class NotReadable(Exception):
    """Not a file of this kind, or without the variable."""


def mean(path: Path, variable: str) -> float:
    """The mean over all values of a variable of doubles without record dimension."""
    try:
        with path.open("rb") as file:
            return _mean(file, variable)
    except (OSError, struct.error) as error:
        raise NotReadable(f"{path}: {error}") from error


def _mean(file: BinaryIO, variable: str) -> float:
    if file.read(4) != b"CDF\x01":
        raise NotReadable(f"{file.name} is no NetCDF classic file")
    _int(file)
    lengths = [(_name(file), _int(file))[1] for _ in range(_count(file))]
    _skip_attributes(file)
    for _ in range(_count(file)):
        name = _name(file)
        size = 1
        for _ in range(_int(file)):
            size *= lengths[_int(file)]
        _skip_attributes(file)
        kind, _, begin = _int(file), _int(file), _int(file)
        if name == variable and kind == _DOUBLE:
            file.seek(begin)
            return math.fsum(struct.unpack(f">{size}d", file.read(8 * size))) / size
    raise NotReadable(f"{file.name} has no variable {variable} of doubles")


def _int(file: BinaryIO) -> int:
    (value,) = struct.unpack(">i", file.read(4))
    return int(value)


def _count(file: BinaryIO) -> int:
    """The length of a list, behind the tag that says what it is of."""
    _int(file)
    return _int(file)


def _name(file: BinaryIO) -> str:
    length = _int(file)
    return file.read(length + -length % 4)[:length].decode()


def _skip_attributes(file: BinaryIO) -> None:
    for _ in range(_count(file)):
        _name(file)
        size = _SIZES[_int(file)] * _int(file)
        file.read(size + -size % 4)
