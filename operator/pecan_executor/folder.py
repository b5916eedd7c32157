"""Step folder: the workflow's folder with its settings, run/ and out/."""

from __future__ import annotations

from pathlib import Path

from pecan_executor import settings as pecan_settings
from pecan_executor.files import WorkflowFolder, make_directory, write_text
from pecan_operator.core.pecanxml import Settings
from pecan_operator.errors import UserError


def make_folder(folder: WorkflowFolder, source: Path, workflow_id: int, uid: str) -> Settings:
    """Make the folder and put pecan.xml in it; repeating it changes nothing.

    Raises:
        UserError: the settings are wrong or are those of another workflow, or the folder is another workflow's.
    """
    settings = pecan_settings.read(source)
    check_settings(settings, folder, workflow_id)
    make_directory(folder.path.parent)
    make_directory(folder.path)
    owner = folder.owner.read_text().strip() if folder.owner.exists() else uid
    if owner != uid:
        raise UserError(
            "FolderTaken",
            f"{folder.path} belongs to another PecanWorkflow (uid {owner}), though both have the id {workflow_id}: "
            "was the database replaced? Move the folder away, or restore the database",
        )
    write_text(folder.owner, uid + "\n")
    make_directory(folder.run)
    make_directory(folder.out)
    write_text(folder.settings, source.read_text())
    return settings


def check_settings(settings: Settings, folder: WorkflowFolder, workflow_id: int) -> None:
    """Raises UserError when the settings are not those of this workflow and folder."""
    if settings.workflow_id != workflow_id:
        raise UserError(
            "BadSettings", f"pecan.xml workflow/id is {settings.workflow_id}, this workflow is {workflow_id}"
        )
    if Path(settings.folder) != folder.path:
        raise UserError(
            "BadSettings", f"pecan.xml outdir is {settings.folder}, this workflow's folder is {folder.path}"
        )
