"""Figures: statistics, the table that people read, and the line of JSON that programs read."""

from __future__ import annotations

import bisect
import math
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """Samples of one quantity; `unit` is printed beside its name."""

    name: str
    unit: str
    samples: Sequence[float]

    def summary(self) -> dict[str, Any]:
        ordered = sorted(self.samples)
        return {
            "figure": self.name,
            "unit": self.unit,
            "n": len(ordered),
            "median": statistics.median(ordered),
            "p99": percentile(ordered, 0.99),
            "min": ordered[0],
            "max": ordered[-1],
        }


def one(name: str, unit: str, value: float) -> Figure:
    """A quantity that was measured once."""
    return Figure(name, unit, [value])


def percentile(ordered: Sequence[float], part: float) -> float:
    """Nearest rank of sorted values: always one that was measured."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def processor() -> str:
    """The CPU model as Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def most_in_a_second(moments: Sequence[float]) -> int:
    """How many moments (seconds, in their order) are in the fullest second that begins with one of them."""
    return max(bisect.bisect_left(moments, moment + 1.0) - number for number, moment in enumerate(moments))


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """One line a figure, columns as wide as they need."""
    lines = [("row", "figure", "unit", "n", "median", "p99", "min - max")]
    for row in rows:
        spread = f"{_short(row['min'])} - {_short(row['max'])}"
        numbers = (str(row["n"]), _short(row["median"]), _short(row["p99"]), spread)
        lines.append((row["row"], row["figure"], row["unit"], *numbers))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
