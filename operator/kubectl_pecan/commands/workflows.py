"""submit, watch, cancel, retry, suspend, resume: a workflow from its beginning to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from kubectl_pecan import manifests, screens
from kubectl_pecan.api import Api, Manifest
from kubectl_pecan.app import (
    ContextOption,
    NameArgument,
    NamespaceOption,
    Output,
    OutputOption,
    Session,
    command,
    print_json,
    session,
)
from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.progress import Counts, Pace, has_ended

KIND = "PecanWorkflow"
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 60.0

app = typer.Typer()


@command(app, "submit loobos.yaml --watch", "submit pecan.xml --model sipnet --name demo-2")
def submit(
    file: Annotated[
        Path | None, typer.Argument(show_default=False, help="A manifest of a PecanWorkflow, or a pecan.xml.")
    ] = None,
    filename: Annotated[
        Path | None, typer.Option("--filename", "-f", help="Another way to give FILE, as kubectl has it.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the workflow, in place of the file's.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="PecanModel for a pecan.xml (default: the one of its type).")
    ] = None,
    base_dir: Annotated[
        str | None, typer.Option("--base-dir", help="Folder on /data in which relative paths of a pecan.xml begin.")
    ] = None,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Watch it afterwards.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Have it checked by the cluster, and run nothing.")
    ] = False,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Start a workflow from a manifest or a pecan.xml.

    It is checked here before it is sent.
    """
    file = _one_file(file, filename)
    text = manifests.read_text(file)
    if manifests.is_xml(file, text):
        kind, revision = manifests.model_of_xml(file, text)
        now = session(namespace, context, output)
        model = model or manifests.decide_model(kind, revision, now.api.list("PecanModel"))
        text, left_out = manifests.without_passwords(file, text)
        manifest = manifests.workflow_of_xml(file, text, model, name, base_dir)
        if left_out:
            sys.stderr.write(f"note: left out of what is sent: {', '.join(left_out)}\n")
    else:
        if model:
            raise CliError(ExitCode.USAGE, "--model is for a pecan.xml: a manifest names its model in spec.modelRef")
        if base_dir:
            raise CliError(ExitCode.USAGE, "--base-dir is for a pecan.xml: a manifest says it in spec.pecanXml.baseDir")
        manifest = manifests.workflow_of_manifest(file, text, name)
        now = session(namespace, context, output)
    given = manifest["metadata"].get("namespace")
    if given not in (None, now.api.namespace):
        raise CliError(ExitCode.INVALID, f"{file} is for namespace {given}: give -n {given}, or remove it there")
    made = now.api.create(manifest, dry_run)
    name = made["metadata"]["name"]
    if dry_run or not follow or not now.is_json:
        done = "would be made" if dry_run else "is made"
        now.show(Text(f"PecanWorkflow {name} {done} in namespace {now.api.namespace}"), made)
    if follow and not dry_run:
        _watch(now, name)


def _one_file(file: Path | None, filename: Path | None) -> Path:
    given = file or filename
    if given is None or (file and filename):
        raise CliError(ExitCode.USAGE, "give one FILE, as `submit FILE` or `submit -f FILE`")
    return given


