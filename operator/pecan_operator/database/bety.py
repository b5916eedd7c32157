"""BETY's tables and first rows, made where they are absent and never changed where they are not."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from importlib.resources import files

from psycopg2 import extensions, sql

IDS_PER_SERVER = 1_000_000_000
CF_METEOROLOGY_FORMAT_ID = 33
"""The id of `CF Meteorology` in every BETY; PEcAn's web page asks for it by this number."""

_LOOKUP = {"table": "to_regclass", "domain": "to_regtype", "function": "to_regprocedure"}


@dataclass(frozen=True)
class Section:
    """A piece of bety.sql and the object it makes."""

    kind: str
    name: str
    text: str


def sections() -> list[Section]:
    """bety.sql in its order, cut at its `--: <kind> <name>` lines."""
    text = files(__package__).joinpath("bety.sql").read_text()
    _, *pieces = re.split(r"^--: (\w+) (.+)$", text, flags=re.MULTILINE)
    return [Section(*piece) for piece in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True)]


def apply_bety(cursor: extensions.cursor, local_server: int) -> list[str]:
    """Makes what is absent, as role bety; returns the names of new tables. The transaction is the caller's."""
    cursor.execute("CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public")
    cursor.execute("GRANT USAGE, CREATE ON SCHEMA public TO bety")
    if all(_exists(cursor, section) for section in sections() if section.kind == "table"):
        return []
    cursor.execute("SET LOCAL search_path = public")
    cursor.execute("SET LOCAL ROLE bety")
    made = []
    for section in sections():
        if not _exists(cursor, section):
            cursor.execute(section.text)
            if section.kind == "table":
                _finish_table(cursor, section.name, local_server)
                made.append(section.name)
    cursor.execute("RESET ROLE")
    return made


def add_rows(cursor: extensions.cursor, hostname: str) -> None:
    """The machine, the weather format and, in an empty table, the first user.

    PEcAn's R wants one user. `pecan` may do everything in BETY's web page, but nobody can log in as it until somebody
    gives it a password there: the one it has is a random hash.
    """
    cursor.execute(
        "INSERT INTO public.users (login, name, email, crypted_password, salt, access_level, page_access_level)"
        " SELECT 'pecan', 'PEcAn', %s, %s, %s, 1, 1 WHERE NOT EXISTS (SELECT FROM public.users)",
        (f"pecan@{hostname}", secrets.token_hex(20), secrets.token_hex(20)),
    )
    cursor.execute(
        "INSERT INTO public.machines (hostname) SELECT %(hostname)s WHERE NOT EXISTS"
        " (SELECT FROM public.machines WHERE hostname = %(hostname)s)",
        {"hostname": hostname},
    )
    cursor.execute(
        "INSERT INTO public.mimetypes (type_string) SELECT type FROM unnest(%s) AS type"
        " WHERE type NOT IN (SELECT type_string FROM public.mimetypes)",
        (["application/x-netcdf", "text/csv", "text/plain"],),
    )
    cursor.execute(
        "INSERT INTO public.formats (id, name, mimetype_id) SELECT"
        " CASE WHEN EXISTS (SELECT FROM public.formats WHERE id = %(id)s) THEN nextval('public.formats_id_seq')"
        " ELSE %(id)s END, %(name)s, (SELECT min(id) FROM public.mimetypes WHERE type_string = 'application/x-netcdf')"
        " WHERE NOT EXISTS (SELECT FROM public.formats WHERE name = %(name)s)",
        {"id": CF_METEOROLOGY_FORMAT_ID, "name": "CF Meteorology"},
    )


def _exists(cursor: extensions.cursor, section: Section) -> bool:
    cursor.execute(f"SELECT {_LOOKUP[section.kind]}(%s) IS NOT NULL", (f"public.{section.name}",))
    return bool((cursor.fetchone() or (False,))[0])


def _finish_table(cursor: extensions.cursor, table: str, local_server: int) -> None:
    cursor.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", (f"public.{table}",)
    )
    columns = {name for (name,) in cursor.fetchall()}
    if "id" in columns:
        first = local_server * IDS_PER_SERVER + 1
        cursor.execute(
            sql.SQL(
                "CREATE SEQUENCE {sequence} MINVALUE {first} MAXVALUE {last} OWNED BY {table}.id;"
                " ALTER TABLE {table} ALTER COLUMN id SET DEFAULT nextval({name})"
            ).format(
                sequence=sql.Identifier(f"{table}_id_seq"),
                first=sql.Literal(first),
                last=sql.Literal(first + IDS_PER_SERVER - 2),
                table=sql.Identifier(table),
                name=sql.Literal(f"{table}_id_seq"),
            )
        )
    if "updated_at" in columns:
        cursor.execute(
            sql.SQL("CREATE TRIGGER {} BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION update_timestamp()").format(
                sql.Identifier(f"update_{table}_timestamp"), sql.Identifier(table)
            )
        )
