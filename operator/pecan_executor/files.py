"""Files that are whole or absent, and the folders of a workflow."""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

DIRECTORY_MODE = 0o2775
PRIVATE_MODE = 0o640
"""Of files with passwords in them."""


@dataclass(frozen=True)
class WorkflowFolder:
    """Where things are in a workflow's folder (PEcAn's layout, plus our hidden files)."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "pecan.xml"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def out(self) -> Path:
        return self.path / "out"

    @property
    def run_list(self) -> Path:
        return self.run / "runs.txt"

    @property
    def plan(self) -> Path:
        return self.run / "plan.jsonl"

    @property
    def owner(self) -> Path:
        return self.path / ".pecan-workflow"

    @property
    def states(self) -> Path:
        return self.path / ".pecan-runs.json"

    @property
    def ignored(self) -> Path:
        """Nodes of a user's pecan.xml that have no effect, where the pecan.xml was read on the data volume."""
        return self.path / ".pecan-ignored.json"

    @property
    def results(self) -> Path:
        return self.path / ".pecan-results.json"

    @property
    def status(self) -> Path:
        """The stages as PEcAn's web pages, API and R read them."""
        return self.path / "STATUS"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    @property
    def log(self) -> Path:
        return self.path / "pecan-executor.log"

    @property
    def workspace(self) -> Path:
        """What `R CMD BATCH` saves at the end, and would begin with the next time."""
        return self.path / ".RData"

    def saved_settings(self) -> list[Path]:
        """The copies of pecan.xml that PEcAn saves on the way: pecan.CHECKED.xml, pecan.CONFIGS.xml, ..."""
        return sorted(self.path.glob("pecan.*.xml"))

    @property
    def data(self) -> Path:
        """The data volume: the folder is `<data>/workflows/PEcAn_<id>`."""
        return self.path.parent.parent


def make_directory(path: Path) -> None:
    """Make a directory that its group can write and hands its group on; existing ones are left as they are."""
    path.mkdir(parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != DIRECTORY_MODE:
        with suppress(PermissionError):
            path.chmod(DIRECTORY_MODE)


def write_text(path: Path, text: str, *, executable: bool = False, private: bool = False) -> None:
    """Write a file so that a reader sees the old text or all of the new one; an equal file is not touched. A private one
    is never open to others, nor to writing by the group."""
    data = text.encode()
    with suppress(FileNotFoundError):
        if path.read_bytes() == data:
            if private:
                path.chmod(PRIVATE_MODE)
            return
    with replacing(path) as temporary:
        if private:
            temporary.touch(PRIVATE_MODE)
        temporary.write_bytes(data)
        if executable:
            temporary.chmod(0o775)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, with the same suffix; renamed into place at the end, removed on an error."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of `path` at the end; on an error nothing is left."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        yield file


@contextmanager
def writing_table(path: Path) -> Iterator[Any]:
    """A csv.writer of a table that takes the place of `path` at the end; on an error nothing is left."""
    with writing(path) as file:
        yield csv.writer(file, lineterminator="\n")


def csv_cells(*values: object) -> str:
    """Cells of a row as csv.writer writes them, without the end of the line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