@command(app, "watch loobos-ensemble")
def watch(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Watch a workflow until it ends: runs by state, rate, time left, workers.

    Ends with 0 when it succeeded, with 6 when it failed or was cancelled. Ctrl-C ends the watching, not the workflow. In
    a pipe, and with -o json, a line is printed whenever something has changed.
    """
    _watch(session(namespace, context, output), name)


def _watch(now: Session, name: str) -> None:
    pace = Pace()
    if now.console.is_terminal and not now.console.is_dumb_terminal and not now.is_json:
        workflow = _watch_terminal(now, name, pace)
    else:
        workflow = _watch_lines(now, name, pace)
    phase = workflow["status"]["phase"]
    if phase != "Succeeded":
        raise CliError(ExitCode.NOT_SUCCEEDED, f"{KIND} {name} is {phase}: {screens.sentence(workflow)}")


def _watch_terminal(now: Session, name: str, pace: Pace) -> Manifest:
    workflow: Manifest = {}
    with Live(console=now.console, auto_refresh=False) as live:
        for workflow, model in _looks(now.api, name, pace):
            live.update(screens.watch_screen(workflow, model, pace, datetime.now(UTC)), refresh=True)
    return workflow


def _watch_lines(now: Session, name: str, pace: Pace) -> Manifest:
    workflow, said = Manifest(), None
    for workflow, model in _looks(now.api, name, pace):
        status = workflow.get("status") or {}
        workers = ((model or {}).get("status") or {}).get("readyReplicas", 0)
        seen = (status, workers if now.is_json else None)
        if seen == said:
            continue
        said = seen
        if now.is_json:
            print_json(
                {
                    "name": name,
                    "phase": status.get("phase"),
                    "runs": status.get("runs"),
                    "runsPerSecond": pace.rate,
                    "secondsLeft": pace.seconds_left(Counts.of(workflow).open),
                    "workers": workers,
                    "message": screens.sentence(workflow),
                }
            )
        else:
            now.console.print(Text(screens.watch_line(workflow, pace)))
    return workflow


def _looks(api: Api, name: str, pace: Pace) -> Iterator[tuple[Manifest, Manifest | None]]:
    """The workflow and its model, again and again until it has ended; a cluster that is away for a minute is waited for."""
    away_since: float | None = None
    while True:
        try:
            workflow = api.get(KIND, name)
            model: Manifest | None = None
            with suppress(CliError):
                model = api.get("PecanModel", workflow["spec"]["modelRef"]["name"])
            away_since = None
        except CliError as error:
            away_since = away_since or time.monotonic()
            if error.code is not ExitCode.UNAVAILABLE or time.monotonic() - away_since > PATIENCE_SECONDS:
                raise
        else:
            counts = Counts.of(workflow)
            # The time before the first run is none in which runs could have ended.
            if counts.running or counts.finished:
                pace.add(time.monotonic(), counts.finished)
            yield workflow, model
            if has_ended(workflow):
                return
        time.sleep(LOOK_SECONDS)


@command(app, "cancel loobos-ensemble")
def cancel(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Stop a workflow for good: running jobs are ended, the rest is called back. It cannot be taken back."""
    now = session(namespace, context, output)
    _refuse_ended(now.api.get(KIND, name), "cancelled")
    changed = now.api.patch(KIND, name, {"cancel": True})
    now.show(Text(f"PecanWorkflow {name} is being cancelled"), changed)


@command(app, "retry loobos-ensemble", "retry loobos-ensemble --max-attempts 5")
def retry(
    name: NameArgument,
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", min=1, help="Attempts of each run, from now on.")
    ] = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run the failed runs of a workflow again, also when it has ended."""
    now = session(namespace, context, output)
    spec = decide_retry(now.api.get(KIND, name), max_attempts)
    changed = now.api.patch(KIND, name, spec)
    now.show(
        Text(f"PecanWorkflow {name}: failed runs are run again (retryGeneration {spec['retryGeneration']})"), changed
    )


def decide_retry(workflow: Manifest, max_attempts: int | None) -> dict[str, Any]:
    """The fields of the spec that ask for it. Raises CliError when nothing can come of it."""
    name, spec = workflow["metadata"]["name"], workflow["spec"]
    phase = (workflow.get("status") or {}).get("phase")
    if spec.get("cancel") or phase == "Cancelled":
        raise CliError(ExitCode.INVALID, f"{KIND} {name} is cancelled, and stays so: submit it anew under another name")
    if phase == "Succeeded" and has_ended(workflow) and not Counts.of(workflow).failed:
        raise CliError(
            ExitCode.INVALID, f"{KIND} {name} has succeeded, and no run of it has failed: nothing to run again"
        )
    wanted: dict[str, Any] = {"retryGeneration": int(spec.get("retryGeneration") or 0) + 1}
    if max_attempts is not None:
        wanted["retry"] = {"maxAttempts": max_attempts}
    return wanted


def _refuse_ended(workflow: Manifest, what: str) -> None:
    if has_ended(workflow):
        name, phase = workflow["metadata"]["name"], workflow["status"]["phase"]
        raise CliError(ExitCode.INVALID, f"{KIND} {name} has ended ({phase}): there is nothing to be {what}")


@command(app, "suspend loobos-ensemble")
def suspend(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Start no further runs of a workflow; what runs or waits in the queue is finished."""
    now = session(namespace, context, output)
    _refuse_ended(now.api.get(KIND, name), "suspended")
    now.show(Text(f"PecanWorkflow {name} is suspended"), now.api.patch(KIND, name, {"suspend": True}))


@command(app, "resume loobos-ensemble")
def resume(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let a suspended workflow go on."""
    now = session(namespace, context, output)
    now.show(Text(f"PecanWorkflow {name} goes on"), now.api.patch(KIND, name, {"suspend": False}))
