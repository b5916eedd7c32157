"""Step cleanup: the folder of a workflow that is gone is removed."""

from __future__ import annotations

import shutil

from pecan_executor.files import WorkflowFolder
from pecan_operator.errors import UserError


def cleanup(folder: WorkflowFolder, workflow_id: int, uid: str) -> None:
    """Remove the folder with all that is in it; one that is gone already is fine.

    Raises:
        UserError: it is not this workflow's folder; nothing is removed.
        OSError: something in it cannot be removed.
    """
    if folder.path.name != f"PEcAn_{workflow_id}" or folder.path.is_symlink():
        raise UserError("NotAFolder", f"{folder.path} is not the folder of workflow {workflow_id}: nothing is removed")
    if not folder.path.exists():
        return
    owner = folder.owner.read_text().strip() if folder.owner.exists() else uid
    if owner != uid:
        raise UserError(
            "FolderTaken", f"{folder.path} belongs to another PecanWorkflow (uid {owner}): nothing is removed"
        )
    # What tells whose it is goes last: a repeated call finds it.
    for path in folder.path.iterdir():
        if path == folder.owner:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    folder.owner.unlink(missing_ok=True)
    folder.path.rmdir()
