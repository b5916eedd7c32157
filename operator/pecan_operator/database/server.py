"""The server as a whole: reached, held by one Job at a time, with its roles and its database."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import extensions, sql

from pecan_operator.database.settings import JobSettings
from pecan_operator.errors import Unavailable

CONNECT_TIMEOUT_SECONDS = 3
RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


def connect(settings: JobSettings, dbname: str) -> extensions.connection:
    """A connection as the superuser; its work is in UTC and nothing of it is in the server's log."""
    return psycopg2.connect(
        extensions.make_dsn(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=settings.password,
            dbname=dbname,
            application_name="pecan-operator database",
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            options="-c TimeZone=UTC -c client_min_messages=warning",
        )
    )


@contextmanager
def held_server(settings: JobSettings, deadline_seconds: float) -> Iterator[extensions.connection]:
    """The maintenance connection, in autocommit, while no other database Job works; waits for both.

    The lock is the connection's: it goes when this process does, however it ends.
    """
    deadline = time.monotonic() + deadline_seconds
    with closing(_reached(settings, deadline)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:

            def locked() -> bool:
                cursor.execute("SELECT pg_try_advisory_lock(hashtextextended('pecan_operator.database', 0))")
                return bool((cursor.fetchone() or (False,))[0])

            _wait(locked, "another database Job to end", deadline)
        yield connection


def apply_roles(connection: extensions.connection, passwords: dict[str, str]) -> None:
    """Makes each role if it is absent and gives it its password, which leaves this process only as a hash."""
    with connection.cursor() as cursor:
        for role, password in passwords.items():
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
            hashed = extensions.encrypt_password(password, role, connection)
            cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD %s").format(sql.Identifier(role)), (hashed,))


def apply_database(connection: extensions.connection, dbname: str) -> None:
    """Makes the database if it is absent; the server itself undoes one that was not finished."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (dbname,))
        if cursor.fetchone() is None:
            cursor.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(dbname))
            )


def _reached(settings: JobSettings, deadline: float) -> extensions.connection:
    what = f"PostgreSQL at {settings.host}:{settings.port}"
    said = ""
    while True:
        try:
            return connect(settings, "postgres")
        except psycopg2.OperationalError as error:
            reason = " ".join(str(error).split())
        if "authentication failed" in reason:
            raise Unavailable("PasswordRefused", f"{what} refuses the password of role {settings.user}: {reason}")
        if time.monotonic() >= deadline:
            raise Unavailable("DatabaseUnavailable", f"{what} did not answer in time: {reason}")
        if reason != said:
            _log.info("waiting for %s: %s", what, reason)
            said = reason
        time.sleep(RETRY_SECONDS)


def _wait(done: Callable[[], bool], what: str, deadline: float) -> None:
    if done():
        return
    _log.info("waiting for %s", what)
    while not done():
        if time.monotonic() >= deadline:
            raise Unavailable("DatabaseBusy", f"gave up waiting for {what}")
        time.sleep(RETRY_SECONDS)
