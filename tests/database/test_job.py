"""The database Job on a real server: complete, repeatable, killable, several at once; a restored BETY is left alone."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

import pecan_operator
from pecan_operator.database.job import prepare
from pecan_operator.database.migrations import Migration, apply_migrations, migrations
from pecan_operator.database.server import held_server
from pecan_operator.errors import Unavailable, UserError

pytestmark = pytest.mark.database

PUBLISHED_TABLES = set(
    """machines modeltypes modeltypes_formats models dbfiles mimetypes formats inputs sites pfts priors variables
    posteriors posterior_samples posteriors_ensembles workflows ensembles runs inputs_runs likelihoods users attributes
    schema_migrations""".split()  # noqa: SIM905 (a list would take 25 lines)
)


def rows(server, query, values=(), dbname="bety", **login):
    with closing(server.connect(dbname, **login)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def environment(server, dbname):
    settings = server.settings(dbname)
    return {
        "PYTHONPATH": str(Path(pecan_operator.__file__).parents[1]),
        "PGHOST": settings.host,
        "PGPORT": str(settings.port),
        "PGUSER": "postgres",
        "PGPASSWORD": settings.password,
        "PGDATABASE": dbname,
        "BETY_PASSWORD": settings.bety_password,
        "LEDGER_PASSWORD": settings.ledger_password,
    }


def dump(server, dbname="bety"):
    """Everything the Job decides about, but for the roles."""
    catalogue = rows(
        server,
        "SELECT relname, relkind, pg_get_userbyid(relowner), relacl::text FROM pg_class"
        " WHERE relnamespace IN ('public'::regnamespace, 'pecan_operator'::regnamespace) ORDER BY 1",
        dbname=dbname,
    )
    content = [
        rows(server, f"SELECT * FROM public.{table} ORDER BY 1", dbname=dbname)
        for table in ("users", "machines", "mimetypes", "formats", "schema_migrations")
    ]
    return catalogue, content, rows(server, "SELECT version FROM pecan_operator.migration", dbname=dbname)


def test_makes_every_table_owned_by_bety(prepared):
    found = dict(
        rows(
            prepared,
            "SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace AND relname <> 'spatial_ref_sys'",
        )
    )
    assert set(found) == PUBLISHED_TABLES
    assert set(found.values()) == {"bety"}


def test_repeating_changes_nothing(prepared):
    before = dump(prepared)
    prepare(prepared.settings())
    assert dump(prepared) == before


def test_ids_are_in_the_node_range(prepared):
    sequences = rows(
        prepared, "SELECT sequencename, min_value, max_value FROM pg_sequences WHERE schemaname = 'public'"
    )
    assert {name for name, _, _ in sequences} == {f"{t}_id_seq" for t in PUBLISHED_TABLES - {"schema_migrations"}}
    assert {(low, high) for _, low, high in sequences} == {(99_000_000_001, 99_999_999_999)}
    assert rows(prepared, "SELECT floor(nextval('users_id_seq') / 1e9)") == [(99,)]


def test_another_local_server(server):
    prepare(server.settings("bety_range", hostname="pecan.example.org", local_server=7))
    assert rows(server, "SELECT id, hostname, sync_host_id FROM machines", dbname="bety_range") == [
        (7_000_000_001, "pecan.example.org", None)
    ]


def test_first_rows(prepared):
    assert rows(prepared, "SELECT login, access_level, page_access_level FROM users") == [("pecan", 1, 1)]
    assert rows(prepared, "SELECT hostname, sync_host_id FROM machines") == [("docker", None)]
    assert rows(
        prepared, "SELECT formats.id, name, type_string FROM formats JOIN mimetypes ON mimetype_id = mimetypes.id"
    ) == [(33, "CF Meteorology", "application/x-netcdf")]
    assert ("20151011190026",) in rows(prepared, "SELECT version FROM schema_migrations")


def test_what_the_r_code_does_to_users_works_as_bety(prepared):
    login = {"user": "bety", "password": prepared.settings().bety_password}
    granted = rows(
        prepared,
        "SELECT privilege_type FROM information_schema.role_table_grants"
        " WHERE table_name = 'users' AND grantee = 'bety'",
        **login,
    )
    assert {("SELECT",), ("INSERT",), ("UPDATE",)} <= set(granted)
    before, stamp = rows(prepared, "SELECT id, updated_at FROM users", **login)[0]
    rows(prepared, "UPDATE users SET created_at = created_at WHERE id = %s", (before,), **login)
    assert rows(prepared, "SELECT updated_at > %s FROM users", (stamp,), **login) == [(True,)]


def test_bety_has_no_right_on_the_ledger(prepared):
    login = {"user": "bety", "password": prepared.settings().bety_password}
    for statement in ("SELECT FROM pecan_operator.run", "CREATE TABLE pecan_operator.mine (id int)"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            rows(prepared, statement, **login)


def test_the_ledger_role_has_only_what_it_needs_of_bety(prepared):
    login = {"user": "pecan_operator", "password": prepared.settings().ledger_password}
    refused = [
        "DELETE FROM models",
        "UPDATE workflows SET folder = ''",
        "SELECT FROM users",
        "UPDATE runs SET parameter_list = ''",
        "CREATE TABLE public.mine (id int)",
    ]
    for statement in refused:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            rows(prepared, statement, **login)


def test_passwords_follow_the_secrets(server):
    old, new = server.settings("bety_login"), server.settings("bety_login", bety_password="another" * 4)
    prepare(old)
    rows(server, "SELECT 1", dbname="bety_login", user="bety", password=old.bety_password)
    prepare(new)
    try:
        rows(server, "SELECT 1", dbname="bety_login", user="bety", password=new.bety_password)
        with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
            server.connect("bety_login", user="bety", password=old.bety_password)
    finally:
        prepare(old)


def test_jobs_at_once_make_one_database(server):
    failures = []

    def job():
        try:
            prepare(server.settings("bety_many"))
        except Exception as error:
            failures.append(error)

    jobs = [threading.Thread(target=job) for _ in range(4)]
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join()
    assert failures == []
    assert rows(server, "SELECT login FROM users", dbname="bety_many") == [("pecan",)]


def test_killed_at_any_moment_the_next_job_completes(server):
    started = time.monotonic()
    prepare(server.settings("bety_whole"))
    whole_seconds = time.monotonic() - started
    killed = 0
    for part in range(1, 6):
        job = subprocess.Popen(
            [sys.executable, "-m", "pecan_operator.database"],
            env=environment(server, "bety_killed"),
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.15 + whole_seconds * part / 5)
        job.kill()
        killed += job.wait() < 0
    assert killed >= 2
    prepare(server.settings("bety_killed"))
    wanted, found = dump(server, "bety_whole"), dump(server, "bety_killed")
    assert found[0] == wanted[0]
    assert found[2] == wanted[2]
    assert [len(table) for table in found[1]] == [len(table) for table in wanted[1]]


def test_a_restored_bety_is_used_and_not_altered(server):
    """Tables with BETY's names are there already, in another form; only what is absent is added, and our rows."""
    prepare(server.settings("bety_restored"))
    with closing(server.connect("bety_restored")) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "DROP SCHEMA pecan_operator CASCADE; DROP TABLE attributes; DELETE FROM users; DELETE FROM machines"
        )
        cursor.execute("ALTER TABLE sites ADD COLUMN theirs integer; ALTER TABLE runs DROP COLUMN setting")
        cursor.execute("ALTER SEQUENCE models_id_seq NO MINVALUE NO MAXVALUE RESTART 42")
        cursor.execute(
            "INSERT INTO users (login, email, crypted_password, access_level, page_access_level)"
            " VALUES ('carya', 'carya@example.org', 'abc', 1, 1)"
        )
        cursor.execute("INSERT INTO machines (id, hostname, sync_host_id) VALUES (77, 'docker', 99)")
    before = rows(
        server,
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, 2",
        dbname="bety_restored",
    )
    prepare(server.settings("bety_restored"))
    after = rows(
        server,
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name <> 'attributes' ORDER BY 1, 2",
        dbname="bety_restored",
    )
    assert after == before
    assert rows(server, "SELECT login FROM users", dbname="bety_restored") == [("carya",)]
    assert rows(server, "SELECT id, sync_host_id FROM machines", dbname="bety_restored") == [(77, 99)]
    assert rows(server, "SELECT nextval('models_id_seq')", dbname="bety_restored") == [(42,)]
    assert rows(server, "SELECT count(*) FROM attributes", dbname="bety_restored") == [(0,)]


