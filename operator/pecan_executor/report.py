"""Step report: the headline numbers of an analysis, small enough for a status."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pecan_executor.files import WorkflowFolder
from pecan_executor.stages import Stage, Stages
from pecan_operator.errors import UserError

if TYPE_CHECKING:
    from pecan_executor.ensemble import Statistics
    from pecan_executor.writers import PlaceResult, Subject

MOST_BYTES = 4096
SENSITIVITY_COLUMNS = ("cv", "elasticity", "partial_variance")
COLUMNS = ("mean", "sd", "q2.5", "q50", "q97.5")


class ResultLedger(Protocol):
    """What report needs of the ledger."""

    def report_analysis(self, workflow_id: int, results: Mapping[str, Any]) -> None: ...


def report(workflow_id: int, folder: WorkflowFolder, ledger: ResultLedger) -> dict[str, Any]:
    """Put the headline numbers that analyse left into the ledger; returns them."""
    try:
        results: dict[str, Any] = json.loads(folder.results.read_text())
    except FileNotFoundError:
        raise UserError("ResultsMissing", f"{folder.results} is missing: run the step analyse first") from None
    stages = Stages(folder)
    stages.start(Stage.FINISHED)
    ledger.report_analysis(workflow_id, results)
    stages.done(Stage.FINISHED)
    return results


def headline(
    parts: Mapping[str, Any], planned: int, left_out: int, rows: Sequence[Mapping[str, Any]], caveats: Iterable[str]
) -> dict[str, Any]:
    """The headline numbers as JSON of less than MOST_BYTES. `parts` are the ensemble's id and counts of the sensitivity
    analysis; runs are those of both.

    Rows of all sites together come first; `omitted` says how many rows did not fit."""
    from pecan_executor.collect import ALL_SITES

    results: dict[str, Any] = {
        **parts,
        "runs": planned,
        "used": planned - left_out,
        "caveats": [caveat[:200] for caveat in caveats][:3],
        "yearly": [],
        "omitted": len(rows),
    }
    room = MOST_BYTES - len(json.dumps(results).encode()) - len("0" * 8)
    for row in sorted(rows, key=lambda row: row["site"] != ALL_SITES):
        room -= len(json.dumps(row).encode()) + len(", ")
        if room < 0:
            break
        results["yearly"].append(dict(row))
        results["omitted"] -= 1
    return results


def yearly_rows(subject: Subject, result: PlaceResult) -> list[dict[str, Any]]:
    """The yearly statistics of one variable at one place, a row a year."""
    return [
        {
            "site": result.place.id,
            "variable": subject.variable.name,
            "units": subject.shown.yearly_units,
            "year": year,
        }
        | numbers
        for year, numbers in zip(subject.period.years, numbers_of(result.yearly_statistics), strict=True)
    ]


def numbers_of(statistics: Statistics) -> list[dict[str, Any]]:
    """n and COLUMNS of each of the statistics, with six significant digits."""
    from pecan_executor.ensemble import QUANTILES

    columns = {"mean": statistics.mean, "sd": statistics.sd}
    columns |= {f"q{100 * q:g}": values for q, values in zip(QUANTILES, statistics.quantiles, strict=True)}
    return [
        {"n": statistics.n} | {column: _number(float(columns[column][at])) for column in COLUMNS}
        for at in range(len(statistics.mean))
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of yearly statistics as a table for people."""
    return _aligned(("site", "variable", "year", "n", *COLUMNS, "units"), rows, left=(0, 1, 9))


def summary(results: Mapping[str, Any]) -> str:
    """Headline numbers for people."""
    text = table(results["yearly"]) if results["yearly"] else ""
    if analysis := results.get("sensitivityAnalysis"):
        traits = analysis["traits"]
        text += f"{traits - analysis['traitsLeftOut']} of {traits} traits of the sensitivity analysis are analysed\n"
    return text


def tables(folder: Path) -> str:
    """The results of an analysed folder as tables for people; raises UserError when it has none."""
    yearly, sensitivities = read_yearly(folder), sensitivity_table(folder)
    if not yearly and not sensitivities:
        raise UserError(
            "ResultsMissing",
            f"{folder} has no ensemble.analysis.*.csv nor sensitivity.results.*.csv: has the workflow been analysed?",
        )
    return "\n".join(part for part in (table(yearly) if yearly else "", sensitivities) if part)


def _aligned(header: Sequence[str], rows: Sequence[Mapping[str, Any]], left: Sequence[int]) -> str:
    cells = [tuple(header), *(tuple(_cell(row[column]) for column in header) for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    lines = (
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "".join(line.rstrip() + "\n" for line in lines)


def sensitivity_table(folder: Path) -> str:
    """The sensitivity.results CSV files of a folder as a table for people, the largest shares of the variance first; empty
    when it has none. Traits that were left out stand last."""
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("sensitivity.results.*.csv")):
        variable = _variable_of(path)
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                numbers = {column: float(row[column]) if row[column] else None for column in SENSITIVITY_COLUMNS}
                rows.append({"site": row["site_id"], "variable": variable, **row, **numbers})
    if not rows:
        return ""
    places = {
        key: at for at, key in enumerate(dict.fromkeys((row["site"], row["variable"], row["pft"]) for row in rows))
    }
    rows.sort(key=lambda row: (places[row["site"], row["variable"], row["pft"]], -(row["partial_variance"] or 0)))
    return _aligned(("site", "variable", "pft", "trait", "runs", *SENSITIVITY_COLUMNS), rows, left=(0, 1, 2, 3))


def _variable_of(path: Path) -> str:
    """The variable in the name of a result file; it may have dots itself."""
    return path.name.removesuffix(".csv").split(".", 3)[3].rsplit(".", 2)[0]


def read_yearly(folder: Path) -> list[dict[str, Any]]:
    """Rows of the yearly statistics in a folder's ensemble.analysis CSV files; sums where there are sums."""
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("ensemble.analysis.*.csv")):
        with path.open(newline="") as file:
            found = list(csv.DictReader(file))
        summed = any(row["quantity"] == "sum" for row in found)
        variable = _variable_of(path)
        for row in found:
            if (row["quantity"] == "sum") == summed:
                numbers = {column: _number(float(row[column])) for column in COLUMNS}
                rows.append({"site": row["site_id"], "variable": variable, **row, **numbers})
    return rows


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if value == value else None


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return (
        f"{value:.2f}"
        if isinstance(value, float) and abs(value) >= 10
        else f"{value:.4g}"
        if isinstance(value, float)
        else str(value)
    )
