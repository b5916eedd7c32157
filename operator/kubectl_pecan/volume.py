"""The data volume as a session with the program in the pod at it sees it, and the paths on it."""

from __future__ import annotations

import errno
import json
import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_pecan.api import Channel
from kubectl_pecan.errors import CliError, ExitCode

DATA = "/data"
BLOCK = 1 << 18
SYSTEM = os.name
_FRAME = 1 << 15


@dataclass(frozen=True)
class RemoteFile:
    """A file of a folder: its path below the folder, and bytes."""

    path: str
    size: int


@dataclass(frozen=True)
class Digest:
    """What a file is: bytes and SHA-256."""

    size: int
    sha256: str


def data_path(text: str) -> str:
    """A path on the data volume; one that is not absolute is below /data. Raises CliError for one that leads out of it."""
    path = posixpath.normpath(posixpath.join(DATA, text))
    if "\0" in text or not (path == DATA or path.startswith(DATA + "/")):
        raise CliError(ExitCode.INVALID, f"{text} is not below {DATA}: only the data volume can be reached")
    return path


class Volume:
    """Requests to the program in the pod, one at a time. Paths are absolute.

    Every method raises CliError: NOT_FOUND, FORBIDDEN or INVALID for what the file system says, UNAVAILABLE when the
    connection broke.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._received = bytearray()

    def entries(self, path: str) -> list[dict[str, Any]]:
        """Name, type (file, folder, other), size in bytes and modified (Unix time) of what is in a folder."""
        entries: list[dict[str, Any]] = self._ask({"op": "list", "path": path})[0]["entries"]
        return entries

    def files(self, folder: str, without: Sequence[str] = ()) -> list[RemoteFile]:
        """The files of a folder and of the folders in it, but for those called `without`; none that are hidden.

        Their paths are below the folder wherever that is, on Windows too: INVALID for any that is not, or is no path there.
        """
        fields, _ = self._ask({"op": "files", "path": folder, "without": list(without)})
        files = [RemoteFile(**file) for file in fields["files"]]
        for file in files:
            if _leads_out(file.path):
                raise CliError(
                    ExitCode.INVALID,
                    f"{folder} on the data volume has a file {file.path!r}, a name that cannot be that of a file in a "
                    "folder here: rename it there",
                )
        return files

    def digest(self, path: str) -> Digest | None:
        """None when there is no such file."""
        fields, _ = self._ask({"op": "digest", "path": path})
        return None if fields["size"] is None else Digest(fields["size"], fields["sha256"])

    def size(self, path: str) -> int | None:
        """Bytes of a file; None when there is no such file."""
        size: int | None = self._ask({"op": "size", "path": path})[0]["size"]
        return size

    def read(self, path: str, offset: int, count: int = BLOCK) -> bytes:
        """Up to `count` bytes of a file; none at its end."""
        return self._ask({"op": "read", "path": path, "offset": offset, "count": count})[1]

    def write(self, path: str, offset: int, data: bytes) -> None:
        """Append to a file that has the size `offset`; 0 begins it anew, in folders that are made."""
        self._ask({"op": "write", "path": path, "offset": offset, "bytes": len(data)}, data)

    def finish(self, partial: str, path: str, sha256: str, replace: bool) -> bool:
        """Give a file that has arrived whole its name; False: a file has got that name, and `replace` is false."""
        request = {"op": "finish", "partial": partial, "path": path, "sha256": sha256, "replace": replace}
        is_named: bool = self._ask(request)[0]["named"]
        return is_named

    def _ask(self, request: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        sent = json.dumps(request).encode() + b"\n" + data
        for start in range(0, len(sent), _FRAME):
            self._channel.send(sent[start : start + _FRAME])
        while b"\n" not in self._received:
            self._received += self._channel.receive()
        line, _, rest = bytes(self._received).partition(b"\n")
        fields = json.loads(line)
        self._received = bytearray(rest)
        while len(self._received) < fields["bytes"]:
            self._received += self._channel.receive()
        body = bytes(self._received[: fields["bytes"]])
        del self._received[: fields["bytes"]]
        if "error" in fields:
            raise _error(fields, request)
        return fields, body


def _leads_out(path: str) -> bool:
    # There `\\` is a `/` too, and `C:` another place; elsewhere names may have them, as WRF's do.
    is_other_place = SYSTEM == "nt" and not {"\\", ":"}.isdisjoint(path)
    return is_other_place or not {"", ".", ".."}.isdisjoint(path.split("/"))


def _error(fields: dict[str, Any], request: dict[str, Any]) -> CliError:
    path = fields["path"] or request["path"]
    if fields["errno"] == errno.ENOENT:
        return CliError(ExitCode.NOT_FOUND, f"{path} does not exist on the data volume")
    code = ExitCode.FORBIDDEN if fields["errno"] in (errno.EACCES, errno.EPERM, errno.EROFS) else ExitCode.INVALID
    return CliError(code, f"{path} on the data volume: {fields['error'].lower()}")
