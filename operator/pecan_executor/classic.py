"""Where the values of a classic netCDF file lie, so that files of the same header are read without opening each.

Source: NetCDF Classic Format Specification, https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html.
Only the layout is read here; what names and attributes mean is for netCDF4 to say.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

MAGIC = (b"CDF\x01", b"CDF\x02")
"""Classic files, and those with 64-bit offsets."""

_TYPES = {1: ">i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8"}
_STREAMING = 0xFFFFFFFF


@dataclass(frozen=True)
class Variable:
    """`values` of type `kind` a record (in all, for a variable without records), `stride` bytes from record to record."""

    kind: str
    begin: int
    records: int
    values: int
    stride: int

    @property
    def end(self) -> int:
        """Where the last value ends."""
        size = np.dtype(self.kind).itemsize * self.values
        return self.begin + (self.records - 1) * self.stride + size if self.records else 0


@dataclass(frozen=True)
class Layout:
    """The variables of every file that begins with `header`."""

    header: bytes
    variables: dict[str, Variable]

    @property
    def end(self) -> int:
        """Where the last value ends: netCDF takes what a shorter file lacks for zeros."""
        return max((one.end for one in self.variables.values()), default=len(self.header))

    def values(self, data: bytes, name: str) -> NDArray[np.generic]:
        """A variable's values in the order of the file, as they are there; raises ValueError when the file ends before
        they do."""
        one = self.variables[name]
        kind = np.dtype(one.kind)
        shape, strides = (one.records, one.values), (one.stride, kind.itemsize)
        try:
            return np.ndarray(shape, kind, data, one.begin, strides).reshape(-1)
        except TypeError:
            raise ValueError(f"{name} is not whole") from None


def layout_of(data: bytes) -> Layout:
    """The layout of a file of MAGIC's kinds; raises ValueError when it has another form."""
    try:
        return _Header(data).layout()
    except (struct.error, KeyError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"no classic netCDF header ({error})") from None


class _Header:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 4

    def layout(self) -> Layout:
        offset = {MAGIC[0]: ">I", MAGIC[1]: ">Q"}[self._data[:4]]
        records = self._number()
        if records == _STREAMING:
            raise ValueError("the number of records is not in the header")
        lengths = [self._dimension() for _ in range(self._count())]
        self._skip_attributes()
        found = [self._variable(lengths, offset) for _ in range(self._count())]
        recorded = [kind.itemsize * values for _, kind, _, values, along in found if along]
        # a single variable with records is the one that is not padded
        stride = recorded[0] if len(recorded) == 1 else sum(map(_padded, recorded))
        variables = {
            name: Variable(
                kind.str, begin, records if along else 1, values, stride if along else kind.itemsize * values
            )
            for name, kind, begin, values, along in found
        }
        return Layout(self._data[: self._at], variables)

    def _variable(self, lengths: list[int], offset: str) -> tuple[str, np.dtype[np.generic], int, int, bool]:
        name = self._name()
        shape = [lengths[self._number()] for _ in range(self._number())]
        self._skip_attributes()
        kind = np.dtype(_TYPES[self._number()])
        self._number()
        along = bool(shape) and shape[0] == 0
        return name, kind, self._number(offset), prod(shape[1:] if along else shape), along

    def _dimension(self) -> int:
        self._name()
        return self._number()

    def _skip_attributes(self) -> None:
        for _ in range(self._count()):
            self._name()
            size = np.dtype(_TYPES[self._number()]).itemsize * self._number()
            self._at += _padded(size)

    def _count(self) -> int:
        """Elements of a list; its tag is 0 where it is absent."""
        self._number()
        return self._number()

    def _name(self) -> str:
        size = self._number()
        text = self._data[self._at : self._at + size].decode()
        self._at += _padded(size)
        return text

    def _number(self, form: str = ">I") -> int:
        (number,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return int(number)


def _padded(size: int) -> int:
    return -(-size // 4) * 4
