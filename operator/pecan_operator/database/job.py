"""`pecan-operator database`: makes roles, database, BETY's tables and the ledger. Safe to repeat and to be killed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import closing
from importlib.resources import files

import psycopg2

from pecan_operator.database.bety import add_rows, apply_bety
from pecan_operator.database.migrations import apply_migrations, migrations
from pecan_operator.database.server import apply_database, apply_roles, connect, held_server
from pecan_operator.database.settings import JobSettings, read_settings
from pecan_operator.errors import OperatorError, UserError

WAIT_SECONDS = 120.0
EXIT_BAD_INPUT = 65

_log = logging.getLogger(__name__)


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Exit code: 0; 65 when nothing but a change of what the Job is told can help; else 1. The last line says why."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        prepare(read_settings(environment))
    except UserError as error:
        _log.error("the database was not prepared: %s", error.message)
        return EXIT_BAD_INPUT
    except OperatorError as error:
        _log.error("the database was not prepared: %s", error.message)
        return 1
    except psycopg2.Error as error:
        _log.error("the database was not prepared: %s", " ".join(str(error).split()) or type(error).__name__)
        return 1
    return 0


def prepare(settings: JobSettings, wait_seconds: float = WAIT_SECONDS) -> None:
    """Each step is one transaction, or one statement the server itself undoes when it is cut off."""
    with held_server(settings, wait_seconds) as server:
        apply_roles(server, {"bety": settings.bety_password, "pecan_operator": settings.ledger_password})
        apply_database(server, settings.dbname)
        with closing(connect(settings, settings.dbname)) as connection:
            with connection, connection.cursor() as cursor:
                made = apply_bety(cursor, settings.local_server)
                add_rows(cursor, settings.hostname)
            _log.info("BETY: %s", f"made {len(made)} tables ({', '.join(made)})" if made else "all tables are there")
            fresh = apply_migrations(connection, migrations())
            _log.info("ledger: %s", ", ".join(f"made {step.version:04} {step.name}" for step in fresh) or "up to date")
            with connection, connection.cursor() as cursor:
                cursor.execute(files(__package__).joinpath("grants.sql").read_text())
    _log.info("the database is ready for machine %s", settings.hostname)
