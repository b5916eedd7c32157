"""Copies between here and the data volume: what is done with each file, and doing it.

A copy grows in a file named after the checksum of the whole, so that what is there of another version is never gone on
with. It gets its name when all its bytes are those of the other side.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.volume import BLOCK, DATA, Digest, Volume

Advance = Callable[[int], None]
_MINE = ("workflows", "dbfiles")


class Action(StrEnum):
    """What is done with a file."""

    SKIP = "there already"
    COPY = "copied"
    RESUME = "resumed"
    REPLACE = "replaced"


@dataclass(frozen=True)
class Decision:
    """What is done, and from which byte on."""

    action: Action
    offset: int = 0


def decide_copy(source: Digest, target: Digest | None, partial_size: int | None, replace: bool) -> Decision | None:
    """What makes `target` equal to `source`; None: another file has the name, and may not be replaced.

    `partial_size`: bytes of a copy of this very source that was broken off.
    """
    if target == source:
        return Decision(Action.SKIP)
    if target is not None and not replace:
        return None
    if partial_size and partial_size <= source.size:
        return Decision(Action.RESUME, partial_size)
    return Decision(Action.COPY if target is None else Action.REPLACE)


def partial_name(name: str, source: Digest) -> str:
    """The name of a copy that is not whole yet."""
    beginning = os.fsencode(name)[:200].decode(errors="ignore")
    return f".{beginning}.{source.sha256[:16]}.part"


def local_digest(path: Path) -> Digest | None:
    """None when there is no such file."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256")
        return Digest(file.tell(), sha256.hexdigest())


def _refusal(path: str | Path) -> CliError:
    return CliError(
        ExitCode.INVALID, f"{path} exists and is another file: give it another place, or --replace to replace it"
    )


def download(volume: Volume, remote: str, target: Path, replace: bool, advance: Advance) -> Action:
    """Make `target` the file `remote`. `advance` is told of bytes.

    Raises CliError, also when another file has the name and `replace` is false, and when the bytes are not those of the
    other side.
    """
    source = volume.digest(remote)
    if source is None:
        raise CliError(ExitCode.NOT_FOUND, f"{remote} does not exist on the data volume")
    partial = target.with_name(partial_name(target.name, source))
    decision = decide_copy(source, local_digest(target), partial.stat().st_size if partial.exists() else None, replace)
    if decision is None:
        raise _refusal(target)
    if decision.action is Action.SKIP:
        advance(source.size)
        return Action.SKIP
    target.parent.mkdir(parents=True, exist_ok=True)
    advance(decision.offset)
    with partial.open("ab" if decision.offset else "wb") as file:
        at = decision.offset
        while at < source.size and (data := volume.read(remote, at, min(BLOCK, source.size - at))):
            file.write(data)
            at += len(data)
            advance(len(data))
    if local_digest(partial) != source:
        partial.unlink()
        raise CliError(ExitCode.UNAVAILABLE, f"{remote} changed while it was copied: give the same command again")
    partial.replace(target)
    return decision.action


def upload(volume: Volume, local: Path, remote: str, replace: bool, advance: Advance) -> Action:
    """Make `remote` the file `local`. Raises CliError, also when another file has the name and `replace` is false."""
    source = local_digest(local)
    if source is None:
        raise CliError(ExitCode.NOT_FOUND, f"{local} does not exist")
    folder, name = posixpath.split(remote)
    partial = posixpath.join(folder, partial_name(name, source))
    decision = decide_copy(source, volume.digest(remote), volume.size(partial), replace)
    if decision is None:
        raise _refusal(remote)
    advance(decision.offset if decision.action is not Action.SKIP else source.size)
    if decision.action is Action.SKIP:
        return Action.SKIP
    with local.open("rb") as file:
        file.seek(decision.offset)
        at = decision.offset
        if source.size == 0:
            volume.write(partial, 0, b"")
        while data := file.read(BLOCK):
            volume.write(partial, at, data)
            at += len(data)
            advance(len(data))
    if not volume.finish(partial, remote, source.sha256, replace):
        raise _refusal(remote)
    return decision.action


def _files_below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Files in a folder and those in it, through links; hidden ones are left out. `above`: the real folders on the way."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            real = path.resolve()
            if real in above:
                raise CliError(ExitCode.INVALID, f"the link {path} leads back to a folder that it is in: remove it")
            yield from _files_below(path, (*above, real))
        elif path.is_file():
            yield path
        elif path.is_symlink():
            raise CliError(ExitCode.NOT_FOUND, f"the link {path} leads nowhere: remove it, or what it names is missing")


def upload_plan(files: list[Path], folder: str) -> list[tuple[Path, str]]:
    """Each local file and its place; a folder brings all files in it, with their places in it. Hidden ones stay here.

    Raises CliError for a file that is not there, two files for one place, and folders that are the operator's.
    """
    first = posixpath.relpath(folder, DATA).split("/")[0]
    if first in _MINE or folder == DATA:
        raise CliError(
            ExitCode.INVALID, f"{folder} is PEcAn's own: choose a folder such as {DATA}/met/my-site with --to"
        )
    plan: dict[str, Path] = {}
    for given in files:
        if given.is_dir():
            # `.` and `..` are no names of folders: what is in them is meant.
            top = Path(given.name) if given.name not in ("", "..") else Path()
            found = [(path, top / path.relative_to(given)) for path in _files_below(given, (given.resolve(),))]
        elif given.is_file():
            found = [(given, Path(given.name))]
        else:
            raise CliError(ExitCode.NOT_FOUND, f"{given} does not exist, or is neither a file nor a folder")
        for path, to in found:
            remote = posixpath.join(folder, to.as_posix())
            if plan.setdefault(remote, path) != path:
                raise CliError(ExitCode.INVALID, f"{path} and {plan[remote]} would both become {remote}")
    if not plan:
        raise CliError(ExitCode.NOT_FOUND, "there is no file in what was given")
    return [(path, remote) for remote, path in plan.items()]
