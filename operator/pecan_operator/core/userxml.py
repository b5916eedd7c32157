"""A user's pecan.xml, made into the one that is run: nodes decided by the table, paths absolute, ours filled in.

The result is read by the executor's parser like a pecan.xml of the structured fields, so that there is one parser.
"""

from __future__ import annotations

import codecs
import json
import posixpath
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers.expat import ErrorString

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from pecan_operator.core import nodes
from pecan_operator.core.nodes import Verdict
from pecan_operator.core.pecanxml import MULTI_ROOT, Model
from pecan_operator.errors import UserError

MOST_BYTES = 1024 * 1024
MOST_NODES = 50_000
DEEPEST = 12
MOST_IGNORED = 100
_SAMPLING = ("ensemble", "samplingspace")
_ROOTS = ("pecan", MULTI_ROOT)
_ENCODINGS = ("utf-8", "ascii")
_DECLARED = re.compile(r"""<\?xml[^>]{0,200}?\bencoding\s*=\s*["']([^"']{0,80})["']""")
_DAY = re.compile(r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})(?:[ T](?:00:00(?::00)?|23:59(?::59)?)Z?)?")


@dataclass(frozen=True)
class Ours:
    """What is ours to say, whatever a pecan.xml says.

    `base_dir` is where relative paths begin, if anywhere. `stop_on_error` None leaves it to the pecan.xml, and to PEcAn's
    rule; `delete_raw` True wins over the pecan.xml. `seed` is that of a pecan.xml without one.
    """

    workflow_id: int
    folder: str
    hostname: str
    queue: str
    model: Model
    base_dir: str | None = None
    stop_on_error: bool | None = None
    delete_raw: bool = False
    seed: int | None = None

    @classmethod
    def from_json(cls, text: str) -> Ours:
        """What `json.dumps(asdict(ours))` gave."""
        values = json.loads(text)
        return cls(**{**values, "model": Model(**values["model"])})


@dataclass(frozen=True)
class Adopted:
    """A pecan.xml with nothing in it but what is honoured; `ignored` are the paths of nodes that have no effect, in their
    order, a hundred at most."""

    xml: str
    ignored: tuple[str, ...]


def adopt(text: str | bytes, ours: Ours) -> Adopted:
    """The pecan.xml to run, from a user's.

    Raises UserError BadSettings naming the node and its line: it is not XML in UTF-8, too large or too deep, holds a
    document type, or a node is refused.
    """
    root, lines = _read(text)
    if root.tag not in _ROOTS:
        _refuse(f"starts with <{root.tag[:80]}>, not with <pecan> or <pecan.multi>")
    made = _Adoption(ours, lines, {element.tag for inputs in root.iterfind("run//inputs") for element in inputs})
    result = made.children(root, (), root.tag)
    _check_multisettings(root, made)
    _check_site_pfts(root, made)
    ensemble, analysis = result.find("ensemble"), result.find("sensitivity.analysis")
    if ensemble is not None and ensemble.find("size") is None:
        # PEcAn's default
        ET.SubElement(ensemble, "size").text = "1"
    if ensemble is not None and analysis is not None:
        for seed in analysis.findall("seed"):
            made.ignore(seed, ("sensitivity.analysis", "seed"))
    first = analysis if ensemble is None else ensemble
    if first is not None and ours.seed is not None and first.find("seed") is None:
        ET.SubElement(first, "seed").text = str(ours.seed)
    run = result.find("run")
    for one in [] if run is None else [run, *run]:
        _complete_run(one, ours)
    _set_ours(result, ours)
    return Adopted(xml=ET.tostring(result, encoding="unicode"), ignored=tuple(made.ignored))


def decoded(data: bytes) -> str:
    """The text of a file; UserError BadSettings when it is too large or not UTF-8."""
    if len(data) > MOST_BYTES:
        _refuse(f"has more than {MOST_BYTES} bytes, which is the limit")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(f"is not UTF-8 text (byte {error.start + 1}): save it as UTF-8")


def _refuse(what: str) -> NoReturn:
    raise UserError("BadSettings", f"pecan.xml {what}")


class _Lines(ET.TreeBuilder):
    """A tree that remembers the line each node begins in."""

    def __init__(self, lines_before: int) -> None:
        super().__init__()
        self._before = lines_before
        self.parser: DefusedXMLParser | None = None
        self.lines: dict[int, int] = {}
        self._depth = 0

    def start(self, tag: str, _attributes: dict[str, str]) -> ET.Element:
        assert self.parser is not None
        line = self.parser.parser.CurrentLineNumber + self._before
        self._depth += 1
        if self._depth > DEEPEST:
            _refuse(f"line {line}: nodes are nested more than {DEEPEST} deep")
        if len(self.lines) >= MOST_NODES:
            _refuse(f"line {line}: has more than {MOST_NODES} nodes, which is the limit")
        # No text of an attribute is kept: PEcAn's settings have none.
        element = super().start(tag, {})
        self.lines[id(element)] = line
        return element

    def end(self, tag: str) -> ET.Element:
        self._depth -= 1
        return super().end(tag)


