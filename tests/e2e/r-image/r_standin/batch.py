"""`R CMD BATCH OPTION workflow.R workflow.Rout`: all that is printed goes into the .Rout file, the workspace to .RData."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from r_standin.logger import Severe, severe, stop
from r_standin.workflow import Services, Workflow

PASSES = {
    ("CMD", "BATCH", "--advanced", "workflow.R", "workflow.Rout"): False,
    ("CMD", "BATCH", "--continue", "workflow.R", "workflow2.Rout"): True,
}
ERROR = 1


def main(arguments: Sequence[str], services: Services = Services()) -> int:  # noqa: B008
    """Runs a pass in the working directory; returns R's exit code."""
    folder = Path.cwd()
    rout = arguments[-1] if arguments and arguments[-1].endswith(".Rout") else "workflow.Rout"
    try:
        file = (folder / rout).open("w")
    except OSError as error:
        sys.stderr.write(f"R: cannot write {error.filename}: {error.strerror}\n")
        return ERROR
    with file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        return run_pass(arguments, folder, services)


def run_pass(arguments: Sequence[str], folder: Path, services: Services) -> int:
    """The same without the .Rout file: what is printed goes to stdout and stderr."""
    print("stand-in of R for tests: no R", flush=True)
    try:
        session = tempfile.TemporaryDirectory(prefix="Rtmp")
    except OSError:
        sys.stderr.write("Fatal error: cannot create 'R_TempDir'\n")
        return 2
    with session:
        try:
            workflow = _workflow(tuple(arguments), folder, services)
        except Severe:
            return ERROR
        code = _run(workflow)
        if workflow.settings is not None:
            # The real one too has the passwords, for `settings` is in the workspace.
            (folder / ".RData").write_bytes(ET.tostring(workflow.settings.root))
        return code


def _workflow(arguments: tuple[str, ...], folder: Path, services: Services) -> Workflow:
    if arguments not in PASSES:
        given = " ".join(arguments)
        raise severe("standin", f"the arguments are {given!r}, none of those that PEcAn's executor gives")
    return Workflow(folder, PASSES[arguments], services)


def _run(workflow: Workflow) -> int:
    try:
        workflow.run()
    except Exception as error:
        if not isinstance(error, Severe):
            # what else goes wrong is an error of R itself
            traceback.print_exc()
            stop("standin", repr(error))
        if workflow.settings is not None:
            workflow.status.end("ERROR")
        return ERROR
    return 0
