"""BETY's rows as PEcAn's own parts look for them, and the constraints they rely on."""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg2
import pytest

from pecan_operator.clients.bety import Bety
from pecan_operator.errors import UserError

pytestmark = pytest.mark.database

DALEC = {"hostname": "docker", "model_type": "DALEC", "name": "DALEC", "revision": "ev", "binary": "/work/run"}


@pytest.fixture
def operator(ledger_database):
    return Bety(ledger_database)


@pytest.fixture
def executor(bety_database):
    return Bety(bety_database)


def query(database, text, *values):
    with database.transaction() as cursor:
        cursor.execute(text, values)
        return cursor.fetchall()


def test_a_model_is_found_by_the_keys_of_the_monitor(operator, ledger_database):
    model_id = operator.register_model(**{**DALEC, "revision": "keys", "binary": "/usr/local/bin/dalec.keys"})
    assert query(
        ledger_database,
        "SELECT models.id, file_name, file_path FROM models JOIN modeltypes ON modeltypes.id = modeltype_id"
        " JOIN dbfiles ON container_type = 'Model' AND container_id = models.id"
        " JOIN machines ON machines.id = machine_id"
        " WHERE modeltypes.name = 'DALEC' AND model_name = 'DALEC' AND revision = 'keys' AND hostname = 'docker'",
    ) == [(model_id, "dalec.keys", "/usr/local/bin")]


def test_a_model_is_registered_once_by_many(operator, ledger_database):
    barrier = threading.Barrier(6)
    found = []

    def register():
        barrier.wait()
        found.append(
            operator.register_model(
                hostname="docker", model_type="NEW", name="NEW", revision="1.0", binary="/usr/local/bin/new"
            )
        )

    threads = [threading.Thread(target=register) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert query(ledger_database, "SELECT count(*) FROM models WHERE model_name = 'NEW'") == [(1,)]
    assert query(ledger_database, "SELECT count(*) FROM dbfiles WHERE container_id = %s", found[0]) == [(1,)]


def test_two_models_may_have_the_same_binary(operator, ledger_database):
    one = operator.register_model(**{**DALEC, "revision": "one", "binary": "/same/path"})
    two = operator.register_model(**{**DALEC, "revision": "two", "binary": "/same/path"})
    assert one != two
    assert query(ledger_database, "SELECT container_id FROM dbfiles WHERE file_path = '/same'") == [(one,)]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"binary": "work/run"}, "absolute path"),
        ({"binary": "/"}, "absolute path"),
        ({"model_type": "DA LEC"}, "no_spaces_in_modeltype_name"),
        ({"name": "DA LEC"}, "no_spaces_in_model_name"),
        ({"revision": "a  b"}, "normalized_revision_specifier"),
        ({"hostname": "docker:80"}, "well_formed_machine_hostname"),
        ({"revision": "x" * 256}, "too long"),
    ],
)
def test_a_model_bety_refuses(operator, ledger_database, changed, text):
    count = query(ledger_database, "SELECT count(*) FROM modeltypes")
    with pytest.raises(UserError, match=text):
        operator.register_model(**{**DALEC, "model_type": "UNUSED", **changed})
    assert query(ledger_database, "SELECT count(*) FROM modeltypes") == count


def test_the_model_of_a_workflow(operator, ledger, request_for, model_id):
    row = ledger.accept_workflow(request_for("a"))
    assert operator.workflow_model(row.workflow_id) == model_id
    with pytest.raises(UserError, match="no workflow 12"):
        operator.workflow_model(12)


def test_a_site_is_reused_by_name_and_place(executor, bety_database):
    site = executor.site(name="Niwot Ridge", lat=40.03, lon=-105.55)
    assert executor.site(name="Niwot Ridge", lat=40.0300000001, lon=-105.55) == site
    assert executor.site(name="Niwot Ridge", lat=40.04, lon=-105.55) != site
    assert executor.site(name="Niwot", lat=40.03, lon=-105.55) != site
    assert query(bety_database, "SELECT ST_AsEWKT(geometry) FROM sites WHERE id = %s", site) == [
        ("SRID=4326;POINT(-105.55 40.03 0)",)
    ]


def test_a_workflow_says_where_it_is_and_is_left_alone_when_it_does(executor, bety_database, ledger, request_for):
    row = ledger.accept_workflow(request_for("a"))
    site = executor.site(name="Loobos", lat=52.17, lon=5.74)

    def found():
        return query(bety_database, "SELECT site_id, xmin::text FROM workflows WHERE id = %s", row.workflow_id)[0]

    assert found()[0] is None
    executor.place_workflow(row.workflow_id, site)
    once = found()
    assert once[0] == site
    executor.place_workflow(row.workflow_id, site)
    assert found() == once


