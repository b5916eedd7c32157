"""pecan.xml as PEcAn's R is given it: from the fields of a workflow or from a user's, with the connections R is to use.

Nothing here but `with_services` holds a secret, and what it gives only ever stands in the workflow's folder.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from defusedxml.ElementTree import fromstring

from pecan_operator.api.workflow import WorkflowSpec
from pecan_operator.core import nodes, pecanxml
from pecan_operator.core.nodes import Verdict
from pecan_operator.core.userxml import Adopted, Adoption, Ours, copy_of, read, refuse, set_ours
from pecan_operator.errors import UserError

HOST = "localhost"
"""PEcAn's host/name for runs that go to a queue: any other, it reaches by ssh."""

DBFILES = "/data/dbfiles"
DRIVERS = ("PostgreSQL", "Postgres")
SEEDS = ("ensemble", "sensitivity.analysis")

_BETY = {"user": "PGUSER", "password": "PGPASSWORD", "host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE"}
# R puts them into job.sh as they are.
_ARGUMENTS = re.compile(r"[A-Za-z0-9 _.,:=/+@-]*")
_DAY = re.compile(r"\s*([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})")


@dataclass(frozen=True)
class Services:
    """The connections R reads from pecan.xml: libpq's variables of role bety, and the broker's URI."""

    bety: Mapping[str, str] = field(repr=False)
    rabbitmq_uri: str = field(repr=False)


@dataclass(frozen=True)
class Asked:
    """What a pecan.xml for R asks for that the ledger and BETY keep; days are inclusive, ISO 8601."""

    start_date: str
    end_date: str
    stop_on_error: bool


def check_fields(spec: WorkflowSpec) -> tuple[str, ...]:
    """The nodes of a workflow's fields that have no effect with R; raises UserError when R cannot do what they say."""
    for pft in spec.structured.pfts:
        given = [name for name, value in (("traits", pft.traits), ("priors.csv", pft.priors.csv)) if value]
        if pft.priors.samples_csv:
            given.append("priors.samplesCsv")
        if given:
            raise UserError(
                "NotForR",
                f"pfts {pft.name}: {', '.join(given)} cannot be used with framework pecan, for PEcAn's R takes priors from "
                "BETY or from priors.posteriorFiles: give these, or use a platform with framework light",
            )
    parts = {"ensemble": spec.ensemble, "sensitivity.analysis": spec.sensitivity_analysis}
    return tuple(f"{name}/seed" for name, part in parts.items() if part is not None and part.seed is not None)


def render(settings: pecanxml.Settings) -> str:
    """The fields of a workflow as R's pecan.xml, still without the addresses and passwords of services.

    R notes in BETY which posterior of a PFT the runs were drawn from, and knows one only of a PFT that it has taken through
    the meta-analysis: without a row an SQL error ends it. So PFTs that all bring their posterior files are run without
    writing to BETY, and for the others there is a meta-analysis, with PEcAn's defaults.
    """
    root = fromstring(pecanxml.render(replace(settings, hostname=HOST)))
    for part in SEEDS:
        for node in root.findall(part):
            for seed in node.findall("seed"):
                node.remove(seed)
    _add_database(root, None)
    if all(pft.posterior_files for pft in settings.pfts):
        _set(root.find("database/bety"), "write", "FALSE")
    else:
        analysis = ET.SubElement(root, "meta.analysis")
        ET.SubElement(analysis, "iter").text = "3000"
        effects = ET.SubElement(analysis, "random.effects")
        ET.SubElement(effects, "on").text = "FALSE"
        ET.SubElement(effects, "use_ghs").text = "TRUE"
    return pecanxml.as_text(root)


def adopt(text: str | bytes, ours: Ours) -> Adopted:
    """R's pecan.xml from a user's: what is ours is set, code is as the platform says, all else is left to R.

    With a `database` node R works with BETY, as its `write` says; without one, without.

    Raises UserError BadSettings naming the node and its line.
    """
    root, lines = read(text)
    made = _RAdoption(ours, lines, set())
    result = made.children(root, (), root.tag)
    set_ours(result, replace(ours, hostname=HOST))
    if ours.delete_raw:
        _set(result.find("model"), "delete.raw", "TRUE")
    if ours.stop_on_error is not None:
        _set_stop_on_error(result, ours.stop_on_error)
    if (database := root.find("database")) is not None:
        _add_database(result, database)
    return Adopted(xml=pecanxml.as_text(result), ignored=tuple(made.ignored))


