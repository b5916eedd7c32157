"""`kubectl pecan`: the table of its commands."""

from __future__ import annotations

import typer

from kubectl_pecan.commands import cluster, data, met, results, workflows

app = typer.Typer(
    name="kubectl pecan",
    help="PEcAn ensembles on Kubernetes: data in, workflows watched, results out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _part in (workflows.app, results.app, data.app, cluster.app):
    app.registered_commands += _part.registered_commands
app.add_typer(met.app, name="met")


def main() -> None:
    """The executable `kubectl-pecan`, which kubectl finds by its name."""
    app(prog_name="kubectl pecan")
