"""Files that a user names by their path on the data volume.

The steps read them with the database's password in their environment, and say of a wrong file what is in it: a symbolic
link must not make them read anything but the data volume, not even one that takes the place of a folder meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pecan_operator.errors import UserError

# a folder that may be passed through need not be one that may be read
_FOLDER = os.O_DIRECTORY | getattr(os, "O_PATH", 0)
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def inside(path: Path, data: Path) -> Path:
    """Where a path leads, with all symbolic links followed; raises UserError when that is not below the data volume."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(data)):
        raise UserError(
            "OutsideData", f"{path} is a link that leads out of the data volume: put the file itself on the data volume"
        )
    return real


@contextmanager
def open_data_file(path: Path, data: Path) -> Iterator[BinaryIO]:
    """A file of the data volume, to be read; raises UserError when there is none, or it is not below the data volume."""
    descriptor = _open(path, data)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError("NoDataFile", f"{path} is not a file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def data_folder(path: Path, data: Path) -> list[str] | None:
    """The names in a folder of the data volume, or None when the path is that of a file; raises as open_data_file."""
    descriptor = _open(path, data)
    try:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        return sorted(os.listdir(descriptor)) if is_folder else None  # noqa: PTH208 (a path could be another by now)
    finally:
        os.close(descriptor)


def _open(path: Path, data: Path) -> int:
    """A descriptor of what is at a path, opened folder by folder and through no link: `inside` has followed them all."""
    real, root = inside(path, data), Path(os.path.realpath(data))
    names = [str(root), *real.relative_to(root).parts]
    descriptor: int | None = None
    try:
        for name in names[:-1]:
            descriptor = _open_in(descriptor, name, _FOLDER)
        # a pipe would let the open wait for a writer
        return _open_in(descriptor, names[-1], os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise UserError("NoDataFile", f"{path} does not exist: put it on the data volume") from None
        raise OSError(error.errno, error.strerror, str(path)) from None


def _open_in(folder: int | None, name: str, flags: int) -> int:
    """A descriptor of what is in a folder, in place of the folder's."""
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | flags, dir_fd=folder)
    finally:
        if folder is not None:
            os.close(folder)
