"""STATUS as R writes and reads it. Source: PEcAn, base/utils/R/status.R."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from r_standin.logger import stop, warn

BEFORE_CONTINUE = ("TRAIT", "META", "CONFIG", "ADVANCED", "MODEL")
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_DONE = re.compile(rf"(\w+)\t({_TIME})\t({_TIME})\tDONE\t")


class Status:
    """The file STATUS of a folder. A stage is begun without a newline behind it: a killed R leaves the line open."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "STATUS"

    def start(self, name: str) -> None:
        self._append(f"{name}\t{_now()}")

    def end(self, result: str = "DONE") -> None:
        self._append(f"\t{_now()}\t{result}\t\n")

    def check(self, name: str) -> int:
        """0 a stage that has not run, 1 one that is done, -1 one that failed."""
        if not self.path.exists():
            return 0
        rows = [line.split("\t") for line in self.path.read_text().splitlines() if line.strip()]
        if not rows:
            raise stop("read.table", "no lines available in input")
        names = [row[0] for row in rows]
        if len(set(names)) < len(names):
            raise stop("read.table", "duplicate 'row.names' are not allowed")
        results = {row[0]: row[3] if len(row) > 3 else None for row in rows}
        if name not in results:
            return 0
        if results[name] is None:
            warn("status.check", f"UNKNOWN STATUS FOR {name}")
        return {"DONE": 1, "ERROR": -1}.get(results[name] or "", 0)

    def _append(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)


def wrong_before_continue(text: str, stages: Sequence[str]) -> str | None:
    """What is wrong with STATUS before the second pass: it has one closed line of each of the stages, and nothing else."""
    lines = text.split("\n")
    if lines.pop():
        return f"the last line is open: {text.splitlines()[-1]!r}"
    matches = [_DONE.fullmatch(line) for line in lines]
    for line, match in zip(lines, matches, strict=True):
        if match is None:
            return f"{line!r} is not a stage, its start and its end, DONE and an empty field"
        if match[2] > match[3]:
            return f"{match[1]} ends before it starts"
    found = [match[1] for match in matches if match]
    return None if found == list(stages) else f"has the stages {found}, not {list(stages)}"


def _now() -> str:
    return f"{datetime.now():%Y-%m-%d %H:%M:%S}"
