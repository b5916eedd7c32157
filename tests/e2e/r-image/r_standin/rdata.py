"""RData files as R's save() writes them: gzip, version 2 of R's serialization (R Internals, section 1.8)."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

RValue = float | str | Sequence[float] | Sequence[str] | Mapping[str, "RValue"]

_SYMBOL, _PAIR_WITH_TAG, _END = 1, 2 | 0x400, 254
_CHAR, _REAL, _STRING, _LIST, _HAS_ATTRIBUTES = 9, 14, 16, 19, 0x200
_ASCII, _UTF8 = 0x40000, 0x8000


def save(path: Path, **objects: RValue) -> None:
    """save(..., file = path); points in names of objects are written as double underscores."""
    body = b"".join(
        _int(_PAIR_WITH_TAG) + _symbol(name.replace("__", ".")) + _value(value) for name, value in objects.items()
    )
    path.write_bytes(gzip.compress(b"RDX2\nX\n" + struct.pack(">iii", 2, 0x00040100, 0x00020300) + body + _int(_END)))


def _value(value: RValue) -> bytes:
    """A number or text, a vector of either, or a named list."""
    if isinstance(value, str):
        return _value([value])
    if isinstance(value, Mapping):
        names = _int(_PAIR_WITH_TAG) + _symbol("names") + _value([str(name) for name in value]) + _int(_END)
        return _int(_LIST | _HAS_ATTRIBUTES) + _int(len(value)) + b"".join(map(_value, value.values())) + names
    if isinstance(value, (int, float)):
        return _value([float(value)])
    if value and isinstance(value[0], str):
        return _int(_STRING) + _int(len(value)) + b"".join(_char(str(each)) for each in value)
    return _int(_REAL) + _int(len(value)) + struct.pack(f">{len(value)}d", *(float(each) for each in value))


def _symbol(name: str) -> bytes:
    return _int(_SYMBOL) + _char(name)


def _char(text: str) -> bytes:
    return _int(_CHAR | (_ASCII if text.isascii() else _UTF8)) + _int(len(text.encode())) + text.encode()


def _int(value: int) -> bytes:
    return struct.pack(">i", value)
