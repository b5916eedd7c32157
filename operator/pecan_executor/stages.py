"""STATUS: the stages of a workflow as PEcAn's web pages, API and R read them.

One line a stage: name, start, end, DONE or ERROR and an empty field, separated by tabs; a stage at work has name and
start. Times are UTC, `YYYY-MM-DD HH:MM:SS`. Source: PEcAn, base/utils/R/status.R. PEcAn appends to the file; here it is
replaced as a whole, so that a killed step leaves no broken line and a repeated one no second line of its stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pecan_executor.files import WorkflowFolder, write_text


class Stage(StrEnum):
    """The stages of PEcAn's workflow.R that the light executor goes through, in their order."""

    TRAIT = "TRAIT"
    CONFIG = "CONFIG"
    MODEL = "MODEL"
    OUTPUT = "OUTPUT"
    ENSEMBLE = "ENSEMBLE"
    SENSITIVITY = "SENSITIVITY"
    FINISHED = "FINISHED"


DONE, ERROR = "DONE", "ERROR"


@dataclass(frozen=True)
class Line:
    """What STATUS says of a stage; one at work has neither end nor result."""

    start: str
    end: str = ""
    result: str = ""


def _now() -> datetime:
    return datetime.now(UTC)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


class Stages:
    """The file STATUS of one workflow; repeating a call changes nothing."""

    def __init__(self, folder: WorkflowFolder, now: Callable[[], datetime] = _now) -> None:
        self._path, self._now = folder.status, now

    def has_begun(self, stage: Stage) -> bool:
        """Whether a stage is at work, done or failed."""
        return stage in self._read()

    def start(self, stage: Stage) -> None:
        """A stage is at work. One that is already, or is done, keeps its line; one that failed begins again."""
        lines = self._read()
        if stage not in lines or lines[stage].result == ERROR:
            self._write(lines | {stage: Line(_time(self._now()))})

    def done(self, stage: Stage) -> None:
        """A stage has come to its end; one that is done already keeps its line."""
        lines = self._read()
        if stage not in lines or lines[stage].result != DONE:
            now = _time(self._now())
            start = lines[stage].start if stage in lines else now
            self._write(lines | {stage: Line(start, now, DONE)})

    def models_ran(self, end: datetime) -> None:
        """The last run ended then. Where STATUS has another end, runs were run again: what followed is to come anew."""
        lines, time = self._read(), _time(end)
        start = lines[Stage.MODEL].start if Stage.MODEL in lines else time
        line = Line(start, time, DONE)
        if lines.get(Stage.MODEL) != line:
            before = (Stage.TRAIT, Stage.CONFIG)
            self._write({stage: lines[stage] for stage in before if stage in lines} | {Stage.MODEL: line})

    def failed(self) -> None:
        """The step failed: so did the stages at work, if any."""
        lines, now = self._read(), _time(self._now())
        open_stages = {stage: Line(line.start, now, ERROR) for stage, line in lines.items() if not line.result}
        if open_stages:
            self._write(lines | open_stages)

    def _read(self) -> dict[Stage, Line]:
        try:
            rows = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        lines = {}
        for name, *fields in (row.split("\t") for row in rows):
            # a line of nobody's stage is not kept: R's status.check stops at a file it cannot read as a table
            if name in Stage.__members__ and fields:
                lines[Stage(name)] = Line(*fields[:3]) if len(fields) > 2 else Line(fields[0])
        return lines

    def _write(self, lines: Mapping[Stage, Line]) -> None:
        """As R's status.start and status.end leave it: behind a stage at work, which is the last, there is no newline."""
        rows = []
        for stage in Stage:
            if stage in lines:
                line = lines[stage]
                rows.append("\t".join((stage, line.start, *((line.end, line.result, "") if line.result else ()))))
        text = "\n".join(rows)
        write_text(self._path, text + "\n" if text.endswith("\t") else text)
