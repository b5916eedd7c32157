"""Hears of new runs the moment their transaction is committed (PostgreSQL's LISTEN and NOTIFY)."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable

import psycopg2

from pecan_operator.clients.database import Database
from pecan_operator.errors import OperatorError

CHANNEL = "pecan_runs"
"""Named by the ledger's migrations."""
PAUSE_SECONDS = 2.0
ALIVE_SECONDS = 30.0
_log = logging.getLogger(__name__)


class Notifications:
    """One connection in a thread of its own, made again for ever when it is lost. `on_news` is called for each word, and
    whenever one may have been missed."""

    def __init__(self, database: Database, on_news: Callable[[], None]) -> None:
        self._database = database
        self._on_news = on_news
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (OperatorError, psycopg2.Error, OSError, ValueError) as error:
                _log.debug("no notifications: %s", error)
            self._stopping.wait(PAUSE_SECONDS)

    def _listen(self) -> None:
        connection = self._database.connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
                self._on_news()
                while not self._stopping.is_set():
                    if not select.select([connection], [], [], ALIVE_SECONDS)[0]:
                        # A connection that was cut without a word is noticed by asking.
                        cursor.execute("SELECT 1")
                    connection.poll()
                    if connection.notifies and not self._stopping.is_set():
                        connection.notifies.clear()
                        self._on_news()
        finally:
            connection.close()