def test_migrations_run_once_each_in_order_and_whole(prepared):
    one = Migration(900, "one", "CREATE TABLE pecan_operator.one (id int)")
    broken = Migration(901, "broken", "CREATE TABLE pecan_operator.two (id int); SELECT 1 / 0")
    with closing(prepared.connect()) as connection:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            apply_migrations(connection, [*migrations(), one, broken])
        try:
            connection.rollback()
            assert rows(
                prepared, "SELECT to_regclass('pecan_operator.one')::text, to_regclass('pecan_operator.two')"
            ) == [("pecan_operator.one", None)]
            assert apply_migrations(connection, [*migrations(), one]) == []
            with pytest.raises(
                UserError, match=rf"of version 900 and this operator knows versions up to {len(migrations())}:"
            ):
                apply_migrations(connection, migrations())
        finally:
            connection.rollback()
            rows(prepared, "DROP TABLE pecan_operator.one; DELETE FROM pecan_operator.migration WHERE version >= 900")


def test_a_ledger_with_runs_gets_its_tally(server):
    """Version 1 of the ledger had no tally."""
    settings = server.settings("bety_older")
    prepare(settings)
    with closing(server.connect("bety_older")) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA pecan_operator CASCADE")
        assert [step.version for step in apply_migrations(connection, migrations()[:1])] == [1]
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO pecan_operator.workflow (workflow_id, uid, namespace, name, model_id, queue, folder,"
                " folder_policy, priority, max_attempts, stop_on_error, suspended)"
                " VALUES (1, 'a', 'x', 'y', 1, 'q', '/data/1', 'Retain', 0, 1, false, false)"
            )
            cursor.execute(
                "INSERT INTO pecan_operator.run (workflow_id, run_id, position, queue, folder, outdir, expect, run_type,"
                " site_id, site_name, state)"
                " SELECT 1, n, n, 'q', '', '', '{}', 'ensemble', '', '', (ARRAY['planned', 'failed'])[1 + n % 2]"
                " FROM generate_series(1, 5) AS n"
            )
    prepare(settings)
    assert rows(server, "SELECT * FROM pecan_operator.tally", dbname="bety_older") == [(1, 2, 0, 0, 0, 3, 0)]