class _RAdoption(Adoption):
    """Keeps what R may have; what is in it is R's to check."""

    def _one(self, element: ET.Element, place: tuple[str, ...]) -> ET.Element | None:
        row = nodes.find(place)
        if row is None and nodes.has_rows_below(place):
            return self.children(element, place, element.tag)
        verdict = nodes.verdict_by_r(row)
        if verdict is Verdict.REFUSED:
            assert row is not None
            why = "PEcAn's R takes priors from BETY or posterior.files: remove the node"
            self.refuse(
                element,
                place,
                f"is not supported: {row.why if row.verdict is Verdict.REFUSED else why}".replace("`", ""),
            )
        if verdict is Verdict.CODE:
            return self._code(element, place)
        if verdict is Verdict.IGNORED:
            self.ignore(element, place)
        if verdict is not Verdict.HONOURED:
            return None
        copy = copy_of(element)
        if row is not None and row.is_path:
            self._resolve(element, copy, place)
        if place[0] == "model" and place[1] in ("type", "revision", "binary"):
            self._check_fits(element, place)
        if place == ("model", "binary_args") and not _ARGUMENTS.fullmatch(element.text or ""):
            self.refuse(element, place, "may hold nothing but letters, digits, blanks and _ . , : = / + @ -")
        return copy

    def _check_sites(self, run: ET.Element) -> None:
        """R's own affair."""

    def _check(self, element: ET.Element, place: tuple[str, ...]) -> None:
        """R's own affair."""


def asked(xml: str, stop_on_error: bool | None) -> Asked:
    """What the ledger has to know of R's pecan.xml; `stop_on_error` is the workflow's own, which wins.

    Raises UserError BadSettings when there are no dates.
    """
    root = fromstring(xml)
    first, last = (sorted(_days(root, tag)) for tag in ("start.date", "end.date"))
    if not first or not last:
        refuse(f"has no run/{'end' if first else 'start'}.date: PEcAn's R needs the days of the runs")
    if stop_on_error is None:
        said = [(node.text or "").strip().upper() for node in root.iterfind("run//stop_on_error")]
        size = (root.findtext("ensemble/size") or "1").strip()
        stop_on_error = said[0] in ("TRUE", "T", "1") if said else size == "1"
    return Asked(first[0], last[-1], stop_on_error)


def _days(root: ET.Element, tag: str) -> Iterator[str]:
    for node in root.iterfind(f"run//{tag}"):
        if found := _DAY.match(node.text or ""):
            yield f"{found[1]}-{found[2]:0>2}-{found[3]:0>2}"
        else:
            refuse(f"run/{tag}: {(node.text or '')[:80]!r} does not begin with a day such as 2004-12-31")


def with_services(xml: str | bytes, services: Services) -> str:
    """R's pecan.xml, or a copy that R saved, with these addresses and passwords; whatever it said of them is replaced.

    Raises UserError BadSettings when it is not XML.
    """
    try:
        root: ET.Element = fromstring(xml)
    except ET.ParseError as error:
        refuse(f"is not well-formed XML: {error}")
    for bety in root.iterfind(".//database/bety"):
        for tag, variable in _BETY.items():
            _set(bety, tag, services.bety[variable])
    for rabbitmq in root.iterfind(".//host/rabbitmq"):
        _set(rabbitmq, "uri", services.rabbitmq_uri)
    return pecanxml.as_text(root)


def without_services(xml: str | bytes) -> str:
    """R's pecan.xml without what `with_services` puts in: the same whatever the passwords are."""
    root: ET.Element = fromstring(xml)
    for parent, tags in ((".//database/bety", _BETY), (".//host/rabbitmq", ("uri",))):
        for node in root.iterfind(parent):
            for child in [child for child in node if child.tag in tags]:
                node.remove(child)
    return pecanxml.as_text(root)


def writes_bety(root: ET.Element) -> bool:
    """Whether R registers in BETY what it does."""
    bety = root.find("database/bety")
    return bety is not None and (bety.findtext("write") or "TRUE").strip().upper() in ("TRUE", "T", "1")


def _add_database(root: ET.Element, given: ET.Element | None) -> None:
    """The node without addresses; of the user's, `write` stands, and the driver if R has it."""
    database = ET.Element("database")
    bety = ET.SubElement(database, "bety")
    driver = (given.findtext("bety/driver") or "").strip() if given is not None else ""
    ET.SubElement(bety, "driver").text = driver if driver in DRIVERS else DRIVERS[0]
    write = (given.findtext("bety/write") or "").strip() if given is not None else ""
    ET.SubElement(bety, "write").text = write or "TRUE"
    ET.SubElement(database, "dbfiles").text = DBFILES
    root.append(database)


def _set_stop_on_error(root: ET.Element, stop: bool) -> None:
    run = root.find("run")
    if run is None:
        refuse("has no run: PEcAn's R needs the days and the site of the runs")
    given = [node for node in run.iter() if node.find("stop_on_error") is not None]
    for node in given or [run]:
        _set(node, "stop_on_error", str(stop).upper())


def _set(parent: ET.Element | None, tag: str, value: Any) -> None:
    assert parent is not None
    for old in parent.findall(tag)[1:]:
        parent.remove(old)
    node = parent.find(tag)
    if node is None:
        node = ET.SubElement(parent, tag)
    for child in list(node):
        node.remove(child)
    node.text = str(value)
