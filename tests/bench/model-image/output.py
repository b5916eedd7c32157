"""Writes a file with a value of GPP for each day of 1998, after the NetCDF Classic Format Specification: output.py PATH."""

import struct
import sys
from pathlib import Path

DAYS = 365
NC_CHAR, NC_DOUBLE, NC_DIMENSION, NC_VARIABLE, NC_ATTRIBUTE = 2, 6, 10, 11, 12
COLUMNS = {"time": ("days since 1998-01-01", range(DAYS)), "GPP": ("kg C m-2 s-1", [1e-8] * DAYS)}


def name(text):
    data = text.encode()
    return struct.pack(">i", len(data)) + data + b"\0" * (-len(data) % 4)


def header(begin):
    parts = [b"CDF\x01", struct.pack(">iii", 0, NC_DIMENSION, 1), name("time"), struct.pack(">iii", DAYS, 0, 0)]
    parts.append(struct.pack(">ii", NC_VARIABLE, len(COLUMNS)))
    for number, (column, (units, _)) in enumerate(COLUMNS.items()):
        parts += [name(column), struct.pack(">iiii", 1, 0, NC_ATTRIBUTE, 1)]
        parts += [name("units"), struct.pack(">i", NC_CHAR), name(units)]
        parts.append(struct.pack(">iii", NC_DOUBLE, 8 * DAYS, begin + number * 8 * DAYS))
    return b"".join(parts)


columns = [struct.pack(f">{DAYS}d", *values) for _, values in COLUMNS.values()]
Path(sys.argv[1]).write_bytes(b"".join([header(len(header(0))), *columns]))
