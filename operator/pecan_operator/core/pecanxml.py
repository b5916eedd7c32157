"""pecan.xml: PEcAn's settings of one workflow, as the operator renders them for the executor.

Node names are PEcAn's (base/settings). Three things are ours:

- `pft/priors`: `prior/{trait,distn,parama,paramb}` are distributions given with the workflow, with the column names of
  BETY's table `priors`; `csv` and `samples` are paths of tables. PEcAn itself reads BETY or `pft/posterior.files`.
- `ensemble/seed`, without an ensemble `sensitivity.analysis/seed`: what the draws depend on.
- `run/sites.csv`: as the operator renders it there may be `run/sites.csv` the path of a table in place of
  the sites. The step folder puts them in, so that the pecan.xml of a workflow's folder always has them.

There is no `database` node and no broker address: the file carries no secret.
"""

from __future__ import annotations

import hashlib
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from pecan_operator.errors import UserError

MULTI_ROOT = "pecan.multi"
"""Root node of settings with several sites (PEcAn's MultiSettings); one site has the root `pecan`."""

DEFAULT_SIGMA = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
MOST_SIGMA = 4.0
LEAST_QUANTILE = 0.00001
"""Beyond these, two quantiles could have the same name: PEcAn names them in per cent with three digits."""

PRERUN = ("model/prerun", "host/prerun")
POSTRUN = ("model/postrun", "host/postrun")
"""The nodes with code of users, in the order in which PEcAn's job.sh has them before and after the model."""

SAMPLING_METHODS = ("uniform", "lhc", "halton", "sobol", "torus")
"""How the parameter space of an ensemble can be sampled, by PEcAn's names."""

_XML_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
NOT_XML_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Site:
    """Latitude in degrees north, longitude in degrees east; `id` is the user's own. `inputs` are the paths, by input tag,
    that stand here instead of the workflow's; as many as there."""

    id: str
    name: str
    lat: float
    lon: float
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """Files of one input tag; `method` is how members choose among them: sampling or looping. With a `parent`, the tag of
    another input, a member's choice has the same number as there."""

    paths: Sequence[str]
    method: str = "sampling"
    parent: str | None = None


@dataclass(frozen=True)
class Prior:
    """A distribution by its name in R, with R's arguments in R's order."""

    distn: str
    parama: float
    paramb: float | None = None


@dataclass(frozen=True)
class Pft:
    """Priors and constants by PEcAn trait name, in PEcAn's units, and the paths of files with more of them: a table of
    priors, PEcAn's posterior files (a file or a folder), a table of samples."""

    name: str
    priors: Mapping[str, Prior] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    priors_csv: str | None = None
    posterior_files: str | None = None
    samples_csv: str | None = None


@dataclass(frozen=True)
class Ensemble:
    """`variables` are PEcAn standard names; the years bound the analysis, the run dates do when they are None."""

    size: int
    variables: Sequence[str]
    start_year: int | None = None
    end_year: int | None = None
    sampling_method: str = "uniform"
    seed: int | None = None


@dataclass(frozen=True)
class SensitivityAnalysis:
    """Each trait is varied to the quantiles of the probabilities pnorm(`sigma`) and `quantile`; the median is always
    among them. Variables and years as in Ensemble; the seed is that of the draws where there is no ensemble."""

    variables: Sequence[str]
    sigma: Sequence[float] = DEFAULT_SIGMA
    quantile: Sequence[float] = ()
    start_year: int | None = None
    end_year: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Model:
    """`id` is BETY's models.id; `binary` the command that job.sh calls."""

    id: int
    type: str
    revision: str
    binary: str


@dataclass(frozen=True)
class Settings:
    """Settings of one workflow; `start_date` and `end_date` are inclusive UTC days, `folder` is PEcAn's outdir. There is
    an ensemble, a sensitivity analysis or both. With `sites_csv`, the path of a table, there are no sites yet. `code` is
    that of users, lines of shell by node (PRERUN, POSTRUN)."""

    workflow_id: int
    folder: str
    hostname: str
    queue: str
    model: Model
    sites: Sequence[Site]
    start_date: date
    end_date: date
    inputs: Mapping[str, Input]
    pfts: Sequence[Pft]
    ensemble: Ensemble | None
    stop_on_error: bool
    delete_raw: bool = False
    sensitivity_analysis: SensitivityAnalysis | None = None
    sites_csv: str | None = None
    code: Mapping[str, str] = field(default_factory=dict)


