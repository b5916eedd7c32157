"""What all commands share: options, output, and errors that end as one line and an exit code."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from kubectl_pecan.api import Api, connect
from kubectl_pecan.errors import CliError, ExitCode

_WIDE = 1000
Command = TypeVar("Command", bound=Callable[..., None])


class Output(StrEnum):
    """What `-o` takes."""

    TEXT = "text"
    JSON = "json"


NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace of the platform (default: the context's).")
]
ContextOption = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
NameArgument = Annotated[str, typer.Argument(metavar="WORKFLOW", help="Name of the PecanWorkflow.")]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Replace other files of the same names.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="text for people, json for programs.")]


def command(app: typer.Typer, *examples: str, name: str | None = None) -> Callable[[Command], Command]:
    """A command of `app`, its help ending in examples, that ends with a line and an exit code instead of a traceback."""

    def register(function: Command) -> Command:
        epilog = "\b\nExample:\n" + "\n".join(f"  kubectl pecan {line}" for line in examples)
        return app.command(name, epilog=epilog)(_guarded(function))

    return register


def _guarded(function: Command) -> Command:
    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except CliError as error:
            raise _end(error.code, error.message) from None
        except KeyboardInterrupt:
            raise _end(ExitCode.INTERRUPTED, "interrupted") from None
        except BrokenPipeError:
            # The reader of a pipe has gone, as `head` does; what Python would still flush goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(int(ExitCode.OK)) from None
        except OSError as error:
            raise _end(
                ExitCode.UNAVAILABLE, f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}"
            ) from None
        except typer.Exit:
            raise
        except Exception as error:
            if os.environ.get("PECAN_DEBUG"):
                raise
            what = " ".join(str(error).split())
            raise _end(
                ExitCode.UNEXPECTED, f"unexpected {type(error).__name__}: {what}. PECAN_DEBUG=1 shows where"
            ) from None

    return guarded  # type: ignore[return-value]


def _end(code: ExitCode, message: str) -> typer.Exit:
    sys.stderr.write(f"error: {message}\n")
    return typer.Exit(int(code))


@dataclass(frozen=True)
class Session:
    """A command under way."""

    api: Api
    is_json: bool
    console: Console

    def show(self, screen: RenderableType, value: Any) -> None:
        """The result: a screen, or with `-o json` the value."""
        if self.is_json:
            print_json(value)
        else:
            self.console.print(screen)

    def copying(self) -> Progress:
        """A bar for copies, on standard error, so that it is in no pipe."""
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=self.is_json or not sys.stderr.isatty(),
            transient=True,
        )


def console() -> Console:
    """Standard output: as wide as the terminal, and without folding where there is none."""
    made = Console(highlight=False)
    return made if made.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=_WIDE)


def print_json(value: Any) -> None:
    """A line of JSON on standard output, in ASCII: names of files need not be UTF-8."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def session(namespace: str | None, context: str | None, output: Output) -> Session:
    """Raises CliError when no cluster is configured."""
    return Session(connect(namespace, context), output is Output.JSON, console())
