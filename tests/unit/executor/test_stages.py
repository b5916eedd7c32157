"""STATUS: one line a stage, as PEcAn's status.start and status.end write it, whatever is killed or repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_executor import main as main_module
from pecan_executor.files import WorkflowFolder
from pecan_executor.main import main
from pecan_executor.stages import Stage, Stages
from pecan_operator.errors import Unavailable, UserError

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Clock:
    """Each look is a second later than the one before."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> datetime:
        self.looks += 1
        return NOON + timedelta(seconds=self.looks - 1)


@pytest.fixture
def stages(folder: WorkflowFolder) -> Stages:
    folder.path.mkdir(parents=True)
    return Stages(folder, Clock())


def test_lines_are_those_of_pecan(stages: Stages, folder: WorkflowFolder) -> None:
    stages.start(Stage.TRAIT)
    assert folder.status.read_text() == "TRAIT\t2026-06-01 12:00:00"
    stages.done(Stage.TRAIT)
    stages.start(Stage.CONFIG)
    assert folder.status.read_text() == (
        "TRAIT\t2026-06-01 12:00:00\t2026-06-01 12:00:01\tDONE\t\nCONFIG\t2026-06-01 12:00:02"
    )
    stages.failed()
    assert folder.status.read_text().splitlines()[1] == "CONFIG\t2026-06-01 12:00:02\t2026-06-01 12:00:03\tERROR\t"
    assert folder.status.read_text().endswith("ERROR\t\n")


def test_repeated_steps_leave_the_file_as_it_is(stages: Stages, folder: WorkflowFolder) -> None:
    def go() -> None:
        stages.start(Stage.TRAIT)
        stages.done(Stage.TRAIT)
        stages.start(Stage.CONFIG)

    go()
    before = folder.status.read_text()
    go()
    assert folder.status.read_text() == before


def test_a_failed_stage_begins_again_on_its_own_line(stages: Stages, folder: WorkflowFolder) -> None:
    stages.start(Stage.TRAIT)
    stages.failed()
    stages.start(Stage.TRAIT)
    assert folder.status.read_text() == "TRAIT\t2026-06-01 12:00:02"


def test_nothing_is_written_when_no_stage_is_at_work(stages: Stages, folder: WorkflowFolder) -> None:
    stages.failed()
    assert not folder.status.exists()
    stages.start(Stage.TRAIT)
    stages.done(Stage.TRAIT)
    before = folder.status.read_text()
    stages.failed()
    assert folder.status.read_text() == before


def test_runs_that_ran_again_take_the_later_stages_with_them(stages: Stages, folder: WorkflowFolder) -> None:
    for stage in Stage:
        stages.start(stage)
        stages.done(stage)
    stages.models_ran(NOON + timedelta(hours=1))
    once = folder.status.read_text()
    assert [line.split("\t")[0] for line in once.splitlines()] == ["TRAIT", "CONFIG", "MODEL"]
    assert once.splitlines()[2].split("\t")[2:] == ["2026-06-01 13:00:00", "DONE", ""]
    stages.start(Stage.OUTPUT)
    before = folder.status.read_text()
    stages.models_ran(NOON + timedelta(hours=1))
    assert folder.status.read_text() == before
    stages.models_ran(NOON + timedelta(hours=2))
    assert "OUTPUT" not in folder.status.read_text()


def test_times_are_utc_and_a_folder_of_before_has_no_start_of_its_own(stages: Stages, folder: WorkflowFolder) -> None:
    stages.models_ran(datetime.fromisoformat("2026-06-01T14:30:00+02:00"))
    assert folder.status.read_text() == "MODEL\t2026-06-01 12:30:00\t2026-06-01 12:30:00\tDONE\t\n"


def test_what_is_no_line_of_a_stage_does_not_stay(stages: Stages, folder: WorkflowFolder) -> None:
    folder.status.write_bytes(b"\t2026-06-01 11:00:00\tERROR\n\xff\xfe\nNOISE\ta\tb\tDONE\t\nTRAIT\n")
    stages.start(Stage.TRAIT)
    assert folder.status.read_text() == "TRAIT\t2026-06-01 12:00:00"


calls = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["start", "done"]), st.sampled_from(list(Stage))),
        st.tuples(st.just("failed")),
        st.tuples(st.just("models_ran"), st.datetimes(timezones=st.just(UTC))),
    ),
    max_size=20,
)


@given(calls=calls)
def test_no_stage_ever_has_two_lines_and_all_are_whole(calls: list[Any], tmp_path_factory: Any) -> None:
    folder = WorkflowFolder(tmp_path_factory.mktemp("workflow"))
    stages = Stages(folder, Clock())
    for name, *arguments in calls:
        getattr(stages, name)(*arguments)
        again = folder.status.read_text() if folder.status.exists() else ""
        getattr(stages, name)(*arguments)
        assert (folder.status.read_text() if folder.status.exists() else "") == again
        rows = [line.split("\t") for line in again.splitlines()]
        names = [row[0] for row in rows]
        assert names == [stage.value for stage in Stage if stage.value in names]
        assert all(len(row) in (2, 5) for row in rows)


@pytest.mark.parametrize("error", [UserError("Bad", "x"), Unavailable("Down", "x"), OSError(5, "x"), KeyError("x")])
@pytest.mark.parametrize(
    ("step", "result"), [("prepare", "ERROR"), ("table", None), ("cleanup", None), ("folder", None)]
)
def test_a_step_that_fails_says_so_in_its_own_folder(
    step: str, result: str | None, error: Exception, folder: WorkflowFolder, monkeypatch: Any
) -> None:
    folder.path.mkdir(parents=True)
    monkeypatch.setenv("PECAN_FOLDER", str(folder.path))

    def fail(_: Any) -> str:
        Stages(folder).start(Stage.TRAIT)
        raise error

    monkeypatch.setitem(main_module.STEPS, step, ("", fail))
    assert main([step]) != 0
    fields = folder.status.read_text().rstrip("\n").split("\t")
    assert fields[0] == "TRAIT"
    assert (fields[3] if len(fields) > 3 else None) == result


def test_a_data_volume_that_takes_nothing_does_not_hide_what_is_wrong(
    folder: WorkflowFolder, monkeypatch: Any, capsys: Any
) -> None:
    def fail(_: Any) -> str:
        folder.path.parent.mkdir(parents=True)
        Path(folder.path).write_text("a file")
        raise UserError("Bad", "what is wrong")

    monkeypatch.setenv("PECAN_FOLDER", str(folder.path))
    monkeypatch.setitem(main_module.STEPS, "prepare", ("", fail))
    assert main(["prepare"]) == 65
    assert capsys.readouterr().err == "pecan-executor prepare: what is wrong\n"
