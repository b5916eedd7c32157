"""The ledger's schema, in numbered steps: `NNNN_<what>.sql` beside this file, each run once and in one transaction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

from psycopg2 import extensions

from pecan_operator.errors import UserError


@dataclass(frozen=True)
class Migration:
    """One step; `version` counts from 1."""

    version: int
    name: str
    text: str


def migrations() -> list[Migration]:
    """All steps this operator knows, in order."""
    found = [
        Migration(int(match[1]), match[2], file.read_text())
        for file in files(__package__).iterdir()
        if (match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name))
    ]
    return sorted(found, key=lambda migration: migration.version)


def apply_migrations(connection: extensions.connection, known: list[Migration]) -> list[Migration]:
    """Runs the steps that were not run yet, as the owner of the schema; returns them.

    UserError when the schema is newer than `known`: an older operator must not work on it.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS pecan_operator AUTHORIZATION pecan_operator")
        cursor.execute("SET LOCAL ROLE pecan_operator")
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS pecan_operator.migration ("
            " version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        cursor.execute("SELECT version FROM pecan_operator.migration")
        applied = {version for (version,) in cursor.fetchall()}
    newest = max((migration.version for migration in known), default=0)
    if applied and max(applied) > newest:
        raise UserError(
            "LedgerTooNew",
            f"the ledger in this database is of version {max(applied)} and this operator knows versions up to {newest}:"
            " use the operator version that made it, or a newer one",
        )
    fresh = [migration for migration in known if migration.version not in applied]
    for migration in fresh:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL ROLE pecan_operator")
            cursor.execute(migration.text)
            cursor.execute(
                "INSERT INTO pecan_operator.migration (version, name) VALUES (%s, %s)",
                (migration.version, migration.name),
            )
    return fresh
