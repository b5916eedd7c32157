"""What becomes of a file that may be anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pecan_operator.errors import UserError


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """`read`, or the one line with which the file is refused; another error is a bug and goes through."""
    try:
        assert read(path)
    except UserError as error:
        (line,) = error.message.splitlines()
        return line
    return "read"
