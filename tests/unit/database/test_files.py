"""The SQL files of the database Job hang together."""

from __future__ import annotations

import re
from importlib.resources import files

from pecan_operator.database.bety import sections
from pecan_operator.database.migrations import migrations


def test_every_section_makes_what_it_is_called_after():
    found = sections()
    assert len(found) > 30
    for section in found:
        name = section.name.split("(")[0]
        assert re.search(rf"^CREATE {section.kind.upper()} {name}\b", section.text, re.MULTILINE), section.name
    names = [(section.kind, section.name) for section in found]
    assert len(set(names)) == len(names)


def test_tables_refer_to_earlier_tables_only():
    seen = set()
    for section in sections():
        if section.kind == "table":
            assert set(re.findall(r"REFERENCES (\w+)", section.text)) <= seen | {section.name}
            seen.add(section.name)


def test_grants_are_on_tables_that_are_made():
    text = files("pecan_operator.database").joinpath("grants.sql").read_text()
    granted = {name.removesuffix("_id_seq") for name in re.findall(r"public\.(\w+)", text)}
    assert granted
    assert granted <= {section.name for section in sections() if section.kind == "table"}


def test_migrations_are_numbered_from_one_without_gaps():
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))
