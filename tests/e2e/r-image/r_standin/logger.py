"""PEcAn.logger: lines of workflow.Rout. Source: PEcAn, base/logger/R/logger.R."""

from __future__ import annotations

import sys
import textwrap
from datetime import datetime

WIDTH = 75
SHORT = 20


class Severe(Exception):
    """logger.severe or stop(): the workflow ends here. The text is in the log already."""


def log(level: str, function: str, text: str) -> None:
    """A message as R prints it: one of more than 20 characters stands below its stamp, wrapped and indented."""
    stamp = f"{datetime.now():%Y-%m-%d %H:%M:%S} {level:<6} [{function}] :"
    wrapped = (
        textwrap.wrap(text, WIDTH - 1, initial_indent="  ", subsequent_indent="  ") if len(text) > SHORT else [text]
    )
    body = " ".join(f"\n {line}" for line in wrapped) if len(text) > SHORT else text
    sys.stderr.write(f"{stamp} {body} \n")
    sys.stderr.flush()


def info(function: str, text: str) -> None:
    log("INFO", function, text)


def warn(function: str, text: str) -> None:
    log("WARN", function, text)


def error(function: str, text: str) -> None:
    log("ERROR", function, text)


def severe(function: str, text: str) -> Severe:
    """Says why the workflow ends; for `raise`."""
    log("SEVERE", function, text)
    return Severe(text)


def stop(function: str, text: str) -> Severe:
    """An error of R itself, which the logger does not see; for `raise`."""
    sys.stderr.write(f"Error in {function}() : {text}\n")
    sys.stderr.flush()
    return Severe(text)
