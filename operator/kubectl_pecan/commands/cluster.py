"""models and platform: what there is, what is up, what is not and why."""

from __future__ import annotations

import typer

from kubectl_pecan import screens
from kubectl_pecan.api import Manifest
from kubectl_pecan.app import ContextOption, NamespaceOption, Output, OutputOption, Session, command, session
from kubectl_pecan.errors import CliError, ExitCode

app = typer.Typer()


@command(app, "models -n forest")
def models(
    namespace: NamespaceOption = None, context: ContextOption = None, output: OutputOption = Output.TEXT
) -> None:
    """Show the models, their workers and what waits for them."""
    now = session(namespace, context, output)
    found = _all(now, "PecanModel")
    now.show(screens.models_table(found), found)


@command(app, "platform -n forest")
def platform(
    namespace: NamespaceOption = None, context: ContextOption = None, output: OutputOption = Output.TEXT
) -> None:
    """Show which services are up, which are not, and why."""
    now = session(namespace, context, output)
    found = _all(now, "PecanPlatform")
    now.show(screens.platform_screen(found), found)


def _all(now: Session, kind: str) -> list[Manifest]:
    """All of a kind; that there is none is an error to people, to programs an empty list."""
    found = now.api.list(kind)
    if not found and not now.is_json:
        raise CliError(ExitCode.NOT_FOUND, f"namespace {now.api.namespace} has no {kind}")
    return found
