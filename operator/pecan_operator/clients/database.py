"""Connections to the platform's PostgreSQL: a small thread-safe pool that hands out transactions."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import psycopg2.errors
from psycopg2 import extensions

from pecan_operator.errors import OperatorError, Unavailable, UserError

CONNECT_TIMEOUT_SECONDS = 3
STATEMENT_TIMEOUT_SECONDS = 15
POOL_TIMEOUT_SECONDS = 10

Cursor = extensions.cursor


class Database:
    """One database as one role. Every use is a transaction; times are UTC.

    A statement is cut off after 15 s and a server that is gone is noticed within 20 s. Every error of the driver leaves
    as `errors.Unavailable` (no answer, schema not made yet, deadlock) or `errors.UserError` (a value is refused).
    """

    def __init__(
        self,
        *,
        host: str,
        port: int | str,
        user: str,
        password: str,
        dbname: str,
        max_connections: int = 4,
        application_name: str = "pecan-operator",
    ) -> None:
        self._password = password
        self._address = f"{host}:{port}/{dbname}"
        self._parameters = {
            "host": host,
            "port": str(port),
            "user": user,
            "password": password,
            "dbname": dbname,
            "application_name": application_name,
            "connect_timeout": str(CONNECT_TIMEOUT_SECONDS),
            "keepalives_idle": "10",
            "keepalives_interval": "3",
            "keepalives_count": "3",
            "tcp_user_timeout": "20000",
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s -c TimeZone=UTC"
            " -c idle_in_transaction_session_timeout=60s -c jit=off -c max_parallel_workers_per_gather=0",
        }
        # Last in, first out, so that a quiet operator keeps to one connection; None is a connection not made yet.
        self._slots: queue.LifoQueue[extensions.connection | None] = queue.LifoQueue()
        for _ in range(max_connections):
            self._slots.put(None)

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A cursor whose work is committed at the end of the block and rolled back when the block raises."""
        connection = self._take()
        try:
            with connection.cursor() as cursor:
                yield cursor
            connection.commit()
        except psycopg2.Error as error:
            raise self._explain(error) from None
        finally:
            self._give_back(connection)

    def connect(self) -> extensions.connection:
        """A connection of the caller's own, who closes it. Raises Unavailable."""
        try:
            return psycopg2.connect(extensions.make_dsn(**self._parameters))
        except psycopg2.Error as error:
            raise self._explain(error) from None

    def close(self) -> None:
        """Closes what is idle; a transaction under way ends by itself."""
        self._forget_idle()

    def _take(self) -> extensions.connection:
        try:
            connection = self._slots.get(timeout=POOL_TIMEOUT_SECONDS)
        except queue.Empty:
            raise Unavailable(
                "DatabaseBusy", f"no free connection to PostgreSQL at {self._address} within {POOL_TIMEOUT_SECONDS} s"
            ) from None
        if connection is not None and not connection.closed:
            return connection
        try:
            return self.connect()
        except OperatorError:
            self._slots.put(None)
            raise

    def _give_back(self, connection: extensions.connection) -> None:
        try:
            connection.rollback()
        except psycopg2.Error:
            connection.close()
        if connection.closed:
            self._slots.put(None)
            self._forget_idle()
        else:
            self._slots.put(connection)

    def _forget_idle(self) -> None:
        """A server that was restarted broke every connection, so none of them is worth a failing try."""
        for _ in range(self._slots.qsize()):
            try:
                connection = self._slots.get_nowait()
            except queue.Empty:
                return
            if connection is not None:
                connection.close()
            self._slots.put(None)

    def _explain(self, error: psycopg2.Error) -> OperatorError:
        text = " ".join(str(error).split()) or type(error).__name__
        if self._password:
            text = text.replace(self._password, "***")
        if isinstance(error, (psycopg2.DataError, psycopg2.IntegrityError)):
            return UserError("RefusedByDatabase", f"the database at {self._address} refuses a value: {text}")
        if isinstance(error, (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName)):
            return Unavailable("DatabaseNotPrepared", f"the database at {self._address} lacks tables: {text}")
        return Unavailable("DatabaseUnavailable", f"PostgreSQL at {self._address}: {text}")
