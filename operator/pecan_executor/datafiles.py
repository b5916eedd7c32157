"""Files that a user names by their path on the data volume.

The steps read them with the database's password in their environment, and say of a wrong file what is in it: a symbolic
link must not make them read anything but the data volume.
"""

from __future__ import annotations

import os
from pathlib import Path

from pecan_operator.errors import UserError


def inside(path: Path, data: Path) -> Path:
    """Where a path leads, with all symbolic links followed; raises UserError when that is not below the data volume."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(data)):
        raise UserError(
            "OutsideData", f"{path} is a link that leads out of the data volume: put the file itself on the data volume"
        )
    return real


def data_file(path: Path, data: Path) -> Path:
    """Where the path of a file leads; raises UserError when that is no file, or not below the data volume."""
    real = inside(path, data)
    if not real.is_file():
        what = "is not a file" if real.exists() else "does not exist: put it on the data volume"
        raise UserError("NoDataFile", f"{path} {what}")
    return real
