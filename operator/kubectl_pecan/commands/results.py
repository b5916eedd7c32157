"""logs, results, plot, render: what a workflow has left on the data volume."""

from __future__ import annotations

import json
import posixpath
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from kubectl_pecan import screens
from kubectl_pecan.api import Manifest
from kubectl_pecan.app import (
    ContextOption,
    NameArgument,
    NamespaceOption,
    Output,
    OutputOption,
    ReplaceOption,
    Session,
    command,
    print_json,
    session,
)
from kubectl_pecan.copying import download
from kubectl_pecan.datapod import data_volume
from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.manifests import without_passwords
from kubectl_pecan.progress import Counts, has_ended
from kubectl_pecan.volume import RemoteFile, Volume

KIND = "PecanWorkflow"
FOLLOW_SECONDS = 1.0
RUN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
# What the worker leaves beside job.log when the attempt has come to its end, until the next one begins.
RESULT = ".pecan-result.json"
RUN_FOLDERS = ("run", "out")
MOST_OPENED = 10
# Where PEcAn's R is the framework, these have the platform's passwords in them, in whatever folder; history.pda is a
# workspace that PDA saves.
SECRET_FILE = re.compile(r"(.*/)?(pecan(\..+)?\.xml|workflow2?\.Rout|history\.pda.*\.Rdata)")
R_WORKFLOW = "workflow.R"

app = typer.Typer()


@command(app, "logs 99000000007", "logs 99000000007 --workflow loobos-ensemble --follow")
def logs(
    run: Annotated[str, typer.Argument(help="Id of the run, as conditions and ensemble.members.*.csv have it.")],
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", help="Workflow of the run.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run ends, over all its attempts.")
    ] = False,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print what a run has said: its job.log."""
    if not RUN_ID.fullmatch(run):
        raise CliError(ExitCode.INVALID, f"{run} is not the id of a run")
    if follow and output is Output.JSON:
        raise CliError(ExitCode.USAGE, "--follow and -o json exclude each other")
    now = session(namespace, context, output)
    candidates = [now.api.get(KIND, workflow)] if workflow else now.api.list(KIND)
    folders = folders_of(candidates)
    with data_volume(now.api) as volume:
        name, folder = run_folder(volume, run, folders)
        log = posixpath.join(folder, "job.log")
        if now.is_json:
            print_json({"run": run, "file": log, "log": _read_all(volume, log).decode(errors="replace")})
        else:
            _print_log(volume, log, lambda: not follow or _is_closed(volume, folder, now.api.get(KIND, name)))


def folders_of(workflows: Sequence[Manifest]) -> dict[str, str]:
    """Folder of each workflow that has one, by its name."""
    found = {each["metadata"]["name"]: (each.get("status") or {}).get("folder") for each in workflows}
    return {name: folder for name, folder in found.items() if folder}


def run_folder(volume: Volume, run: str, folders: dict[str, str]) -> tuple[str, str]:
    """The workflow of a run, and the run's folder.

    Raises CliError unless exactly one of the workflows has it, with a log in it.
    """
    paths = {name: posixpath.join(folder, "run", run) for name, folder in folders.items()}
    having = {name: path for name, path in paths.items() if volume.size(path) is not None}
    if not having:
        where = f"workflow {next(iter(folders))} has" if len(folders) == 1 else f"none of {len(folders)} workflows has"
        raise CliError(ExitCode.NOT_FOUND, f"{where} a run {run}: `kubectl pecan ls` of its folder's run/ shows them")
    if len(having) > 1:
        raise CliError(ExitCode.INVALID, f"several workflows have a run {run}: choose one with -w: {', '.join(having)}")
    ((name, path),) = having.items()
    if volume.size(posixpath.join(path, "job.log")) is None:
        raise CliError(ExitCode.NOT_READY, f"run {run} has no job.log yet: no worker has begun with it")
    return name, path


def _is_closed(volume: Volume, folder: str, workflow: Manifest) -> bool:
    """Whether a run says nothing more: after an attempt that failed another may come while the workflow has open runs."""
    if has_ended(workflow):
        return True
    result = posixpath.join(folder, RESULT)
    if volume.size(result) is None:
        return False
    try:
        state = json.loads(volume.read(result, 0))["state"]
    except (ValueError, KeyError, TypeError):
        state = None
    return state in ("succeeded", "cancelled") or not Counts.of(workflow).open


def _parts(volume: Volume, path: str, offset: int = 0) -> Iterator[bytes]:
    """A file from there to its present end."""
    while data := volume.read(path, offset):
        yield data
        offset += len(data)


def _read_all(volume: Volume, path: str) -> bytes:
    return b"".join(_parts(volume, path))


def _print_log(volume: Volume, log: str, is_closed: Callable[[], bool]) -> None:
    offset = 0
    while True:
        # Looked at before the last lines are read: they may come between.
        is_over = is_closed()
        # Another attempt begins its log anew.
        if (volume.size(log) or 0) < offset:
            offset = 0
        for data in _parts(volume, log, offset):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            offset += len(data)
        if is_over:
            return
        time.sleep(FOLLOW_SECONDS)


@command(app, "results loobos-ensemble", "results loobos-ensemble --to results")
def results(
    name: NameArgument,
    to: Annotated[Path | None, typer.Option("--to", help="Copy the result files into this folder.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="With --to: the folders and output of all runs, too.")
    ] = False,
    replace: ReplaceOption = False,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show the headline numbers of a workflow, and copy its files.

    What is in the folder already is not copied again, and a copy that was broken off goes on where it was. Checksums are
    compared at the end. What PEcAn's R leaves with passwords in it (pecan.xml, workflow.Rout) stays where it is.
    """
    if everything and to is None:
        raise CliError(ExitCode.USAGE, "--all needs --to FOLDER")
    now = session(namespace, context, output)
    workflow = now.api.get(KIND, name)
    found = (workflow.get("status") or {}).get("results")
    if not found and not (everything and (workflow.get("status") or {}).get("folder")):
        raise _no_results(workflow)
    copies = [] if to is None else _copy(now, workflow, to, everything, replace, lambda _path: True)
    parts = [] if not found else [screens.results_table(found)]
    if to is not None:
        parts.append(screens.copies_table(copies))
    now.show(Group(*parts), {"results": found, "files": copies})


