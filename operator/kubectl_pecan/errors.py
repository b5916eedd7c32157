"""What ends a command, and the exit code it ends with."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `kubectl pecan`; 2 for wrong usage is click's."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    NOT_FOUND = 3
    FORBIDDEN = 4
    UNAVAILABLE = 5
    NOT_SUCCEEDED = 6
    INVALID = 7
    NOT_READY = 8
    INTERRUPTED = 130


EXIT_CODES = {
    ExitCode.OK: "done; `watch`: the workflow succeeded",
    ExitCode.UNEXPECTED: "a fault of the plugin; `PECAN_DEBUG=1` shows where",
    ExitCode.USAGE: "wrong usage: an unknown option, a missing argument",
    ExitCode.NOT_FOUND: "no such object, run or file",
    ExitCode.FORBIDDEN: "the API server does not let you: not logged in, or a right is missing",
    ExitCode.UNAVAILABLE: "no cluster, no answer or a broken connection; or a file here cannot be read or written",
    ExitCode.NOT_SUCCEEDED: "the workflow ended as Failed or Cancelled (`watch`; `results` and `plot` when it has none)",
    ExitCode.INVALID: "a manifest, pecan.xml, CSV or weather file is wrong, or the API server refused what was asked",
    ExitCode.NOT_READY: "something has to come first: the platform, the pod at the data, the results",
    ExitCode.INTERRUPTED: "Ctrl-C",
}


class CliError(Exception):
    """One line for people, and the exit code."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = " ".join(message.split())
