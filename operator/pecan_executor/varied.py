"""What the runs of a sensitivity analysis are prepared with, kept in the workflow's folder.

The analysis reads nothing else of the traits: files of them may change or go while the runs are made, and the last digit of
a quantile depends on the kind of CPU.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pecan_executor.design import MEDIAN
from pecan_executor.files import writing_table
from pecan_operator.errors import UserError

ByTrait = Mapping[tuple[str, str], NDArray[np.float64]]
"""Values by (PFT, trait)."""


@dataclass(frozen=True)
class Varied:
    """`values` of the varied traits at the quantiles of these `names`, increasing, and what was drawn of each (`draws`),
    which may be a different number for each trait. Both have the same traits in the same order."""

    names: tuple[str, ...]
    values: ByTrait
    draws: ByTrait


def write_varied(folder: Path, ensemble_id: str, varied: Varied) -> None:
    """Write sensitivity.samples and sensitivity.draws, a row a trait."""
    _write(folder / f"sensitivity.samples.{ensemble_id}.csv", varied.names, varied.values)
    most = max(map(len, varied.draws.values()))
    _write(folder / f"sensitivity.draws.{ensemble_id}.csv", range(1, most + 1), varied.draws)


def read_varied(folder: Path, ensemble_id: str) -> Varied:
    """What write_varied wrote; raises UserError when a file is missing or damaged."""
    samples_path = folder / f"sensitivity.samples.{ensemble_id}.csv"
    names, values = _read(samples_path)
    if MEDIAN not in names or any(len(each) != len(names) for each in values.values()):
        raise _damaged(samples_path, "values are missing")
    draws_path = folder / f"sensitivity.draws.{ensemble_id}.csv"
    _, draws = _read(draws_path)
    if list(draws) != list(values) or not all(map(len, draws.values())):
        raise _damaged(draws_path, f"its traits are not those of {samples_path.name}")
    return Varied(names, values, draws)


def _write(path: Path, names: Sequence[str | int], values: ByTrait) -> None:
    with writing_table(path) as writer:
        writer.writerow(["pft", "trait", *names])
        writer.writerows([pft, trait, *each.tolist()] for (pft, trait), each in values.items())


def _read(path: Path) -> tuple[tuple[str, ...], ByTrait]:
    try:
        with path.open(newline="") as file:
            rows = csv.reader(file, strict=True)
            _, _, *names = next(rows)
            return tuple(names), {(pft, trait): np.array(cells, dtype=np.float64) for pft, trait, *cells in rows}
    except FileNotFoundError:
        raise UserError("SamplesMissing", f"{path} is missing: run the step prepare again") from None
    except (StopIteration, ValueError, csv.Error) as error:
        raise _damaged(path, str(error) or "it is empty") from None


def _damaged(path: Path, what: str) -> UserError:
    return UserError("SamplesDamaged", f"{path} is damaged ({what}): run the step prepare again")
