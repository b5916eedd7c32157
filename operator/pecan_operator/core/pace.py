"""No more than so many turns a second."""

from __future__ import annotations


class Pace:
    """Spreads turns over time; after a rest `at_once` of them may come together."""

    def __init__(self, per_second: float, at_once: int = 1) -> None:
        self._gap = 1.0 / per_second
        self._saved = (at_once - 1) * self._gap
        self._free_at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds (monotonic) to wait; 0.0 when the turn is taken."""
        if now < self._free_at:
            return self._free_at - now
        self._free_at = max(self._free_at, now - self._saved) + self._gap
        return 0.0
