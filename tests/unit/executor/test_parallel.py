"""Work in several processes comes back in order, and what goes wrong there is told here."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pecan_executor.parallel import Apart, cpus, in_order
from pecan_operator.errors import Unavailable


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_results_are_in_order(processes: int) -> None:
    assert list(in_order(lambda number: number**2, range(20), processes)) == [number**2 for number in range(20)]


def test_several_processes_do_it() -> None:
    there = set(in_order(lambda _: os.getpid(), range(9), 3))
    assert len(there) == 3
    assert os.getpid() not in there


def test_what_is_not_taken_ends_with_the_taking(tmp_path: Path) -> None:
    def work(number: int) -> bytes:
        (tmp_path / str(number)).touch()
        return bytes(2**20)

    results = in_order(work, range(100), 2)
    assert len(list(islice(results, 4))) == 4
    results.close()  # type: ignore[attr-defined]
    assert len(list(tmp_path.iterdir())) <= 8, "a process was far ahead of what was taken"


def test_a_killed_reader_is_told() -> None:
    def work(number: int) -> int:
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(Unavailable, match="killed: is there enough memory"):
        list(in_order(work, range(9), 3))


def test_what_the_work_raises_is_raised_here() -> None:
    def work(number: int) -> float:
        return 1 / (4 - number)

    results = in_order(work, range(9), 3)
    assert len(list(islice(results, 4))) == 4
    with pytest.raises(ZeroDivisionError):
        next(results)


class Lines:
    """Writes what it is given to a file, which appears when it is left without an error."""

    def __init__(self, path: Path) -> None:
        self._path, self._lines = path, [""]

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: Any) -> None:
        self._path.with_suffix(".failed" if error[0] else ".done").write_text("".join(self._lines))

    def add(self, item: str) -> None:
        if item == "full":
            raise OSError(28, "No space left on device", "a.pdf")
        if item == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        self._lines.append(f"{item} by {os.getpid()}\n")


def hand_over(path: Path, items: Sequence[str], error: Exception | None = None) -> None:
    with Apart(Lines(path)) as lines:
        for item in items:
            lines.add(item)
        if error:
            raise error


def test_a_writer_apart_has_finished_when_it_is_left(tmp_path: Path) -> None:
    hand_over(tmp_path / "a", ["one", "two"])
    found = (tmp_path / "a.done").read_text()
    assert found.startswith("one by ")
    assert str(os.getpid()) not in found.split()


def test_an_error_of_a_writer_apart_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        hand_over(tmp_path / "a", ["full"] * 100_000)
    assert caught.value.filename == "a.pdf"
    assert (tmp_path / "a.failed").exists()


def test_an_error_here_is_one_for_the_writer_apart(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="here"):
        hand_over(tmp_path / "a", ["one"], RuntimeError("here"))
    assert (tmp_path / "a.failed").read_text().startswith("one by ")


def test_a_killed_writer_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="killed: is there enough memory"):
        hand_over(tmp_path / "a", ["killed"])


@pytest.mark.parametrize(
    ("text", "allowed"), [("max 100000", 4), ("100000 100000", 1), ("150000 100000", 2), ("5000 100000", 1), ("", 4)]
)
def test_cpus_are_no_more_than_the_container_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, allowed: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    (tmp_path / "cpu.max").write_text(text)
    assert cpus(tmp_path / "cpu.max") == allowed
    assert cpus(tmp_path / "absent") == 4
