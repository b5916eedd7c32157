"""Numbers as R reads them from text. Python's own conversions also take `1_000` and the digits of every script."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,1000}")


def finite(text: str) -> float | None:
    """A finite number; None when the text is none."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def whole(text: str) -> int | None:
    """A whole number, without point and exponent; None when the text is none."""
    return int(text) if _WHOLE.fullmatch(text) else None
