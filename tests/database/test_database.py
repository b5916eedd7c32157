"""The connection pool on a real server: what it commits, what it forgets, what its errors say."""

from __future__ import annotations

import threading
import time

import pytest

from pecan_operator.clients import database as module
from pecan_operator.clients.database import Database
from pecan_operator.errors import Unavailable, UserError

pytestmark = pytest.mark.database


@pytest.fixture
def database(prepared):
    password = prepared.settings().ledger_password
    one = prepared.database("pecan_operator", password, max_connections=2, application_name="pool")
    yield one
    one.close()


def backend(database):
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def put(cursor, key):
    cursor.execute("INSERT INTO pecan_operator.setting VALUES (%s, 'x')", (key,))


def keys(database):
    with database.transaction() as cursor:
        cursor.execute("SELECT key FROM pecan_operator.setting")
        return {key for (key,) in cursor}


def test_commits_and_rolls_back(ledger, database):
    def work(key, fail):
        with database.transaction() as cursor:
            put(cursor, key)
            if fail:
                raise ZeroDivisionError

    work("kept", fail=False)
    with pytest.raises(ZeroDivisionError):
        work("lost", fail=True)
    assert keys(database) == {"kept"}


def test_keeps_to_one_connection_when_one_is_enough(database):
    assert len({backend(database) for _ in range(5)}) == 1


def test_more_users_than_connections_wait_for_their_turn(database):
    pids = []

    def work():
        with database.transaction() as cursor:
            cursor.execute("SELECT pg_backend_pid(), pg_sleep(0.02)")
            pids.append(cursor.fetchone()[0])

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 12
    assert len(set(pids)) == 2


def test_says_so_when_no_connection_comes_free(database, monkeypatch):
    monkeypatch.setattr(module, "POOL_TIMEOUT_SECONDS", 0.1)
    with database.transaction(), database.transaction(), pytest.raises(Unavailable) as raised:
        backend(database)
    assert raised.value.reason == "DatabaseBusy"
    assert backend(database)


def test_a_restarted_server_costs_one_failure(prepared, database):
    with database.transaction(), database.transaction():
        pass
    with prepared.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pool'")
    connection.close()
    time.sleep(0.1)
    with pytest.raises(Unavailable) as raised:
        backend(database)
    assert raised.value.reason == "DatabaseUnavailable"
    for _ in range(3):
        with database.transaction(), database.transaction():
            pass


def test_a_connection_lost_within_the_block(prepared, database):
    with (
        pytest.raises(Unavailable, match=r"terminating connection|closed the connection"),
        database.transaction() as cursor,
    ):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert backend(database)


@pytest.mark.parametrize(
    ("statement", "kind", "reason"),
    [
        ("SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(5)", Unavailable, "DatabaseUnavailable"),
        ("SELECT * FROM nowhere", Unavailable, "DatabaseNotPrepared"),
        ("SELECT * FROM public.users", Unavailable, "DatabaseUnavailable"),
        ("SELECT 'x'::integer", UserError, "RefusedByDatabase"),
        ("INSERT INTO public.machines (hostname) VALUES ('no host')", UserError, "RefusedByDatabase"),
    ],
)
def test_errors_by_what_has_to_happen_next(database, statement, kind, reason):
    before = backend(database)
    with pytest.raises(kind) as raised, database.transaction() as cursor:
        cursor.execute(statement)
    assert raised.value.reason == reason
    assert raised.value.__cause__ is None
    assert "\n" not in raised.value.message
    assert backend(database) == before


def test_no_password_in_any_message(prepared):
    secret = "topSecretTopSecret"
    refused = Database(host=prepared.host, port=prepared.port, user="bety", password=secret, dbname="bety")
    absent = Database(host=prepared.host, port=1, user="bety", password=secret, dbname="bety")
    echoing = Database(host=f"/{secret}", port=1, user=secret, password=secret, dbname="bety")
    for database, text in ((refused, "authentication failed"), (absent, ":1/bety"), (echoing, "***")):
        with pytest.raises(Unavailable, match=text.replace("*", r"\*")) as raised:
            backend(database)
        if database is not echoing:
            assert secret not in raised.value.message


def test_times_are_utc(database):
    with database.transaction() as cursor:
        cursor.execute("SHOW TimeZone")
        assert cursor.fetchone() == ("UTC",)