@command(app, "plot loobos-ensemble", "plot loobos-ensemble --variable NEE --to figures --no-open")
def plot(
    name: NameArgument,
    variable: Annotated[list[str] | None, typer.Option("--variable", help="Only these; may be repeated.")] = None,
    to: Annotated[Path, typer.Option("--to", help="Folder for the figures.")] = Path(),
    pdf: Annotated[bool, typer.Option("--pdf", help="The PDF with a page a site, in place of the PNG.")] = False,
    replace: ReplaceOption = False,
    is_opened: Annotated[bool, typer.Option("--open/--no-open", help="Open them in the system's viewer.")] = True,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Copy the figures of a workflow, and open them.

    Of more than ten the first ten are opened.
    """
    now = session(namespace, context, output)
    workflow = now.api.get(KIND, name)
    if not (workflow.get("status") or {}).get("results"):
        raise _no_results(workflow)
    ending = ".pdf" if pdf else ".png"
    copies = _copy(now, workflow, to, False, replace, lambda path: is_figure(path, variable or [], ending))
    now.show(screens.copies_table(copies), copies)
    if is_opened and not now.is_json and now.console.is_terminal:
        for each in copies[:MOST_OPENED]:
            typer.launch(each["file"])


def is_figure(path: str, variables: Sequence[str], ending: str) -> bool:
    """Whether a result file is a figure of one of the variables (none given: of any)."""
    return path.endswith(ending) and (not variables or any(f".{variable}." in path for variable in variables))


@command(app, "render loobos-ensemble > pecan.xml")
def render(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the pecan.xml that a workflow is run by.

    The passwords that PEcAn's R finds in it are left out.
    """
    now = session(namespace, context, output)
    workflow = now.api.get(KIND, name)
    file = posixpath.join(_folder(workflow), "pecan.xml")
    with data_volume(now.api) as volume:
        text = _read_all(volume, file).decode(errors="replace")
    text, _ = without_passwords(Path(file), text)
    if now.is_json:
        print_json({"file": file, "xml": text})
    else:
        sys.stdout.write(text)


def _folder(workflow: Manifest) -> str:
    folder = (workflow.get("status") or {}).get("folder")
    if folder is None:
        raise CliError(
            ExitCode.NOT_READY, f"{KIND} {workflow['metadata']['name']} has no folder yet: {screens.sentence(workflow)}"
        )
    return str(folder)


def _no_results(workflow: Manifest) -> CliError:
    name = workflow["metadata"]["name"]
    phase = (workflow.get("status") or {}).get("phase") or "Pending"
    code = ExitCode.NOT_SUCCEEDED if has_ended(workflow) else ExitCode.NOT_READY
    return CliError(code, f"{KIND} {name} has no results ({phase}): {screens.sentence(workflow)}")


def _copy(
    now: Session, workflow: Manifest, to: Path, of_runs: bool, replace: bool, wanted: Callable[[str], bool]
) -> list[dict[str, Any]]:
    folder = _folder(workflow)
    copies = []
    with data_volume(now.api) as volume, now.copying() as bars:
        found: list[RemoteFile] = list(volume.files(folder, () if of_runs else RUN_FOLDERS))
        by_r = any(file.path == R_WORKFLOW for file in found)
        files = [file for file in found if wanted(file.path) and not (by_r and SECRET_FILE.fullmatch(file.path))]
        if not files:
            raise CliError(ExitCode.NOT_FOUND, f"{folder} has no such file: `kubectl pecan ls {folder}` shows which")
        task = bars.add_task("copy", total=sum(file.size for file in files))
        for file in files:
            target = to.joinpath(*file.path.split("/"))
            remote = posixpath.join(folder, file.path)
            action = download(volume, remote, target, replace, lambda size: bars.advance(task, size))
            copies.append({"file": str(target), "size": file.size, "action": action.value})
    return copies
