"""What becomes of each node of a user's pecan.xml: the one table, which docs/pecan-xml.md repeats.

SET and DROPPED hold whoever runs the workflow; HONOURED, IGNORED and REFUSED are what the light executor does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What becomes of a node and all below it."""

    SET = "always set by us"
    DROPPED = "dropped"
    HONOURED = "honoured"
    IGNORED = "ignored, named in the condition SettingsIgnored"
    REFUSED = "refused"


@dataclass(frozen=True)
class Node:
    """A row of the table. `path` is below the root, `*` stands for any one node; what PEcAn calls the parts of
    several sites, `run/settings.N` or `run/site.ID`, counts as `run`.

    `why` completes the verdict for people; of a refused node it is what to do.
    """

    path: str
    verdict: Verdict
    why: str
    is_path: bool = False
    """Whether it holds a path on the data volume, alone or in child nodes."""


_REMOVE = "remove the node"
_CODE = "it is code of your own, which the platform does not run: remove the node"

NODES = (
    Node("outdir", Verdict.SET, "the workflow's folder"),
    Node("workflow", Verdict.SET, "the id the workflow gets; with another one PEcAn would register it again"),
    Node("database", Verdict.SET, "the light executor has no use for it, and the file carries no secret: left out"),
    Node("bety", Verdict.DROPPED, "an old place of `database/bety`"),
    Node("host/name", Verdict.SET, "the platform's host name"),
    Node("host/rabbitmq", Verdict.SET, "the queue of the model of `modelRef`"),
    Node("host/prerun", Verdict.REFUSED, _CODE),
    Node("host/postrun", Verdict.REFUSED, _CODE),
    Node("host/*", Verdict.DROPPED, "`qsub`, `modellauncher` and the like: the workers run the model"),
    Node("rundir", Verdict.DROPPED, "always `run` in the workflow's folder"),
    Node("modeloutdir", Verdict.DROPPED, "always `out` in the workflow's folder"),
    Node("email", Verdict.DROPPED, "nothing is mailed: wait for the PecanWorkflow"),
    Node("settings.info", Verdict.DROPPED, "a saved file says `checked`, and would not be checked again"),
    Node("info", Verdict.DROPPED, "notes for people, which no program reads"),
    Node("pfts/pft/name", Verdict.HONOURED, ""),
    Node("pfts/pft/constants/*", Verdict.HONOURED, "a constant wins over a prior of the same name"),
    Node("pfts/pft/priors/prior/trait", Verdict.HONOURED, "ours, with the columns of BETY's table `priors`"),
    Node("pfts/pft/priors/prior/distn", Verdict.HONOURED, ""),
    Node("pfts/pft/priors/prior/parama", Verdict.HONOURED, ""),
    Node("pfts/pft/priors/prior/paramb", Verdict.HONOURED, ""),
    Node("pfts/pft/priors/csv", Verdict.HONOURED, "ours, a table of distributions", is_path=True),
    Node("pfts/pft/priors/samples", Verdict.HONOURED, "ours, a table of samples", is_path=True),
    Node("pfts/pft/posterior.files", Verdict.HONOURED, "a file or a folder of them", is_path=True),
    Node("pfts/pft/outdir", Verdict.IGNORED, "no posteriors are looked for there"),
    Node("pfts/pft/posteriorid", Verdict.IGNORED, "BETY's posteriors are not read"),
    Node("meta.analysis", Verdict.REFUSED, "give its result as `pft/priors`, and remove the node"),
    Node("ensemble/ensemble.id", Verdict.DROPPED, "a saved file has the id of the ensemble it was saved of"),
    Node("ensemble/size", Verdict.HONOURED, "1 if left out, as in PEcAn"),
    Node("ensemble/variable", Verdict.HONOURED, "those of `sensitivity.analysis` if left out, as in PEcAn"),
    Node("ensemble/start.year", Verdict.HONOURED, ""),
    Node("ensemble/end.year", Verdict.HONOURED, ""),
    Node("ensemble/seed", Verdict.HONOURED, "ours; follows from the workflow's uid if left out"),
    Node("ensemble/samplingspace/*/parent", Verdict.HONOURED, "of inputs, the tag of another one"),
    Node(
        "ensemble/samplingspace/*/method",
        Verdict.HONOURED,
        "of `parameters`, and of inputs by their tag; `ignored` of one that `run/inputs` has not",
    ),
    Node("sensitivity.analysis/ensemble.id", Verdict.DROPPED, "as `ensemble/ensemble.id`"),
    Node("sensitivity.analysis/quantiles/sigma", Verdict.HONOURED, "-3 to 3 if there are no quantiles, as in PEcAn"),
    Node("sensitivity.analysis/quantiles/quantile", Verdict.HONOURED, ""),
    Node("sensitivity.analysis/variable", Verdict.HONOURED, "those of `ensemble` if left out, as in PEcAn"),
    Node("sensitivity.analysis/start.year", Verdict.HONOURED, ""),
    Node("sensitivity.analysis/end.year", Verdict.HONOURED, ""),
    Node("sensitivity.analysis/seed", Verdict.HONOURED, "ours; ignored beside an ensemble, whose seed counts for both"),
    Node("sensitivity.analysis/perpft", Verdict.HONOURED, "TRUE is refused: outputs by PFT are not read"),
    Node("model/id", Verdict.SET, "the id of the model of `modelRef` in this platform's database"),
    Node("model/type", Verdict.HONOURED, "must be that of the model of `modelRef`"),
    Node("model/revision", Verdict.HONOURED, "must be that of the model of `modelRef`"),
    Node("model/binary", Verdict.HONOURED, "must be that of the model of `modelRef`"),
    Node("model/delete.raw", Verdict.HONOURED, ""),
    Node("model/prerun", Verdict.REFUSED, _CODE),
    Node("model/postrun", Verdict.REFUSED, _CODE),
    Node("model/job.sh", Verdict.REFUSED, _CODE),
    Node("model/jobtemplate", Verdict.REFUSED, "the model's own command is run: remove the node"),
    Node("model/binary_args", Verdict.REFUSED, "the model's own command is run: remove the node"),
    Node("run/site/id", Verdict.HONOURED, ""),
    Node("run/site/name", Verdict.HONOURED, "the id if left out"),
    Node("run/site/lat", Verdict.HONOURED, "required: sites are not looked up in BETY"),
    Node("run/site/lon", Verdict.HONOURED, "required: sites are not looked up in BETY"),
    Node("run/site/met.start", Verdict.SET, "`run/start.date`"),
    Node("run/site/met.end", Verdict.SET, "`run/end.date`"),
    Node("run/site/site.pft", Verdict.HONOURED, "must name all PFTs, for every site has them all"),
    Node("run/inputs/*/path", Verdict.HONOURED, "required: inputs are not looked up in BETY", is_path=True),
    Node("run/inputs/*/source", Verdict.IGNORED, "refused without `path`: nothing is downloaded or converted"),
    Node("run/inputs/*/id", Verdict.IGNORED, "refused without `path`: inputs are not looked up in BETY"),
    Node("run/start.date", Verdict.HONOURED, "whole days; the same at all sites"),
    Node("run/end.date", Verdict.HONOURED, "whole days, inclusive; the same at all sites"),
    Node("run/stop_on_error", Verdict.HONOURED, "`spec.stopOnError` wins over it; the same at every site"),
    Node("run/dbfiles", Verdict.DROPPED, "an old place of `database/dbfiles`"),
    Node("run/host", Verdict.DROPPED, "an old place of `host`"),
    Node("sitegroup", Verdict.REFUSED, "BETY's groups of sites are not read: write the sites out as `run/settings.N`"),
    Node("multisettings", Verdict.SET, "only `run` may differ between sites"),
    Node("assim.batch", Verdict.REFUSED, _REMOVE),
    Node("state.data.assimilation", Verdict.REFUSED, _REMOVE),
    Node("benchmarking", Verdict.IGNORED, "outputs are compared with nothing"),
)
"""In the order of precedence: the first row that fits holds. A node that no row fits is IGNORED."""