def inputs_at(settings: Settings, site: Site) -> dict[str, Input]:
    """The inputs of a site: its own paths, the workflow's for the rest."""
    own = {tag: replace(settings.inputs.get(tag, Input(paths)), paths=paths) for tag, paths in site.inputs.items()}
    return {**settings.inputs, **own}


def chosen_at(settings: Settings, site: Site, chosen: Mapping[str, str]) -> dict[str, str]:
    """The paths that a member takes at a site, of those `chosen` by tag among the workflow's: there the one of the same
    number."""
    return {
        tag: site.inputs[tag][list(settings.inputs[tag].paths).index(path)] if tag in site.inputs else path
        for tag, path in chosen.items()
    }


def seed_of(uid: str) -> int:
    """The seed (0 to 2^31 - 1) of a workflow that names none: the same whenever it is asked for."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4]) >> 1


def render(settings: Settings) -> str:
    """The settings as pecan.xml.

    Raises UserError when a text cannot stand in XML or a name cannot be a node's name, naming the node, or when sites
    differ in which inputs they have, or in how many paths of one.
    """
    inputs = _same_choices(settings)
    root = ET.Element("pecan" if len(settings.sites) == 1 else MULTI_ROOT)
    _text(root, "outdir", settings.folder)
    pfts = ET.SubElement(root, "pfts")
    for pft in settings.pfts:
        _add_pft(pfts, pft)
    if settings.ensemble:
        _add_ensemble(root, settings.ensemble, inputs)
    if settings.sensitivity_analysis:
        _add_sensitivity_analysis(root, settings.sensitivity_analysis)
    model = ET.SubElement(root, "model")
    _text(model, "id", settings.model.id)
    _text(model, "type", settings.model.type)
    _text(model, "revision", settings.model.revision)
    _text(model, "binary", settings.model.binary)
    _text(model, "delete.raw", settings.delete_raw)
    _add_run(root, settings)
    host = ET.SubElement(root, "host")
    _text(host, "name", settings.hostname)
    _text(ET.SubElement(host, "rabbitmq"), "queue", settings.queue)
    for place, code in settings.code.items():
        parent, tag = place.split("/")
        _text(model if parent == "model" else host, tag, code)
    _text(ET.SubElement(root, "workflow"), "id", settings.workflow_id)
    if root.tag == MULTI_ROOT:
        _text(ET.SubElement(root, "multisettings"), "multisettings", "run")
    return as_text(root)


def as_text(root: ET.Element) -> str:
    """Settings as the text of a file, a node a line."""
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_pft(parent: ET.Element, pft: Pft) -> None:
    node = ET.SubElement(parent, "pft")
    _text(node, "name", pft.name)
    if pft.constants:
        constants = ET.SubElement(node, "constants")
        for name, value in pft.constants.items():
            _text(constants, _node_name(name, "pfts/pft/constants"), value)
    if pft.posterior_files is not None:
        _text(node, "posterior.files", pft.posterior_files)
    if pft.priors or pft.priors_csv is not None or pft.samples_csv is not None:
        priors = ET.SubElement(node, "priors")
        for trait, prior in pft.priors.items():
            item = ET.SubElement(priors, "prior")
            _text(item, "trait", trait)
            _text(item, "distn", prior.distn)
            _text(item, "parama", prior.parama)
            if prior.paramb is not None:
                _text(item, "paramb", prior.paramb)
        if pft.priors_csv is not None:
            _text(priors, "csv", pft.priors_csv)
        if pft.samples_csv is not None:
            _text(priors, "samples", pft.samples_csv)


def _add_ensemble(parent: ET.Element, ensemble: Ensemble, inputs: Mapping[str, Input]) -> None:
    node = ET.SubElement(parent, "ensemble")
    _text(node, "size", ensemble.size)
    _add_analysed(node, ensemble)
    space = ET.SubElement(node, "samplingspace")
    _text(ET.SubElement(space, "parameters"), "method", ensemble.sampling_method)
    for tag, choice in inputs.items():
        way = ET.SubElement(space, _node_name(tag, "run/inputs"))
        _text(way, "method", choice.method)
        if choice.parent is not None:
            _text(way, "parent", choice.parent)


def _add_sensitivity_analysis(parent: ET.Element, analysis: SensitivityAnalysis) -> None:
    node = ET.SubElement(parent, "sensitivity.analysis")
    quantiles = ET.SubElement(node, "quantiles")
    for sigma in analysis.sigma:
        _text(quantiles, "sigma", sigma)
    for quantile in analysis.quantile:
        _text(quantiles, "quantile", quantile)
    _add_analysed(node, analysis)


def _add_analysed(node: ET.Element, what: Ensemble | SensitivityAnalysis) -> None:
    for variable in what.variables:
        _text(node, "variable", variable)
    if what.start_year is not None:
        _text(node, "start.year", what.start_year)
    if what.end_year is not None:
        _text(node, "end.year", what.end_year)
    if what.seed is not None:
        _text(node, "seed", what.seed)


def _add_run(parent: ET.Element, settings: Settings) -> None:
    run = ET.SubElement(parent, "run")
    if settings.sites_csv is not None:
        _text(run, "sites.csv", settings.sites_csv)
        _add_inputs(run, settings, settings.inputs)
    several = len(settings.sites) != 1
    for number, site in enumerate(settings.sites, start=1):
        node = ET.SubElement(run, f"settings.{number}") if several else run
        _add_site(node, site, settings)
        _add_inputs(node, settings, inputs_at(settings, site))


def _add_inputs(node: ET.Element, settings: Settings, given: Mapping[str, Input]) -> None:
    inputs = ET.SubElement(node, "inputs")
    for tag, choice in given.items():
        paths = ET.SubElement(ET.SubElement(inputs, _node_name(tag, "run/inputs")), "path")
        if len(choice.paths) == 1:
            paths.text = _clean(choice.paths[0], f"run/inputs/{tag}/path")
        else:
            for index, path in enumerate(choice.paths, start=1):
                _text(paths, f"path{index}", path)
    _text(node, "start.date", settings.start_date.isoformat())
    _text(node, "end.date", settings.end_date.isoformat())
    _text(node, "stop_on_error", settings.stop_on_error)


def _same_choices(settings: Settings) -> dict[str, Input]:
    """The inputs of the first site, of which members choose the same number at every site; without sites, the
    workflow's."""
    if not settings.sites:
        return dict(settings.inputs)
    first, *others = settings.sites
    inputs = inputs_at(settings, first)
    for site in others:
        here = inputs_at(settings, site)
        for tag in sorted(inputs.keys() ^ here.keys()):
            lacking, having = (site, first) if tag in inputs else (first, site)
            raise UserError(
                "InvalidSettings",
                f"site {lacking.id} has no input {tag}, site {having.id} has: give it to all, or inputs.{tag}",
            )
        for tag, choice in here.items():
            if len(choice.paths) != len(inputs[tag].paths):
                raise UserError(
                    "InvalidSettings",
                    f"site {site.id} has {len(choice.paths)} path(s) of the input {tag}, site {first.id} "
                    f"{len(inputs[tag].paths)}: give every site as many",
                )
    return inputs


def _add_site(parent: ET.Element, site: Site, settings: Settings) -> None:
    node = ET.SubElement(parent, "site")
    _text(node, "id", site.id)
    _text(node, "name", site.name)
    _text(node, "lat", site.lat)
    _text(node, "lon", site.lon)
    _text(node, "met.start", settings.start_date.isoformat())
    _text(node, "met.end", settings.end_date.isoformat())


def _text(parent: ET.Element, tag: str, value: str | float | bool) -> None:
    if isinstance(value, bool):
        text = str(value).upper()
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise UserError("InvalidSettings", f"{parent.tag}/{tag} must be a finite number, not {value}")
        text = repr(value)
    else:
        text = _clean(str(value), f"{parent.tag}/{tag}")
    ET.SubElement(parent, tag).text = text


def _clean(text: str, place: str) -> str:
    if NOT_XML_TEXT.search(text):
        raise UserError("InvalidSettings", f"{place} holds a character that XML cannot carry: {text[:80]!r}")
    return text.strip()


def _node_name(name: str, place: str) -> str:
    if not _XML_NAME.fullmatch(name):
        raise UserError("InvalidSettings", f"{place}: {name!r} must be letters, digits, '_', '.', '-', no digit first")
    return name
