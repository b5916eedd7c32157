"""`kubectl pecan`: the table of its commands."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer

from kubectl_pecan.commands import cluster, data, met, results, workflows


def _say_version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"kubectl pecan {metadata.version('pecan-operator')}\n")
        raise typer.Exit


app = typer.Typer(
    name="kubectl pecan",
    help="PEcAn ensembles on Kubernetes: data in, workflows watched, results out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001 (its callback has it)
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Show the version and exit.")
    ] = False,
) -> None:
    return


for _part in (workflows.app, results.app, data.app, cluster.app):
    app.registered_commands += _part.registered_commands
app.add_typer(met.app, name="met")


def main() -> None:
    """The executable `kubectl-pecan`, which kubectl finds by its name."""
    app(prog_name="kubectl pecan")
