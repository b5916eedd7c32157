"""The stand-in of PEcAn's R on BETY's tables: in e2e a fault of its own would look like one of the operator."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from r_standin.bety import Bety, connect
from r_standin.logger import Severe
from r_standin.settings import Settings
from workflow_support.r_framework import PFT, TRAITS

from pecan_operator.clients import bety as operators
from pecan_operator.clients.database import Database

from .conftest import BETY_PASSWORD, Server


def settings(server: Server, **other: str) -> Settings:
    made = Settings(ET.Element("pecan"))
    given = {"host": server.host, "port": str(server.port), "user": "bety", "password": BETY_PASSWORD, "dbname": "bety"}
    for tag, value in {**given, "driver": "PostgreSQL", "write": "TRUE", **other}.items():
        made.put(f"database/bety/{tag}", value)
    return made


@pytest.fixture
def bety(prepared: Server, pfts_of_r: None) -> Iterator[Bety]:
    """BETY as R sees it."""
    connection = connect(settings(prepared))
    yield connection
    connection.close()


@pytest.fixture
def model_id(ledger_database: Database) -> int:
    return operators.Bety(ledger_database).register_model(
        hostname="docker", model_type="JOURNAL", name="JOURNAL", revision="1", binary="/usr/local/bin/journal"
    )


@pytest.fixture
def workflow_id(prepared: Server, model_id: int) -> int:
    with prepared.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO workflows (folder, model_id, hostname) VALUES ('/data', %s, 'docker') RETURNING id",
            (model_id,),
        )
        (found,) = cursor.fetchone() or (None,)
    return int(str(found))


def test_the_role_of_the_settings_may_all_that_r_tries(bety: Bety) -> None:
    bety.check()


def test_a_role_with_its_rights_by_membership_is_refused_as_by_r(prepared: Server, pfts_of_r: None) -> None:
    with prepared.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE member LOGIN PASSWORD 'member' IN ROLE bety")
    other = connect(settings(prepared, user="member", password="member"))
    with pytest.raises(Severe, match="member may not write to users"):
        other.check()
    other.close()


def test_a_wrong_password_is_refused(prepared: Server, pfts_of_r: None) -> None:
    with pytest.raises(Severe, match="Invalid Database Settings"):
        connect(settings(prepared, password="old"))


def test_what_bety_knows_is_found(bety: Bety, model_id: int, bety_database: Database) -> None:
    site_id = operators.Bety(bety_database).site(name="Loobos", lat=52.17, lon=5.74)
    machine_id = bety.machine("docker")
    assert machine_id is not None
    assert bety.machine("elsewhere") is None
    assert bety.model(model_id) == ("JOURNAL", "1")
    assert bety.binary(model_id, machine_id) == "/usr/local/bin/journal"
    assert bety.site(site_id) == ("Loobos", 52.17, 5.74)
    pft_id = bety.pft(PFT, "JOURNAL")
    assert pft_id is not None
    assert bety.priors(pft_id) == dict.fromkeys(TRAITS, ("unif", 10.0, 20.0))
    posterior_id = bety.add_posterior(pft_id)
    bety.add_file("Posterior", posterior_id, machine_id, "/data/dbfiles/posterior/1", "prior.distns.csv")


def test_an_ensemble_and_its_runs_are_written(
    bety: Bety, prepared: Server, model_id: int, workflow_id: int, bety_database: Database
) -> None:
    site_id = operators.Bety(bety_database).site(name="Loobos", lat=52.17, lon=5.74)
    posterior_id = bety.add_posterior(bety.pft(PFT, "JOURNAL") or 0)
    assert (bety.has_workflow(workflow_id), bety.ensembles(workflow_id)) == (True, 0)
    ensemble_id = bety.add_ensemble("ensemble", workflow_id, [str(posterior_id)])
    run_id = bety.add_run(model_id, site_id, ("1998-01-01", "1998-12-31"), ensemble_id, "ensemble=1")
    bety.finish(workflow_id)
    bety.finish(workflow_id)
    assert bety.ensembles(workflow_id) == 1
    with prepared.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT runs.id, parameter_list, finished_at IS NULL FROM runs WHERE ensemble_id = %s", (ensemble_id,)
        )
        assert cursor.fetchall() == [(run_id, "ensemble=1", True)]
        cursor.execute("SELECT count(*) FROM workflows WHERE id = %s AND finished_at IS NOT NULL", (workflow_id,))
        assert cursor.fetchone() == (1,)


def test_a_pft_without_posterior_is_an_sql_error_as_in_r(bety: Bety, workflow_id: int) -> None:
    with pytest.raises(Severe, match="syntax error"):
        bety.add_ensemble("ensemble", workflow_id, [""])
    assert bety.ensembles(workflow_id) == 1, "R leaves the row of the ensemble"
