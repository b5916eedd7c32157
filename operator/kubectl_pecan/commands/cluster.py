"""models and platform: what there is, what is up, what is not and why."""

from __future__ import annotations

import typer

from kubectl_pecan import screens
from kubectl_pecan.app import ContextOption, NamespaceOption, Output, OutputOption, command, session
from kubectl_pecan.errors import CliError, ExitCode

app = typer.Typer()


@command(app, "models -n forest")
def models(
    namespace: NamespaceOption = None, context: ContextOption = None, output: OutputOption = Output.TEXT
) -> None:
    """Show the models, their workers and what waits for them."""
    now = session(namespace, context, output)
    found = now.api.list("PecanModel")
    if not found and not now.is_json:
        raise CliError(ExitCode.NOT_FOUND, f"namespace {now.api.namespace} has no PecanModel")
    now.show(screens.models_table(found), found)


@command(app, "platform -n forest")
def platform(
    namespace: NamespaceOption = None, context: ContextOption = None, output: OutputOption = Output.TEXT
) -> None:
    """Show which services are up, which are not, and why."""
    now = session(namespace, context, output)
    found = now.api.list("PecanPlatform")
    if not found and not now.is_json:
        raise CliError(ExitCode.NOT_FOUND, f"namespace {now.api.namespace} has no PecanPlatform")
    now.show(screens.platform_screen(found), found)
