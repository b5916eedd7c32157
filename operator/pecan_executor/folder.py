"""Step folder: the workflow's folder with its settings, run/ and out/."""

from __future__ import annotations

import json
from pathlib import Path

from pecan_executor import settings as pecan_settings
from pecan_executor.datafiles import open_data_file
from pecan_executor.files import WorkflowFolder, make_directory, write_text
from pecan_executor.saved_settings import save_checked
from pecan_executor.sites import with_sites
from pecan_executor.stages import Stage, Stages
from pecan_executor.usersettings import read_user_settings
from pecan_operator.core.pecanxml import Settings, render
from pecan_operator.core.userxml import MOST_BYTES, Ours
from pecan_operator.errors import UserError


def make_folder(folder: WorkflowFolder, source: Path, workflow_id: int, uid: str) -> Settings:
    """Make the folder and put pecan.xml in it, with the sites of its table; repeating it changes nothing.

    The table is read until runs of its sites are registered; what becomes of it then is no matter.

    Raises:
        UserError: the settings or the table of sites are wrong or those of another workflow, or the folder is another
            workflow's.
    """
    text = pecan_settings.read_text(source)
    settings = pecan_settings.parse(text)
    if settings.sites_csv is not None:
        text = _registered(folder, uid) or render(with_sites(settings, folder.data))
        settings = pecan_settings.parse(text)
    return _make(folder, text, settings, workflow_id, uid)


def adopt_pecan_xml(folder: WorkflowFolder, source: Path, ours: Path, workflow_id: int, uid: str) -> Settings:
    """Make the folder with a user's pecan.xml, completed by what is in the file `ours`; repeating it changes nothing.

    The user's file is read until runs are registered; what becomes of it then is no matter.

    Raises:
        UserError: there is no such file on the data volume, it is wrong, or the folder is another workflow's.
    """
    if (text := _registered(folder, uid)) is not None:
        return _make(folder, text, pecan_settings.parse(text), workflow_id, uid)
    with open_data_file(source, folder.data) as file:
        user = read_user_settings(file.read(MOST_BYTES + 1), Ours.from_json(ours.read_text()))
    _make(folder, render(user.settings), user.settings, workflow_id, uid)
    write_text(folder.ignored, json.dumps(user.ignored) + "\n")
    return user.settings


def _registered(folder: WorkflowFolder, uid: str) -> str | None:
    """This workflow's pecan.xml, once there may be rows of its sites and runs in BETY: others would leave those behind."""
    if not Stages(folder).has_begun(Stage.CONFIG) or _owner(folder, uid) != uid:
        return None
    return pecan_settings.read_text(folder.settings)


def _make(folder: WorkflowFolder, text: str, settings: Settings, workflow_id: int, uid: str) -> Settings:
    check_settings(settings, folder, workflow_id)
    make_directory(folder.path.parent)
    make_directory(folder.path)
    if (owner := _owner(folder, uid)) != uid:
        raise UserError(
            "FolderTaken",
            f"{folder.path} belongs to another PecanWorkflow (uid {owner}), though both have the id {workflow_id}: "
            "was the database replaced? Move the folder away, or restore the database",
        )
    write_text(folder.owner, uid + "\n")
    make_directory(folder.run)
    make_directory(folder.out)
    write_text(folder.settings, text)
    save_checked(folder, text)
    return settings


def _owner(folder: WorkflowFolder, uid: str) -> str:
    """The uid of the PecanWorkflow that the folder is of; `uid` where it is nobody's yet."""
    return folder.owner.read_text().strip() if folder.owner.exists() else uid


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
