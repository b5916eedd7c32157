"""CSV tables of priors and of samples."""

from __future__ import annotations

import csv
import io
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pecan_executor import distributions
from pecan_executor.datafiles import open_data_file
from pecan_executor.distributions import Samples
from pecan_executor.numerals import finite
from pecan_operator.core.pecanxml import Prior
from pecan_operator.errors import UserError

MOST_BYTES = 256 * 2**20
"""The largest file that is read, unpacked: the Job that does it has 2 GiB of memory."""

_TRAIT = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_LABELS = ("", "member")
_NOT_AVAILABLE = ("", "NA")


def refusal(path: Path, what: str) -> UserError:
    """What is wrong with a file, in one line of characters that print, as an error to raise."""
    return UserError("BadParameters", f"{path}" + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in what))


@contextmanager
def open_table(path: Path, data: Path) -> Iterator[BinaryIO]:
    """A file to read; raises UserError when it is no file of the data volume, or too large a one."""
    with open_data_file(path, data) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise refusal(path, f" has {size} bytes, more than the {MOST_BYTES} that are read: leave rows out")
        yield file


def trait_name(name: str, path: Path, place: str) -> str:
    """A name that can be that of a trait; raises UserError naming the place."""
    if not _TRAIT.fullmatch(name):
        raise refusal(path, f"{place}: {name[:80]!r} cannot be a trait: letters, digits, '_' and '.', a letter first")
    return name


def prior_row(trait: str, distn: str, numbers: Sequence[float | None], path: Path, place: str) -> Prior:
    """A prior from a file, with `numbers` parama and paramb; raises UserError naming place and trait when it is none."""
    parama, paramb = numbers
    if parama is None:
        raise refusal(path, f"{place} ({trait}): parama is missing")
    prior = Prior(distn, parama, paramb)
    if problem := distributions.problem(prior):
        raise refusal(path, f"{place} ({trait}): {problem}")
    return prior


def read_priors(path: Path, data: Path) -> dict[str, Prior]:
    """Priors by trait from a table with the columns distn, parama, paramb, and trait or, as R writes the names of rows, a
    first column without a name. Other columns, such as n, are not used.

    Raises UserError naming the row, where the header is row 1.
    """
    priors: dict[str, Prior] = {}
    with rows_of(path, data) as (header, rows):
        names = [name.strip() for name in header]
        trait_column = "trait" if "trait" in names else ""
        wanted = (trait_column, "distn", "parama", "paramb")
        missing = [name or "trait" for name in wanted if name not in names]
        if missing or (trait_column == "" and names[0] != ""):
            held = ", ".join([name[:80] for name in names if name][:20])
            needs = "a table of priors has trait, distn, parama, paramb"
            raise refusal(path, f" has no column {', '.join(missing) or 'trait'}, but {held}: {needs}")
        doubled = [name for name in wanted if names.count(name) > 1]
        if doubled:
            raise refusal(path, f" has the column {doubled[0] or 'trait'} twice")
        at = [names.index(name) for name in wanted]
        for number, row in rows:
            trait, distn, parama, paramb = (row[index].strip() for index in at)
            place = f" row {number}"
            if trait_name(trait, path, place) in priors:
                raise refusal(path, f"{place}: {trait} is given twice")
            numbers = [
                number_in(text, path, f"{place} ({trait}), {name}")
                for text, name in ((parama, "parama"), (paramb, "paramb"))
            ]
            priors[trait] = prior_row(trait, distn, numbers, path, place)
    if not priors:
        raise refusal(path, " has no rows below its header")
    return priors


def read_samples(path: Path, data: Path) -> dict[str, Samples]:
    """Samples by trait from a table with a column a trait; a column without a name, or named member, counts the rows.

    Raises UserError naming the row, where the header is row 1.
    """
    with rows_of(path, data) as (header, rows):
        names = {index: name.strip() for index, name in enumerate(header) if name.strip() not in _LABELS}
        for index, name in names.items():
            trait_name(name, path, f" column {index + 1}")
        doubled = [name for name in names.values() if list(names.values()).count(name) > 1]
        if doubled:
            raise refusal(path, f" has the column {doubled[0]} twice")
        if not names:
            raise refusal(path, " has no column that names a trait")
        columns = {index: array("d") for index in names}
        for number, row in rows:
            for index, values in columns.items():
                place = f" row {number}, {names[index]}"
                value = number_in(row[index].strip(), path, place)
                if value is None:
                    raise refusal(path, f"{place}: there is no value; leave the row out")
                values.append(value)
    if not all(columns.values()):
        raise refusal(path, " has no rows below its header")
    return {name: Samples(np.array(columns[index]), joint="samplesCsv") for index, name in names.items()}


@contextmanager
def rows_of(path: Path, data: Path) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """The header of a CSV file and its rows with their numbers, the header being 1; empty lines are left out."""
    number = 1
    try:
        with open_table(path, data) as file:
            reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), strict=True)
            header = next(reader, [])
            if not any(name.strip() for name in header):
                raise refusal(path, " is empty: its first line names the columns")
            if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
                raise refusal(path, " is not separated by commas: save it as CSV with ',' between and '.' in numbers")

            def rows() -> Iterator[tuple[int, list[str]]]:
                nonlocal number
                for row in reader:
                    number += 1
                    if not any(cell.strip() for cell in row):
                        continue
                    if len(row) != len(header):
                        raise refusal(
                            path,
                            f" row {number} has {len(row)} values, the header {len(header)}: give every row all columns",
                        )
                    yield number, row

            yield header, rows()
    except UnicodeDecodeError:
        raise refusal(path, " is not text in UTF-8: save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise refusal(path, f" row {number + 1} is not CSV: {error}") from None


def number_in(text: str, path: Path, place: str) -> float | None:
    """A finite number, or None where there is none."""
    if text in _NOT_AVAILABLE:
        return None
    value = finite(text)
    if value is None:
        raise refusal(path, f"{place}: {text[:80]!r} is not a finite number")
    return value
