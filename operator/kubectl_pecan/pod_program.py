"""The program in the pod at the data: answers requests on standard input, one after the other, until that ends.

It is sent to the pod as text, so it stands alone: the standard library only. A request is a line of JSON; an answer
is a line of JSON, followed by as many raw bytes as its field `bytes` says. Called with `wait`, it is the pod's own process,
which ends when no session has been alive for a while, however the user's end was lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import threading
import time
from typing import Any, BinaryIO

ALIVE = os.environ.get("PECAN_SESSION", "/tmp/pecan-session")
ALIVE_SECONDS = 5
LOST_SECONDS = 60
BLOCK = 1 << 20

Fields = dict[str, Any]
Answer = tuple[Fields, bytes]


def entry(path: str, name: str) -> Fields:
    """What `ls` shows of a path."""
    found = os.lstat(path)
    kind = "folder" if os.path.isdir(path) else "file" if os.path.isfile(path) else "other"
    return {"name": name, "type": kind, "size": found.st_size, "modified": int(found.st_mtime)}


def list_folder(request: Fields, _source: BinaryIO | None) -> Answer:
    path = request["path"]
    if not stat.S_ISDIR(os.stat(path).st_mode):
        return {"entries": [entry(path, os.path.basename(path))]}, b""
    entries = []
    for name in sorted(os.listdir(path)):
        # What a run has just removed is not there.
        with contextlib.suppress(FileNotFoundError):
            entries.append(entry(os.path.join(path, name), name))
    return {"entries": entries}, b""


def list_files(request: Fields, _source: BinaryIO | None) -> Answer:
    """Files of a folder and of those in it, but for the folders `without`; hidden ones and links are left out."""
    top = request["path"]
    os.stat(top)
    files = []
    for folder, folders, names in os.walk(top):
        left_out = request["without"] if folder == top else ()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in left_out)
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not name.startswith(".") and os.path.isfile(path) and not os.path.islink(path):
                with contextlib.suppress(FileNotFoundError):
                    files.append({"path": os.path.relpath(path, top), "size": os.path.getsize(path)})
    return {"files": files}, b""


def digest(request: Fields, _source: BinaryIO | None) -> Answer:
    """Size and SHA-256; size null when there is no such file."""
    if not os.path.lexists(request["path"]):
        return {"size": None, "sha256": None}, b""
    sha256, size = hashlib.sha256(), 0
    with open(request["path"], "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            sha256.update(block)
            size += len(block)
    return {"size": size, "sha256": sha256.hexdigest()}, b""


def size(request: Fields, _source: BinaryIO | None) -> Answer:
    path = request["path"]
    return {"size": os.path.getsize(path) if os.path.lexists(path) else None}, b""


def read(request: Fields, _source: BinaryIO | None) -> Answer:
    with open(request["path"], "rb") as file:
        file.seek(request["offset"])
        return {}, file.read(min(request["count"], BLOCK))


def write(request: Fields, source: BinaryIO) -> Answer:
    """Append to a file, which must have the size `offset`; makes its folders."""
    data = source.read(request["bytes"])
    path, offset = request["path"], request["offset"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab" if offset else "wb") as file:
        if file.tell() != offset:
            raise OSError(0, "has changed meanwhile", path)
        file.write(data)
    return {"size": offset + len(data)}, b""


def finish(request: Fields, _source: BinaryIO | None) -> Answer:
    """Give a whole file its name, if its bytes are those that were sent; a name in use only with `replace`."""
    found, _ = digest({"path": request["partial"]}, None)
    if found["sha256"] != request["sha256"]:
        os.unlink(request["partial"])
        raise OSError(0, "did not arrive as it was sent", request["path"])
    if not request["replace"]:
        try:
            # Of several uploads at a time one makes it; hard links, which could too, are not on every file system.
            with open(request["path"], "x"):
                pass
        except FileExistsError:
            os.unlink(request["partial"])
            return {"named": False}, b""
    os.replace(request["partial"], request["path"])
    return {"named": True}, b""


REQUESTS: dict[str, Any] = {
    "list": list_folder,
    "files": list_files,
    "digest": digest,
    "size": size,
    "read": read,
    "write": write,
    "finish": finish,
}


def answer(line: bytes, source: BinaryIO) -> bytes:
    """The answer to a request as bytes."""
    try:
        request = json.loads(line)
        fields, data = REQUESTS[request["op"]](request, source)
    except OSError as error:
        fields, data = {"error": error.strerror or str(error), "errno": error.errno, "path": error.filename}, b""
    fields["bytes"] = len(data)
    return b"".join((json.dumps(fields).encode(), b"\n", data))


def keep_alive() -> None:
    while True:
        with open(ALIVE, "w"):
            pass
        time.sleep(ALIVE_SECONDS)


def serve() -> None:
    os.umask(0o002)
    threading.Thread(target=keep_alive, daemon=True).start()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    for line in iter(source.readline, b""):
        sink.write(answer(line, source))
        sink.flush()


def wait() -> None:
    with open(ALIVE, "w"):
        pass
    while time.time() - os.stat(ALIVE).st_mtime < LOST_SECONDS:
        time.sleep(ALIVE_SECONDS)


if __name__ == "__main__":
    wait() if sys.argv[1:] == ["wait"] else serve()
