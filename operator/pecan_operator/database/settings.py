"""What the database Job is told, by environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pecan_operator.errors import UserError

LARGEST_LOCAL_SERVER = 9999
"""BETY gives a node the ids server * 1e9 + 1 to (server + 1) * 1e9 - 1."""


@dataclass(frozen=True)
class JobSettings:
    """`user` is a superuser; `hostname` is PEcAn's FQDN, the key of BETY's machines."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    dbname: str
    bety_password: str = field(repr=False)
    ledger_password: str = field(repr=False)
    hostname: str
    local_server: int


def read_settings(environment: Mapping[str, str]) -> JobSettings:
    """UserError names the variable that is missing or wrong."""

    def wanted(name: str) -> str:
        value = environment.get(name, "")
        if not value:
            raise UserError("SettingMissing", f"the environment variable {name} is missing")
        return value

    hostname = environment.get("PECAN_HOSTNAME") or "docker"
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?", hostname):
        raise UserError("SettingInvalid", f"PECAN_HOSTNAME {hostname!r} is not a host name")
    return JobSettings(
        host=wanted("PGHOST"),
        port=_number(environment, "PGPORT", 5432, 1, 65535),
        user=environment.get("PGUSER") or "postgres",
        password=wanted("PGPASSWORD"),
        dbname=environment.get("PGDATABASE") or "bety",
        bety_password=wanted("BETY_PASSWORD"),
        ledger_password=wanted("LEDGER_PASSWORD"),
        hostname=hostname,
        local_server=_number(environment, "PECAN_LOCAL_SERVER", 99, 0, LARGEST_LOCAL_SERVER),
    )


def _number(environment: Mapping[str, str], name: str, default: int, smallest: int, largest: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not smallest <= int(text) <= largest:
        raise UserError("SettingInvalid", f"{name} is {text!r}; it must be a whole number from {smallest} to {largest}")
    return int(text)