def _read(text: str | bytes) -> tuple[ET.Element, dict[int, int]]:
    if isinstance(text, bytes):
        text = decoded(text)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        _refuse("holds half of a character: save it as UTF-8")
    if size > MOST_BYTES:
        _refuse(f"has more than {MOST_BYTES} bytes, which is the limit")
    # An XML declaration must be at the very beginning, which in a block of YAML or a here document it easily is not.
    stripped = text.lstrip("\ufeff \t\r\n")
    before = text[: len(text) - len(stripped)].count("\n")
    text = stripped
    declared = _DECLARED.match(text)
    if declared and not _is_utf8(declared[1]):
        _refuse(f"declares the encoding {declared[1]}: save it as UTF-8")
    builder = _Lines(before)
    parser = DefusedXMLParser(target=builder, forbid_dtd=True)
    builder.parser = parser
    try:
        parser.feed(text)
        root: ET.Element = parser.close()
    except ET.ParseError as error:
        _refuse(f"line {error.position[0] + before} is not well-formed XML: {ErrorString(error.code)}")
    except DefusedXmlException:
        _refuse("holds an entity or a document type, which is not accepted: write the text out")
    return root, builder.lines


def _is_utf8(name: str) -> bool:
    try:
        return codecs.lookup(name).name in _ENCODINGS
    except LookupError:
        return False


@dataclass
class _Adoption:
    """Walks a tree and copies what is honoured."""

    ours: Ours
    lines: dict[int, int]
    inputs: set[str]
    ignored: dict[str, None] = field(default_factory=dict)
    _sites: int = 0

    def children(self, element: ET.Element, place: tuple[str, ...], tag: str) -> ET.Element:
        made = ET.Element(tag)
        made.text = element.text
        if len(place) == 3 and place[:2] == ("run", "inputs") and not len(element):
            # PEcAn's older form, in which the input is its path
            return self._input(element, place)
        for child in element:
            below = nodes.segment(place, child.tag)
            if below == place:
                self._sites += 1
                made.append(self.children(child, place, f"settings.{self._sites}"))
                continue
            copy = self._one(child, below)
            if copy is not None:
                made.append(copy)
        if place == ("run",):
            self._check_sites(element)
        self._check(element, place)
        return made

    def refuse(self, element: ET.Element, place: tuple[str, ...], what: str) -> NoReturn:
        where = "/".join(place) or element.tag
        _refuse(f"line {self.lines[id(element)]}: {where[:200]} {what}")

    def _one(self, element: ET.Element, place: tuple[str, ...]) -> ET.Element | None:
        row = nodes.find(place)
        if row is None:
            if nodes.has_rows_below(place) and not self._samples_nothing(place):
                return self.children(element, place, element.tag)
            self.ignore(element, place)
            return None
        if row.verdict is Verdict.REFUSED:
            self.refuse(element, place, f"is not supported: {row.why}".replace("`", ""))
        if row.verdict is Verdict.IGNORED:
            self.ignore(element, place)
        if row.verdict is not Verdict.HONOURED:
            return None
        copy = _copy(element)
        if row.is_path:
            self._resolve(element, copy, place)
        if place[0] == "model" and place[1] in ("type", "revision", "binary"):
            self._check_fits(element, place)
        return copy

    def ignore(self, element: ET.Element, place: tuple[str, ...]) -> None:
        if _says_something(element) and len(self.ignored) < MOST_IGNORED:
            self.ignored["/".join(place)[:100]] = None

    def _samples_nothing(self, place: tuple[str, ...]) -> bool:
        """Whether it says how to sample an input that is not there, which PEcAn passes over."""
        if place[:2] != _SAMPLING or len(place) != 3:
            return False
        return place[2] != "parameters" and place[2] not in self.inputs

    def _input(self, element: ET.Element, place: tuple[str, ...]) -> ET.Element:
        made, path = ET.Element(element.tag), ET.Element("path")
        path.text = element.text
        self._resolve(element, path, (*place, "path"))
        made.append(path)
        return made

    def _resolve(self, element: ET.Element, copy: ET.Element, place: tuple[str, ...]) -> None:
        for original, leaf in zip(element.iter(), copy.iter(), strict=True):
            path = (leaf.text or "").strip()
            if not path or len(leaf):
                continue
            if not path.startswith("/"):
                if self.ours.base_dir is None:
                    self.refuse(original, place, f"{path[:200]!r} is relative: set pecanXml.baseDir, where it begins")
                path = posixpath.join(self.ours.base_dir, path)
            # normpath keeps two slashes at the beginning
            leaf.text = re.sub(r"^/+", "/", posixpath.normpath(path))

    def _check_fits(self, element: ET.Element, place: tuple[str, ...]) -> None:
        wanted = getattr(self.ours.model, place[1])
        given = (element.text or "").strip()
        if given and given != wanted:
            self.refuse(
                element,
                place,
                f"is {given[:80]!r}, but the model of modelRef has {wanted!r}: remove the node, or name another model",
            )

    def _check_sites(self, run: ET.Element) -> None:
        """The parts of several sites have all that is said of a run; what stood beside or around one would be lost."""
        parts = [child for child in run if nodes.segment(("run",), child.tag) == ("run",)]
        if not parts:
            return
        first = f"run/{parts[0].tag[:80]}"
        if run.tag != "run":
            self.refuse(parts[0], ("run", parts[0].tag), f"is inside run/{run.tag[:80]}: write it beside the other")
        for child in run:
            if (
                nodes.segment(("run",), child.tag) != ("run",)
                and _says_something(child)
                and _is_honoured(("run", child.tag))
            ):
                self.refuse(child, ("run", child.tag), f"is beside {first}: write it into the part of each site")

    def _check(self, element: ET.Element, place: tuple[str, ...]) -> None:
        """What a node lacks that PEcAn would have found in BETY."""
        if len(place) == 3 and place[:2] == ("run", "inputs") and element.find("path") is None:
            for tag, does in (("source", "downloads and converts nothing"), ("id", "looks no inputs up in BETY")):
                if element.find(tag) is not None:
                    self.refuse(element, place, f"has {tag} but no path: the light executor {does}; give the path")
        if place == ("run", "site"):
            for tag in ("lat", "lon"):
                if element.find(tag) is None:
                    self.refuse(element, place, f"has no {tag}: the light executor looks no sites up in BETY")
        if place == ("pfts", "pft") and not any(
            given.tag != "name" and _says_something(given) and _is_honoured((*place, given.tag)) for given in element
        ):
            self.refuse(
                element,
                place,
                "has no priors, posterior.files or constants: the light executor reads none from BETY; give one",
            )


