"""upload and ls: files on the data volume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kubectl_pecan import screens
from kubectl_pecan.app import ContextOption, NamespaceOption, Output, OutputOption, ReplaceOption, command, session
from kubectl_pecan.copying import upload as upload_file
from kubectl_pecan.copying import upload_plan
from kubectl_pecan.datapod import data_volume
from kubectl_pecan.volume import DATA, data_path

app = typer.Typer()


@command(app, "ls", "ls met/loobos -n forest")
def ls(
    path: Annotated[str, typer.Argument(help="Folder or file on the data volume.")] = DATA,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """List a folder of the data volume, by a short-lived pod."""
    where = data_path(path)
    now = session(namespace, context, output)
    with data_volume(now.api) as volume:
        entries = volume.entries(where)
    now.show(screens.files_table(entries), entries)


@command(app, "upload Loobos.1997.nc Loobos.1998.nc --to met/loobos", "upload my-weather --to met")
def upload(
    files: Annotated[list[Path], typer.Argument(help="Files, and folders with all that is in them.")],
    to: Annotated[str, typer.Option("--to", help="Folder on the data volume; made if missing.")],
    replace: ReplaceOption = False,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Copy files to the data volume.

    What is there already is not copied again, and a copy that was broken off goes on where it was. Checksums are
    compared at the end.
    """
    plan = upload_plan(files, data_path(to))
    now = session(namespace, context, output)
    copies = []
    with data_volume(now.api) as volume, now.copying() as bars:
        task = bars.add_task("upload", total=sum(path.stat().st_size for path, _ in plan))
        for path, remote in plan:
            action = upload_file(volume, path, remote, replace, lambda size: bars.advance(task, size))
            copies.append({"file": remote, "size": path.stat().st_size, "action": action.value})
    now.show(screens.copies_table(copies), copies)