_SITE = re.compile(r"settings\.[0-9]+|site\.[A-Za-z0-9_.-]+")


@dataclass
class _Branch:
    """The rows as a tree, for a pecan.xml has up to 50,000 nodes; `row` is the number of the row that ends here."""

    below: dict[str, _Branch] = field(default_factory=dict)
    row: int | None = None


def _tree() -> _Branch:
    root = _Branch()
    for number, node in enumerate(NODES):
        branch = root
        for tag in node.path.split("/"):
            branch = branch.below.setdefault(tag, _Branch())
        branch.row = number
    return root


_TREE = _tree()


def segment(parent: tuple[str, ...], tag: str) -> tuple[str, ...]:
    """The place of a child; the part of one site among several has the place of the run."""
    return parent if parent == ("run",) and _SITE.fullmatch(tag) else (*parent, tag)


def find(place: tuple[str, ...]) -> Node | None:
    """The row of a place; None when there is none."""
    rows = [branch.row for branch in _branches(place) if branch.row is not None]
    return NODES[min(rows)] if rows else None


def has_rows_below(place: tuple[str, ...]) -> bool:
    """Whether what becomes of a node is said of the nodes below it."""
    return any(branch.below for branch in _branches(place))


def _branches(place: tuple[str, ...]) -> list[_Branch]:
    branches = [_TREE]
    for tag in place:
        branches = [branch.below[key] for branch in branches for key in (tag, "*") if key in branch.below]
    return branches
