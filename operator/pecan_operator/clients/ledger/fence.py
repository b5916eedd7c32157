"""What keeps an operator out that another one has replaced, and that does not know it yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pecan_operator.clients.database import Cursor, Database
from pecan_operator.errors import Superseded
from pecan_operator.records import Epoch

_RAISE = """
INSERT INTO pecan_operator.setting (key, value) VALUES (%s, %s)
ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE setting.value::bigint < excluded.value::bigint
"""


class Fence:
    """The part of the ledger that knows leaders. Without an epoch (in Jobs) nothing is checked."""

    _database: Database
    _epoch: Epoch | None

    def raise_epoch(self) -> None:
        """From now on no earlier holder of the same Lease writes; waits for what one is writing."""
        if self._epoch is None:
            return
        with self._database.transaction() as cursor:
            cursor.execute(_RAISE, (_key(self._epoch), str(self._epoch.number)))
            self._hold_epoch(cursor)

    @contextmanager
    def _fenced(self) -> Iterator[Cursor]:
        with self._database.transaction() as cursor:
            self._hold_epoch(cursor)
            yield cursor

    def _hold_epoch(self, cursor: Cursor) -> None:
        """Nobody raises the epoch until the transaction of `cursor` ends. Superseded when it has been raised already."""
        if self._epoch is None:
            return
        cursor.execute("SELECT value FROM pecan_operator.setting WHERE key = %s FOR SHARE", (_key(self._epoch),))
        found = cursor.fetchone()
        if found is not None and int(found[0]) > self._epoch.number:
            raise Superseded(f"operator number {found[0]} has taken over from number {self._epoch.number}")


def _key(epoch: Epoch) -> str:
    return f"epoch of lease {epoch.lease}"
