"""Step cleanup: nothing stays, and nothing of another is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from pecan_executor import main as main_module
from pecan_executor.cleanup import cleanup
from pecan_executor.files import WorkflowFolder
from pecan_operator.errors import UserError


@pytest.fixture
def made(tmp_path: Path) -> WorkflowFolder:
    folder = WorkflowFolder(tmp_path / "workflows" / "PEcAn_99000000001")
    (folder.out / "7" / "failed").mkdir(parents=True)
    (folder.out / "7" / "1997.nc").write_text("output")
    folder.run.mkdir()
    folder.settings.write_text("<pecan/>")
    folder.owner.write_text("uid-1\n")
    (folder.path / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("stays")
    return folder


def test_the_folder_goes_and_what_it_links_to_stays(made: WorkflowFolder, tmp_path: Path) -> None:
    cleanup(made, 99000000001, "uid-1")
    assert not made.path.exists()
    assert (tmp_path / "precious" / "file").read_text() == "stays"
    assert made.path.parent.exists()


def test_repeating_it_is_fine(made: WorkflowFolder) -> None:
    cleanup(made, 99000000001, "uid-1")
    cleanup(made, 99000000001, "uid-1")


def test_one_killed_half_way_is_finished_by_the_next(made: WorkflowFolder) -> None:
    for path in (made.settings, made.path / "link"):
        path.unlink()
    cleanup(made, 99000000001, "uid-1")
    assert not made.path.exists()


@pytest.mark.parametrize(("workflow_id", "uid"), [(99000000001, "uid-2"), (99000000002, "uid-1")])
def test_the_folder_of_another_stays(made: WorkflowFolder, workflow_id: int, uid: str) -> None:
    with pytest.raises(UserError, match="nothing is removed"):
        cleanup(made, workflow_id, uid)
    assert (made.out / "7" / "1997.nc").exists()


def test_a_link_in_its_place_is_not_followed(made: WorkflowFolder, tmp_path: Path) -> None:
    link = WorkflowFolder(tmp_path / "PEcAn_99000000001")
    link.path.symlink_to(made.path)
    with pytest.raises(UserError, match="nothing is removed"):
        cleanup(link, 99000000001, "uid-1")
    assert made.settings.exists()


def test_the_step(made: WorkflowFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PECAN_FOLDER", str(made.path))
    monkeypatch.setenv("PECAN_WORKFLOW_ID", "99000000001")
    monkeypatch.setenv("PECAN_WORKFLOW_UID", "uid-1")
    assert main_module.main(["cleanup"]) == 0
    assert capsys.readouterr().out == f"{made.path} is gone\n"
