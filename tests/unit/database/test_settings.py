"""What the database Job is told, without a server."""

from __future__ import annotations

import pytest

from pecan_operator.database.job import main
from pecan_operator.database.settings import read_settings
from pecan_operator.errors import UserError

GIVEN = {"PGHOST": "pecan-postgres", "PGPASSWORD": "one", "BETY_PASSWORD": "two", "LEDGER_PASSWORD": "three"}


def test_defaults():
    settings = read_settings(GIVEN)
    assert (settings.port, settings.user, settings.dbname) == (5432, "postgres", "bety")
    assert (settings.hostname, settings.local_server) == ("docker", 99)


def test_passwords_are_not_shown():
    text = repr(read_settings(GIVEN))
    assert not any(secret in text for secret in ("one", "two", "three"))


@pytest.mark.parametrize("name", sorted(GIVEN))
@pytest.mark.parametrize("value", [None, ""])
def test_names_what_is_missing(name, value):
    given = {key: text for key, text in {**GIVEN, name: value}.items() if text is not None}
    with pytest.raises(UserError, match=name):
        read_settings(given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGPORT", "70000"),
        ("PGPORT", "tcp://10.0.0.1:5432"),
        ("PECAN_LOCAL_SERVER", "-1"),
        ("PECAN_LOCAL_SERVER", "10000"),
        ("PECAN_LOCAL_SERVER", "٣"),
        ("PECAN_HOSTNAME", "two words"),
        ("PECAN_HOSTNAME", "docker:5432"),
        ("PECAN_HOSTNAME", "-docker"),
        ("PECAN_HOSTNAME", "docker\n"),
    ],
)
def test_names_what_is_wrong(name, value):
    with pytest.raises(UserError, match=name):
        read_settings({**GIVEN, name: value})


@pytest.mark.parametrize("hostname", ["docker", "d", "pecan.example.org", "x" * 255])
def test_host_names(hostname):
    assert read_settings({**GIVEN, "PECAN_HOSTNAME": hostname}).hostname == hostname


def test_bad_settings_end_with_65_and_one_line(caplog):
    assert main({}) == 65
    assert [record.getMessage() for record in caplog.records] == [
        "the database was not prepared: the environment variable PGHOST is missing"
    ]