def test_waits_in_one_line_and_gives_up_without_the_password(server, caplog):
    absent = server.settings(port=server.port + 1)
    with caplog.at_level(logging.INFO), pytest.raises(Unavailable, match="did not answer in time") as raised:
        prepare(absent, wait_seconds=1.5)
    waiting = [record.getMessage() for record in caplog.records]
    assert len(waiting) == 1
    assert waiting[0].startswith(f"waiting for PostgreSQL at {server.host}:{absent.port}: ")
    assert absent.password not in raised.value.message + waiting[0]


def test_a_refused_password_is_said_at_once(server):
    started = time.monotonic()
    with pytest.raises(Unavailable, match="refuses the password of role postgres") as raised:
        prepare(server.settings(password="wrongSecret"), wait_seconds=60)
    assert time.monotonic() - started < 5
    assert "wrongSecret" not in raised.value.message


def test_waits_for_another_job(server, caplog):
    with held_server(server.settings(), 5), caplog.at_level(logging.INFO), pytest.raises(Unavailable, match="gave up"):
        prepare(server.settings(), wait_seconds=1)
    assert [record.getMessage() for record in caplog.records] == ["waiting for another database Job to end"]


def test_no_password_in_the_log_of_job_or_server(server, caplog):
    settings = server.settings("bety_quiet", bety_password="hushBety" * 4, ledger_password="hushLedger" * 3)
    with closing(server.connect("postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ALTER ROLE postgres SET log_statement = 'all'")
            with caplog.at_level(logging.DEBUG):
                prepare(settings)
            cursor.execute("ALTER ROLE postgres RESET log_statement")
    prepare(server.settings())
    log = (Path(server.host) / "log").read_text()
    assert "ALTER ROLE" in log
    for secret in (settings.bety_password, settings.ledger_password, settings.password):
        assert secret not in log
        assert secret not in caplog.text