def test_a_site_with_an_area_is_found_by_its_centre(executor, bety_database):
    [(site,)] = query(
        bety_database,
        "INSERT INTO sites (sitename, geometry)"
        " VALUES ('Area', 'SRID=4326;POLYGON Z((0 0 5, 2 0 5, 2 2 5, 0 2 5, 0 0 5))') RETURNING id",
    )
    assert executor.site(name="Area", lat=1, lon=1) == site


def test_a_site_off_the_earth_is_refused(executor):
    with pytest.raises(UserError, match="valid_site_geometry_specification"):
        executor.site(name="Nowhere", lat=91, lon=0)


def test_ensemble_and_runs_are_found_again(executor, ledger, request_for, model_id):
    row = ledger.accept_workflow(request_for("a"))
    ensemble = executor.ensemble(workflow_id=row.workflow_id, runtype="ensemble")
    assert executor.ensemble(workflow_id=row.workflow_id, runtype="ensemble") == ensemble
    assert executor.ensemble(workflow_id=row.workflow_id, runtype="sensitivity analysis") != ensemble
    sites = [executor.site(name=name, lat=52.17, lon=5.74) for name in ("Loobos", "Elsewhere")]
    rows = [(site, "1997-01-01", "1999-12-31", f"ensemble={n}", "") for n in range(5) for site in sites]
    first = executor.runs(ensemble, model_id, rows[:4])
    ids = executor.runs(ensemble, model_id, rows)
    assert ids[:4] == first
    assert len(set(ids)) == 10
    assert executor.runs(ensemble, model_id, rows[::-1]) == ids[::-1]
    assert executor.runs(ensemble, model_id, []) == []
    assert all(99_000_000_001 <= run_id <= 99_999_999_999 for run_id in ids)


def test_runs_are_described_to_the_operator_and_forgotten_by_the_executor(
    executor, operator, bety_database, ledger, request_for, model_id
):
    mine, other = (ledger.accept_workflow(request_for(uid)).workflow_id for uid in "ab")
    site = executor.site(name="Loobos", lat=52.17, lon=5.74)
    assert executor.has_site(site, lat=None, lon=None)
    assert executor.has_site(site, lat=52.26, lon=5.65)
    assert not executor.has_site(site, lat=52.28, lon=5.74)
    assert not executor.has_site(site, lat=52.17, lon=-5.74)
    assert not executor.has_site(772, lat=None, lon=None)
    for workflow_id in (mine, other):
        for runtype, text in (("ensemble", "ensemble=1"), ("sensitivity analysis", "quantile=50,trait=SLA,pft=c")):
            ensemble = executor.ensemble(workflow_id=workflow_id, runtype=runtype)
            (run_id,) = executor.runs(ensemble, model_id, [(site, "1997-01-01", "1999-12-31", text, "")])
            input_id = query(bety_database, "INSERT INTO inputs (name) VALUES ('met') RETURNING id")[0][0]
            query(
                bety_database,
                "INSERT INTO inputs_runs (input_id, run_id) VALUES (%s, %s) RETURNING id",
                input_id,
                run_id,
            )
    described = operator.described_runs(mine)
    assert {(run.runtype, run.parameter_list) for run in described} == {
        ("ensemble", "ensemble=1"), ("sensitivity analysis", "quantile=50,trait=SLA,pft=c"),
    }  # fmt: skip
    assert {(run.site_id, run.site_name, run.first_year, run.last_year) for run in described} == {
        (site, "Loobos", 1997, 1999)
    }
    for _ in range(2):
        executor.forget_runs(mine)
    assert operator.described_runs(mine) == []
    assert query(bety_database, "SELECT id FROM ensembles WHERE workflow_id = %s", mine) == []
    assert len(operator.described_runs(other)) == 2


