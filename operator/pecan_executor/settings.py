"""Reads pecan.xml, as the operator renders it (pecan_operator.core.pecanxml) or as PEcAn users write it.

Nodes that do not change what the light framework does are ignored, as PEcAn ignores them; nodes that ask for something
it cannot do are refused by name.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NoReturn

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from pecan_executor import distributions
from pecan_executor.numerals import finite, whole
from pecan_operator.core.pecanxml import (
    DEFAULT_SIGMA,
    LEAST_QUANTILE,
    MOST_SIGMA,
    SAMPLING_METHODS,
    Ensemble,
    Input,
    Model,
    Pft,
    Prior,
    SensitivityAnalysis,
    Settings,
    Site,
)
from pecan_operator.errors import UserError

_NOT_SUPPORTED = ("meta.analysis", "assim.batch", "state.data.assimilation")
_INPUT_METHODS = ("sampling", "looping")


def read(path: Path) -> Settings:
    """The settings in a file; raises UserError naming the node that is wrong."""
    return parse(read_text(path))


def read_text(path: Path) -> str:
    """A file with settings; raises UserError when there is none."""
    try:
        return path.read_text()
    except FileNotFoundError:
        raise UserError("SettingsMissing", f"{path} is missing: run the step folder first") from None


def parse(text: str | bytes) -> Settings:
    """The settings in a document; raises UserError naming the node that is wrong."""
    try:
        root = _Node(fromstring(text), "")
    except ET.ParseError as error:
        _refuse(f"is not well-formed XML: {error}")
    except DefusedXmlException:
        _refuse("holds an entity or a document type, which is not accepted: write the text out")
    if root.tag not in ("pecan", "pecan.multi"):
        _refuse(f"starts with <{root.tag}>, not with <pecan>")
    for name in _NOT_SUPPORTED:
        if root.find(name):
            _refuse(f"{name} is not supported by the light framework: remove the node")
    run = root.one("run")
    runs = [node for node in run.children() if node.tag.startswith("settings.")] or [run]
    ensemble, sensitivity = root.find("ensemble"), root.find("sensitivity.analysis")
    if ensemble is None and sensitivity is None:
        _refuse(f"{root.place} has neither ensemble nor sensitivity.analysis: there is nothing to run")
    model = root.one("model")
    start, end = _same_dates(runs)
    table = run.find("sites.csv")
    sites, inputs = ((), _inputs(runs, ensemble)[0]) if table else _sites(runs, ensemble)
    delete_raw = model.find("delete.raw")
    return Settings(
        workflow_id=root.one("workflow").one("id").whole(minimum=1),
        folder=root.one("outdir").absolute_path(),
        hostname=root.one("host").one("name").text(),
        queue=root.one("host").one("rabbitmq").one("queue").text(),
        model=Model(
            id=model.one("id").whole(minimum=1),
            type=model.one("type").text(),
            revision=model.one("revision").text(),
            binary=model.one("binary").absolute_path(),
        ),
        sites=sites,
        start_date=start,
        end_date=end,
        inputs=inputs,
        pfts=_pfts(root.one("pfts")),
        ensemble=_ensemble(ensemble, sensitivity, start.year, end.year) if ensemble else None,
        stop_on_error=_stop_on_error(runs, ensemble, sensitivity),
        delete_raw=delete_raw.flag() if delete_raw else False,
        sensitivity_analysis=_sensitivity_analysis(sensitivity, ensemble, start.year, end.year)
        if sensitivity
        else None,
        sites_csv=table.absolute_path() if table else None,
    )


def _refuse(what: str) -> NoReturn:
    raise UserError("BadSettings", f"pecan.xml {what[:900]}")


class _Node:
    """A node that knows its place in the document, for messages."""

    def __init__(self, element: ET.Element, parent: str) -> None:
        self._element = element
        self.tag = element.tag
        self.place = f"{parent}/{element.tag}" if parent else element.tag

    def children(self) -> Iterator[_Node]:
        return (_Node(child, self.place) for child in self._element if isinstance(child.tag, str))

    def all(self, tag: str) -> list[_Node]:
        return [node for node in self.children() if node.tag == tag]

    def find(self, tag: str) -> _Node | None:
        nodes = self.all(tag)
        if len(nodes) > 1:
            _refuse(f"{nodes[0].place} is given {len(nodes)} times")
        return nodes[0] if nodes else None

    def one(self, tag: str) -> _Node:
        node = self.find(tag)
        if node is None:
            _refuse(f"{self.place}/{tag} is missing")
        return node

    def text(self) -> str:
        text = (self._element.text or "").strip()
        if not text:
            _refuse(f"{self.place} is empty")
        return text

    def absolute_path(self) -> str:
        text = self.text()
        if not text.startswith("/"):
            _refuse(f"{self.place} must be an absolute path, not {text!r}")
        return text

    def whole(self, minimum: int) -> int:
        text = self.text()
        value = whole(text)
        if value is None or value < minimum:
            _refuse(f"{self.place} must be a whole number of at least {minimum}, not {text!r}")
        return value

    def number(self, limit: float = math.inf) -> float:
        text = self.text()
        value = finite(text)
        if value is None or abs(value) > limit:
            between = "" if limit == math.inf else f" from {-limit:g} to {limit:g}"
            _refuse(f"{self.place} must be a number{between}, not {text!r}")
        return value

    def flag(self) -> bool:
        text = self.text().upper()
        if text not in ("TRUE", "FALSE", "T", "F"):
            _refuse(f"{self.place} must be TRUE or FALSE, not {self.text()!r}")
        return text.startswith("T")

    def day(self) -> date:
        text = self.text()
        try:
            return date.fromisoformat(text.replace("/", "-"))
        except ValueError:
            _refuse(f"{self.place} must be a day YYYY-MM-DD, not {text!r}")

    def choice(self, allowed: tuple[str, ...]) -> str:
        text = self.text()
        if text not in allowed:
            _refuse(f"{self.place} must be {' or '.join(allowed)}, not {text!r}")
        return text


def _same_dates(runs: list[_Node]) -> tuple[date, date]:
    dates = {(node.one("start.date").day(), node.one("end.date").day()) for node in runs}
    if len(dates) > 1:
        _refuse("run/settings.N have different dates; the light framework runs all sites over the same days")
    start, end = dates.pop()
    if end < start:
        _refuse(f"{runs[0].place}/end.date {end} is before start.date {start}")
    return start, end


def _sites(runs: list[_Node], ensemble: _Node | None) -> tuple[tuple[Site, ...], dict[str, Input]]:
    """The sites, and the inputs of the first; the others have paths of their own where theirs are not the same."""
    sites: dict[str, Site] = {}
    given = _inputs(runs, ensemble)
    if "met" not in given[0]:
        _refuse(f"{runs[0].place}/inputs/met is missing: name the weather the model reads")
    for node, inputs in zip(runs, given, strict=True):
        site = node.one("site")
        site_id = site.one("id").text()
        if site_id in sites:
            _refuse(f"{site.place}/id {site_id!r} is given twice")
        sites[site_id] = Site(
            id=site_id,
            name=site.one("name").text(),
            lat=site.one("lat").number(limit=90),
            lon=site.one("lon").number(limit=180),
            inputs=_own_paths(node, inputs, given[0]),
        )
    return tuple(sites.values()), given[0]


def _own_paths(node: _Node, inputs: dict[str, Input], first: dict[str, Input]) -> dict[str, tuple[str, ...]]:
    if inputs == first:
        return {}
    for tag in sorted(inputs.keys() ^ first.keys()):
        _refuse(f"{node.place}/inputs/{tag} is not at every site: give it in all run/settings.N or in none")
    own: dict[str, tuple[str, ...]] = {}
    for tag, choice in inputs.items():
        if choice == first[tag]:
            continue
        numbers = len(choice.paths), len(first[tag].paths)
        if numbers[0] != numbers[1]:
            _refuse(f"{node.place}/inputs/{tag} has {numbers[0]} path(s), the first site's {numbers[1]}: give as many")
        if len(set(first[tag].paths)) < numbers[1]:
            _refuse(f"{node.place}/inputs/{tag} differs from that of the first site, which has the same path twice")
        own[tag] = tuple(choice.paths)
    return own


def _inputs(runs: list[_Node], ensemble: _Node | None) -> list[dict[str, Input]]:
    """The inputs of each node."""
    space = ensemble.find("samplingspace") if ensemble else None
    found: list[dict[str, Input]] = []
    for node in runs:
        inputs: dict[str, Input] = {}
        for tag in node.one("inputs").children():
            if tag.tag in inputs:
                _refuse(f"{tag.place} is given twice")
            path = tag.one("path")
            paths = tuple(item.absolute_path() for item in path.children()) or (path.absolute_path(),)
            inputs[tag.tag] = _input(tag.tag, paths, space)
        found.append(inputs)
    if space:
        _check_parents(found[0], space.place)
    return found


def _input(tag: str, paths: tuple[str, ...], space: _Node | None) -> Input:
    """As in PEcAn: without a samplingspace the weather is sampled, and of an input that it does not name the first path
    is taken."""
    way = space.find(tag) if space else None
    if way is None:
        return Input(paths if tag == "met" and space is None else paths[:1])
    parent = way.find("parent")
    method = way.find("method") if parent else way.one("method")
    return Input(paths, method.choice(_INPUT_METHODS) if method else "sampling", parent.text() if parent else None)


def _check_parents(inputs: dict[str, Input], place: str) -> None:
    for tag, choice in inputs.items():
        if choice.parent is None:
            continue
        parent = inputs.get(choice.parent)
        if parent is None or parent.parent is not None:
            _refuse(f"{place}/{tag}/parent {choice.parent!r} must be an input of run/inputs that has no parent itself")
        if len(parent.paths) != len(choice.paths):
            _refuse(
                f"{place}/{tag}: run/inputs/{tag} has {len(choice.paths)} paths, its parent {choice.parent} "
                f"{len(parent.paths)}; members take the same number from both"
            )


def _pfts(node: _Node) -> tuple[Pft, ...]:
    pfts: dict[str, Pft] = {}
    for pft in node.all("pft"):
        name = pft.one("name").text()
        if name in pfts:
            _refuse(f"{pft.place}/name {name!r} is given twice")
        constants: dict[str, float] = {}
        constants_node = pft.find("constants")
        for constant in constants_node.children() if constants_node else ():
            if constant.tag in constants:
                _refuse(f"{constant.place} is given twice")
            constants[constant.tag] = constant.number()
        pfts[name] = Pft(
            name,
            _priors(pft),
            constants,
            priors_csv=_path(pft.find("priors"), "csv"),
            posterior_files=_path(pft, "posterior.files"),
            samples_csv=_path(pft.find("priors"), "samples"),
        )
    if not pfts:
        _refuse(f"{node.place}/pft is missing: name at least one plant functional type")
    return tuple(pfts.values())


def _path(parent: _Node | None, tag: str) -> str | None:
    node = parent.find(tag) if parent else None
    return node.absolute_path() if node else None


def _priors(pft: _Node) -> dict[str, Prior]:
    priors: dict[str, Prior] = {}
    parent = pft.find("priors")
    for node in parent.all("prior") if parent else ():
        trait = node.one("trait").text()
        if trait in priors:
            _refuse(f"{node.place}/trait {trait!r} is given twice")
        second = node.find("paramb")
        prior = Prior(node.one("distn").text(), node.one("parama").number(), second.number() if second else None)
        problem = distributions.problem(prior)
        if problem:
            _refuse(f"{node.place} of {trait}: {problem}")
        priors[trait] = prior
    return priors


def _ensemble(node: _Node, other: _Node | None, first_year: int, last_year: int) -> Ensemble:
    space = node.find("samplingspace")
    parameters = space.find("parameters") if space else None
    seed = node.find("seed")
    start_year, end_year = _years(node, first_year, last_year)
    return Ensemble(
        size=node.one("size").whole(minimum=1),
        variables=_variables(node, other),
        start_year=start_year,
        end_year=end_year,
        sampling_method=parameters.one("method").choice(SAMPLING_METHODS) if parameters else "uniform",
        seed=seed.whole(minimum=0) if seed else None,
    )


def _sensitivity_analysis(node: _Node, other: _Node | None, first_year: int, last_year: int) -> SensitivityAnalysis:
    perpft = node.find("perpft")
    if perpft and perpft.flag():
        _refuse(f"{perpft.place} TRUE is not supported by the light framework: remove the node")
    quantiles = node.find("quantiles")
    sigma = tuple(one.number(limit=MOST_SIGMA) for one in quantiles.all("sigma")) if quantiles else ()
    quantile = tuple(one.number() for one in quantiles.all("quantile")) if quantiles else ()
    for value in quantile:
        if not LEAST_QUANTILE <= value <= 1 - LEAST_QUANTILE:
            _refuse(
                f"{node.place}/quantiles/quantile must be a probability from {LEAST_QUANTILE:.5f} to "
                f"{1 - LEAST_QUANTILE:.5f}, not {value:g}"
            )
    if (sigma or quantile) and not any(sigma) and set(quantile) <= {0.5}:
        _refuse(f"{node.place}/quantiles has the median alone: give another sigma or quantile")
    start_year, end_year = _years(node, first_year, last_year)
    seed = node.find("seed")
    return SensitivityAnalysis(
        variables=_variables(node, other),
        sigma=sigma if sigma or quantile else DEFAULT_SIGMA,
        quantile=quantile,
        start_year=start_year,
        end_year=end_year,
        seed=seed.whole(minimum=0) if seed else None,
    )


def _variables(node: _Node, other: _Node | None) -> tuple[str, ...]:
    """As in PEcAn, ensemble and sensitivity analysis take each other's variables where they have none."""
    given = node.all("variable") or (other.all("variable") if other else [])
    variables = tuple(dict.fromkeys(variable.text() for variable in given))
    if not variables:
        _refuse(f"{node.place}/variable is missing: name at least one output variable, for instance GPP")
    return variables


def _years(node: _Node, first_year: int, last_year: int) -> tuple[int | None, int | None]:
    years: list[int | None] = []
    for tag in ("start.year", "end.year"):
        year = node.find(tag)
        years.append(year.whole(minimum=first_year) if year else None)
        if year and year.whole(minimum=first_year) > last_year:
            _refuse(f"{year.place} {year.text()} lies outside the run, which ends in {last_year}")
    start_year, end_year = years
    if start_year is not None and end_year is not None and end_year < start_year:
        _refuse(f"{node.place}/end.year {end_year} is before start.year {start_year}")
    return start_year, end_year


def _stop_on_error(runs: list[_Node], ensemble: _Node | None, sensitivity: _Node | None) -> bool:
    one_run = len(runs) == 1 and ensemble is not None and ensemble.one("size").whole(minimum=1) == 1
    given = [node.find("stop_on_error") for node in runs]
    stops = [node.flag() if node else one_run and sensitivity is None for node in given]
    for node, stop in zip(runs, stops, strict=True):
        if stop != stops[0]:
            _refuse(
                f"{node.place}/stop_on_error is another than that of {runs[0].place}, but a workflow stops with all its "
                "sites or with none: give the same at every site, or spec.stopOnError"
            )
    return stops[0]