def _says_something(element: ET.Element) -> bool:
    return len(element) > 0 or bool((element.text or "").strip())


def _is_honoured(place: tuple[str, ...]) -> bool:
    row = nodes.find(place)
    return nodes.has_rows_below(place) if row is None else row.verdict is Verdict.HONOURED


def _copy(element: ET.Element) -> ET.Element:
    copy = ET.Element(element.tag)
    copy.text = element.text
    copy.extend(_copy(child) for child in element)
    return copy


def _check_multisettings(root: ET.Element, made: _Adoption) -> None:
    for element in root.findall("multisettings"):
        names = {(leaf.text or "").strip() for leaf in element.iter()} - {"", "run"}
        if names:
            made.refuse(element, ("multisettings",), f"is {min(names)[:80]}: only run may differ between sites")


def _check_site_pfts(root: ET.Element, made: _Adoption) -> None:
    names = {(name.text or "").strip() for name in root.iterfind("pfts/pft/name")}
    for element in root.iterfind("run//site/site.pft"):
        given = {(leaf.text or "").strip() for leaf in element.iter()} - {""}
        if given and given != names:
            made.refuse(
                element,
                ("run", "site", "site.pft"),
                "does not name all PFTs, but every site has them all: make a workflow for each kind of site",
            )


def _complete_run(run: ET.Element, ours: Ours) -> None:
    for stop in run.findall("stop_on_error") if ours.stop_on_error is not None else ():
        run.remove(stop)
    for tag in ("start.date", "end.date"):
        for day in run.findall(tag):
            found = _DAY.fullmatch((day.text or "").strip())
            if found:
                day.text = f"{found[1]}-{found[2]:0>2}-{found[3]:0>2}"
    for site in run.findall("site"):
        name, site_id = site.find("name"), site.find("id")
        if name is None and site_id is not None:
            ET.SubElement(site, "name").text = site_id.text
        elif name is not None:
            name.text = " ".join((name.text or "").split())


def _set_ours(root: ET.Element, ours: Ours) -> None:
    ET.SubElement(root, "outdir").text = ours.folder
    model = root.find("model")
    if model is None:
        model = ET.SubElement(root, "model")
    for tag in ("id", "type", "revision", "binary"):
        for given in model.findall(tag):
            model.remove(given)
        ET.SubElement(model, tag).text = str(getattr(ours.model, tag))
    for host in root.findall("host"):
        root.remove(host)
    host = ET.SubElement(root, "host")
    ET.SubElement(host, "name").text = ours.hostname
    ET.SubElement(ET.SubElement(host, "rabbitmq"), "queue").text = ours.queue
    ET.SubElement(ET.SubElement(root, "workflow"), "id").text = str(ours.workflow_id)