# (statement, constraint or type that refuses it): what pecan-contract and BETY's schema promise to everybody who writes.
REFUSED = [
    ("INSERT INTO machines (hostname) VALUES ('docker')", "unique_hostnames"),
    ("INSERT INTO machines (hostname) VALUES ('a b')", "well_formed_machine_hostname"),
    ("INSERT INTO modeltypes (name) VALUES ('DALEC')", "index_modeltypes_on_name"),
    ("INSERT INTO formats (name) VALUES (' x')", "normalized_format_name"),
    ("INSERT INTO mimetypes (type_string) VALUES ('netcdf')", "valid_mime_type"),
    ("INSERT INTO mimetypes (type_string) VALUES ('text/csv')", "unique_type_string"),
    (
        "INSERT INTO dbfiles (file_name, file_path, machine_id) SELECT 'a/b', '/c', id FROM machines",
        "no_slash_in_file_name",
    ),
    (
        "INSERT INTO dbfiles (file_name, file_path, machine_id) SELECT 'a', 'c', id FROM machines",
        "file_path_sanity_check",
    ),
    (
        "INSERT INTO dbfiles (file_name, file_path, machine_id, container_type, container_id)"
        " SELECT 'a', '/c', id, 'Model', 1 FROM machines",
        "valid_model_refs",
    ),
    (
        "INSERT INTO dbfiles (file_name, file_path, machine_id, container_type, container_id)"
        " SELECT 'a', '/c', id, 'Run', 1 FROM machines",
        "valid_dbfile_container_type",
    ),
    ("INSERT INTO sites (sitename, geometry) VALUES ('x', 'SRID=4326;POINT(5 52)')", "Z dimension"),
    ("INSERT INTO sites (sitename, geometry) VALUES ('x', 'SRID=4326;POINT(181 52 0)')", "valid_site_geometry"),
    ("INSERT INTO sites (sitename, mat) VALUES ('x', 41)", "valid_site_mat_value"),
    ("INSERT INTO sites (sitename, sand_pct, clay_pct) VALUES ('x', 60, 60)", "valid_site_sand_and_clay"),
    ("INSERT INTO inputs (name, access_level) VALUES ('x', 5)", "level_of_access_check"),
    (
        "INSERT INTO pfts (name, definition, modeltype_id, pft_type) SELECT 'x', '', min(id), 'tree' FROM modeltypes",
        "valid_pft_type",
    ),
    ("INSERT INTO variables (name, min, max) VALUES ('x', '2', '1')", "variable_min_is_less_than_max"),
    ("INSERT INTO variables (name, min) VALUES ('x', 'little')", "variable_min_is_a_number"),
    (
        "INSERT INTO users (login, email, crypted_password, access_level) VALUES ('abc', 'a@b', 'ff', 1)",
        "level_of_access does not allow null",
    ),
    (
        "INSERT INTO users (login, email, crypted_password, access_level, page_access_level)"
        " VALUES ('Abc', 'a@b', 'ff', 1, 1)",
        "valid_user_login",
    ),
    (
        "INSERT INTO users (login, email, crypted_password, access_level, page_access_level)"
        " VALUES ('abc', 'ab', 'ff', 1, 1)",
        "well_formed_user_email",
    ),
    (
        "INSERT INTO users (login, email, crypted_password, access_level, page_access_level)"
        " VALUES ('abc', 'a@b', 'secret', 1, 1)",
        "valid_user_crypted_password_value",
    ),
    ("INSERT INTO workflows (folder, hostname, model_id) VALUES ('a  b', 'x', 1)", "normalized_workflow_folder_name"),
    ("INSERT INTO workflows (folder, hostname, model_id) VALUES ('a', 'x', 1)", "fk_workflows_models_1"),
    (
        "INSERT INTO priors (variable_id, phylogeny, distn, parama) VALUES (1, 'x', 'normal', 0)",
        "valid_prior_distn",
    ),
    (
        "INSERT INTO modeltypes_formats (modeltype_id, format_id, tag) SELECT min(id), 33, 'Met' FROM modeltypes",
        "valid_modeltype_format_tag",
    ),
    ("TRUNCATE models CASCADE", "cannot be truncated"),
]


@pytest.mark.parametrize(("statement", "text"), REFUSED)
def test_bety_refuses(prepared, model_id, statement, text):
    with closing(prepared.connect()) as connection, pytest.raises(psycopg2.Error, match=text):
        connection.cursor().execute(statement)


def test_a_model_with_a_file_is_not_deleted(prepared, operator):
    model_id = operator.register_model(**{**DALEC, "revision": "kept", "binary": "/usr/local/bin/kept"})
    with closing(prepared.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM models WHERE id = %s", (model_id,))
        assert cursor.rowcount == 0
        cursor.execute("DELETE FROM dbfiles WHERE container_id = %s", (model_id,))
        cursor.execute("DELETE FROM models WHERE id = %s", (model_id,))
        assert cursor.rowcount == 1


def test_every_change_is_stamped(prepared):
    with closing(prepared.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace AND attname = 'updated_at'"
        )
        stamped = {name for (name,) in cursor}
        cursor.execute("SELECT tgname FROM pg_trigger WHERE tgname LIKE 'update%timestamp'")
        assert {name for (name,) in cursor} == {f"update_{table}_timestamp" for table in stamped}
        cursor.execute("UPDATE machines SET updated_at = '2020-01-01', sync_url = 'x' RETURNING updated_at::text")
        assert cursor.fetchone() == ("2020-01-01 00:00:00",)
        cursor.execute("UPDATE machines SET sync_url = 'y' RETURNING updated_at = utc_now()")
        assert cursor.fetchone() == (True,)
