"""PecanWorkflow: an ensemble of runs of one model, from settings to results."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from pecan_operator.api.base import (
    ApiModel,
    AsSet,
    Atomic,
    Bound,
    Column,
    Conditions,
    Definition,
    Extra,
    ObjectName,
    ObjectRef,
    Resource,
    Rule,
    Status,
    condition_message,
    immutable,
    keyed_by,
    rule,
    rules,
    text,
    unchanged,
)
from pecan_operator.records import MOST_RUNS

_STAYS = "cannot be changed once the workflow exists: make a new PecanWorkflow"
Fixed = immutable(_STAYS)

Day = Annotated[date, Extra({"pattern": "^[12][0-9]{3}-[0-9]{2}-[0-9]{2}$", "maxLength": 10})]
Year = Annotated[int, Field(ge=1000, le=2999)]
SiteId = Annotated[
    str,
    *text(
        r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        "must be a text of letters, digits, '.', '_' and '-', such as \"772\" or NL-Loo",
        64,
    ),
]
SiteName = Annotated[
    str,
    *text(
        r"^[^\x00-\x20\x7f-\x9f]+( [^\x00-\x20\x7f-\x9f]+)*$", "must be printable words with single spaces between", 255
    ),
]
InputTag = Annotated[
    str,
    *text(r"^[a-z][a-z0-9_]*$", "must be a PEcAn input tag in lower case, such as met, soil or poolinitcond", 64),
]
_BELOW_DATA = r"(/(\.?[A-Za-z0-9_+=:@,%~-]|\.\.[A-Za-z0-9._+=:@,%~-])[A-Za-z0-9._+=:@,%~-]*)"
_UNDER_DATA = rf"^/data{_BELOW_DATA}+$"
_LENGTH, _CHECK, _RULE = text(
    _UNDER_DATA,
    "must be an absolute path under /data without '..', spaces or empty parts, such as /data/met/loobos/Loobos",
    512,
)
DataPath = Annotated[str, _LENGTH, _CHECK, _RULE]
# A rule for every path of every site would cost more than the API server allows a CRD; a pattern costs nothing.
SitePath = Annotated[str, _LENGTH, _CHECK, Extra({"pattern": _UNDER_DATA})]
DataFolder = Annotated[
    str,
    *text(
        rf"^/data{_BELOW_DATA}*$",
        "must be /data or a folder under it, as an absolute path without '..', spaces or empty parts, such as /data/met",
        512,
    ),
]
PftName = Annotated[
    str,
    *text(
        r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        "must be the name of a PFT: letters, digits, '.', '_' and '-', such as temperate.coniferous",
        128,
    ),
]
VariableName = Annotated[
    str,
    *text(
        r"^[A-Za-z][A-Za-z0-9_.]*$",
        "must be a PEcAn name: letters, digits, '_' and '.', beginning with a letter, such as SLA or NEE",
        64,
    ),
]


class SiteInput(ApiModel):
    """The files of one input at one site."""

    paths: Annotated[tuple[SitePath, ...], Field(min_length=1, max_length=100), AsSet]
    """Like inputs.<tag>.paths; as many at every site. A member that has its third path at one site has it at all."""


class Site(ApiModel):
    """A place that is simulated."""

    id: SiteId
    """BETY sites.id or an id of your own, as text. Unique in the workflow."""
    name: SiteName
    """Name of the site, BETY sites.sitename."""
    lat: Annotated[float, Field(ge=-90, le=90)]
    """Latitude, degrees north."""
    lon: Annotated[float, Field(ge=-180, le=180)]
    """Longitude, degrees east."""
    inputs: dict[InputTag, SiteInput] = Field({}, max_length=10)
    """Input files of this site by PEcAn's input tag, instead of those in the workflow's inputs."""


class Input(ApiModel):
    """Alternative files for one input."""

    paths: Annotated[tuple[DataPath, ...], Field(min_length=1, max_length=100), AsSet]
    """Files under /data, or prefixes P for which P.<year>.nc exist. With several, members are given one each."""
    method: Literal["sampling", "looping"] = "sampling"
    """How members get one of several paths: sampling draws one for each member, looping takes them in turn."""
    parent: InputTag | None = None
    """Another input, with as many paths: a member that has its third path gets the third here, whatever the method."""


_ONE_PARAMETER = "self.distn in ['exp', 'chisq', 't', 'geom', 'pois']"


def _prior(distributions: str, holds: str, message: str, path: str) -> Rule:
    return rule(f"!(self.distn in [{distributions}]) || {holds}", message, path=path)


class Prior(
    ApiModel,
    json_schema_extra=rules(
        rule(
            f"{_ONE_PARAMETER} || has(self.paramb)",
            "paramb is required: of the distributions only exp, chisq, t, geom and pois have a single parameter",
            path=".paramb",
            reason="FieldValueRequired",
        ),
        rule(
            f"!({_ONE_PARAMETER}) || !has(self.paramb)",
            "paramb is not allowed: exp (rate), chisq (df), t (df), geom (prob) and pois (lambda) have only parama",
            path=".paramb",
            reason="FieldValueForbidden",
        ),
        _prior(
            "'unif'",
            "!has(self.paramb) || self.parama < self.paramb",
            "unif (parama = minimum, paramb = maximum) needs parama < paramb",
            ".parama",
        ),
        _prior(
            "'norm', 'lnorm', 'logis', 'cauchy'",
            "!has(self.paramb) || self.paramb > 0.0",
            "paramb must be greater than 0: it is the sd of norm, the sdlog of lnorm, the scale of logis and cauchy",
            ".paramb",
        ),
        _prior(
            "'gamma', 'beta', 'weibull', 'exp', 'chisq', 't', 'pois', 'nbinom'",
            "self.parama > 0.0",
            "parama must be greater than 0: it is a shape (gamma, beta, weibull), rate (exp), df (chisq, t), lambda (pois) "
            "or size (nbinom)",
            ".parama",
        ),
        _prior(
            "'gamma', 'beta', 'weibull'",
            "!has(self.paramb) || self.paramb > 0.0",
            "paramb must be greater than 0: it is the rate of gamma, shape2 of beta, the scale of weibull",
            ".paramb",
        ),
        _prior(
            "'binom', 'nbinom'",
            "!has(self.paramb) || (self.paramb > 0.0 && self.paramb <= 1.0)",
            "paramb must be greater than 0 and at most 1: it is prob, the chance of a success",
            ".paramb",
        ),
        _prior(
            "'geom'",
            "(self.parama > 0.0 && self.parama <= 1.0)",
            "parama must be greater than 0 and at most 1: it is prob, the chance of a success",
            ".parama",
        ),
        _prior(
            "'binom'",
            "(self.parama >= 1.0 && self.parama <= 1000000.0 && double(int(self.parama)) == self.parama)",
            "parama must be a whole number from 1 to 1000000: it is size, the number of trials",
            ".parama",
        ),
    ),
):
    """The distribution of a trait, named and parameterised as in R and in BETY's table priors."""

    distn: Literal[
        "unif",
        "norm",
        "lnorm",
        "gamma",
        "beta",
        "weibull",
        "exp",
        "logis",
        "cauchy",
        "chisq",
        "t",
        "binom",
        "nbinom",
        "geom",
        "pois",
    ]
    """Distribution (parama, paramb): unif (minimum, maximum), norm (mean, sd), lnorm (meanlog, sdlog), gamma (shape,
    rate), beta (shape1, shape2), weibull (shape, scale), exp (rate), logis (location, scale), cauchy (location, scale),
    chisq (df), t (df), binom (size, prob), nbinom (size, prob), geom (prob), pois (lambda). BETY's f, hyper and wilcox
    are not supported."""
    parama: float
    """First parameter."""
    paramb: float | None = None
    """Second parameter; exp, chisq, t, geom and pois have none."""


class PriorFiles(ApiModel):
    """Files on the data volume with the distributions and samples of a PFT's traits."""

    csv: DataPath | None = None
    """Table of distributions as PEcAn writes prior.distns.csv: trait, distn, parama, paramb; a column n is not used."""
    posterior_files: DataPath | None = None
    """A file of PEcAn's with prior.distns, post.distns or trait.mcmc (RData), or a folder, such as a PFT's, with several."""
    samples_csv: DataPath | None = None
    """Table of samples, a column a trait; a member takes a whole row, so that what belongs together stays together."""


class Pft(
    ApiModel,
    json_schema_extra=rules(
        rule(
            "size(self.traits) + size(self.constants) > 0 || has(self.priors.csv) || has(self.priors.posteriorFiles)"
            " || has(self.priors.samplesCsv)",
            "give at least one trait, constant or file of priors, or leave the PFT out",
            path=".traits",
            reason="FieldValueRequired",
        )
    ),
):
    """A plant functional type: which parameters of the model are uncertain, and which are fixed."""

    name: PftName
    """Name of the PFT, BETY pfts.name. Unique in the workflow."""
    traits: dict[VariableName, Prior] = Field({}, max_length=200)
    """Distributions by PEcAn trait name, in the trait's PEcAn unit; every member draws its own values."""
    constants: dict[VariableName, float] = Field({}, max_length=200)
    """Values that are the same in every member, named like traits. A constant wins over a trait of the same name."""
    priors: PriorFiles = PriorFiles()
    """Files with more traits. Where several give the same trait, traits above win, then samplesCsv, posteriorFiles, csv."""


Seed = Annotated[int, Field(ge=0, le=2_147_483_647)]
_YEARS_IN_ORDER = rule(
    "!has(self.startYear) || !has(self.endYear) || self.startYear <= self.endYear",
    "startYear must not be after endYear",
    path=".startYear",
)


class Ensemble(
    ApiModel,
    json_schema_extra=rules(_YEARS_IN_ORDER),
):
    """The members and what is computed of them."""

    size: Annotated[int, Field(ge=1, le=MOST_RUNS)]
    """Number of members at each site. A single one takes the medians of all traits."""
    variables: Annotated[tuple[VariableName, ...], Field(min_length=1, max_length=50), AsSet]
    """Output variables to analyse, by PEcAn's standard names, such as GPP and NEE."""
    start_year: Year | None = None
    """First year of the analysis; left out, the first year of the runs."""
    end_year: Year | None = None
    """Last year of the analysis; left out, the last year of the runs."""
    sampling_method: Literal["uniform", "lhc", "halton", "sobol", "torus"] = "uniform"
    """How the parameter space is sampled: uniform draws independent quantiles, lhc is a Latin hypercube, halton, sobol
    and torus are sequences that fill the space evenly. A larger ensemble keeps the members of a smaller one, but for lhc."""
    seed: Seed | None = None
    """Seed of the draws: the same seed and priors give the same ensemble anywhere. Left out, it follows from the
    workflow's uid; status.seed has it."""


# The API server rounds a bound to a whole number when the value is one, so that 0 would pass.
Probability = Annotated[
    float,
    Field(ge=0, le=1),
    Extra(
        rules(rule("self >= 0.00001 && self <= 0.99999", "must be a probability from 0.00001 to 0.99999, such as 0.05"))
    ),
]


class Quantiles(
    ApiModel,
    json_schema_extra=rules(
        rule(
            "self.sigma.exists(one, one != 0.0) || self.quantile.exists(one, one != 0.5)",
            "give at least one sigma other than 0 or quantile other than 0.5: a single run shows no sensitivity",
            path=".sigma",
            reason="FieldValueRequired",
        )
    ),
):
    """Where each trait is varied to. The median is always among them."""

    # Lists, not sets: the API server finds a set of numbers changed that were written without a decimal point.
    sigma: Annotated[tuple[Annotated[float, Field(ge=-4, le=4)], ...], Field(max_length=50), Atomic] = ()
    """Standard deviations s of a normal distribution, for the quantile of the probability pnorm(s): -1 is 15.866 %."""
    quantile: Annotated[tuple[Probability, ...], Field(max_length=50), Atomic] = ()
    """Probabilities, such as 0.05."""


class SensitivityAnalysis(
    ApiModel,
    json_schema_extra=rules(_YEARS_IN_ORDER),
):
    """How much each trait alone changes the results. At each site there is a run with all traits at their medians, and
    for each trait with a distribution one at each other quantile, the other traits at their medians."""

    quantiles: Quantiles = Quantiles(sigma=(-3, -2, -1, 0, 1, 2, 3))
    """Where each trait is varied to."""
    variables: Annotated[tuple[VariableName, ...], Field(max_length=50), AsSet] = ()
    """Output variables to analyse, by PEcAn's standard names; none given, those of the ensemble."""
    start_year: Year | None = None
    """First year of the analysis; left out, the first year of the runs."""
    end_year: Year | None = None
    """Last year of the analysis; left out, the last year of the runs."""
    seed: Seed | None = None
    """Seed of the draws of the variance decomposition, where there is no ensemble whose seed it is. Left out, it follows
    from the workflow's uid; status.seed has it."""


class Retry(ApiModel):
    """What becomes of failing runs."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] | None = None
    """How often a failing run is tried, the first time included; left out, as the model says."""


class ConfigMapKey(ApiModel):
    """A text in a ConfigMap of the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: Annotated[str, *text(r"^[A-Za-z0-9._-]+$", "must be a key: letters, digits, '.', '_' and '-'", 253)] = (
        "pecan.xml"
    )
    """Key of the text in its data."""


class PecanXml(
    ApiModel,
    json_schema_extra=rules(
        rule(
            "[has(self.inline), has(self.configMap), has(self.path)].filter(given, given).size() == 1",
            "give exactly one of inline, configMap and path",
        )
    ),
):
    """A pecan.xml, with root pecan or pecan.multi."""

    inline: Annotated[str, Field(min_length=1, max_length=65536)] | None = None
    """The text itself."""
    config_map: ConfigMapKey | None = None
    """Where the text is in a ConfigMap; it is read when the workflow is accepted and when it is prepared."""
    path: DataPath | None = None
    """The file on the data volume."""
    base_dir: DataFolder | None = None
    """Folder in which relative paths of the pecan.xml begin; left out, the folder of path."""


@dataclass(frozen=True)
class Structured:
    """The fields of a workflow that a pecan.xml stands instead of."""

    start: date
    end: date
    sites: tuple[Site, ...]
    sites_csv: str | None
    inputs: dict[str, Input]
    pfts: tuple[Pft, ...]
    ensemble: Ensemble | None
    sensitivity_analysis: SensitivityAnalysis | None


_BESIDE = "is not allowed beside pecanXml: say it in the pecan.xml"
STRUCTURED = ("start", "end", "pfts")
_ALTERNATIVES = ("sites", "sitesCsv", "inputs", "ensemble", "sensitivityAnalysis")


def _required(field: str) -> Rule:
    return rule(
        f"has(self.pecanXml) || has(self.{field})",
        f"{field} is required, unless pecanXml is given",
        path=f".{field}",
        reason="FieldValueRequired",
    )


def _forbidden(field: str) -> Rule:
    return rule(
        f"!has(self.pecanXml) || !has(self.{field})",
        f"{field} {_BESIDE}",
        path=f".{field}",
        reason="FieldValueForbidden",
    )


def _year_inside(part: str, field: str) -> Rule:
    year = f"self.{part}.{field}"
    all_given = f"has(self.{part}) && has({year}) && has(self.start) && has(self.end)"
    return rule(
        f"!({all_given}) || ({year} >= self.start.getFullYear() && {year} <= self.end.getFullYear())",
        f"{field} must be a year between start and end",
        path=f".{part}.{field}",
    )


_VARIED = "self.pfts.map(pft, size(pft.traits.filter(trait, !(trait in pft.constants)))).sum()"
_QUANTILES = " + ".join(
    f"size(self.sensitivityAnalysis.quantiles.{field}.filter(one, one != {median}))"
    for field, median in (("sigma", "0.0"), ("quantile", "0.5"))
)


class WorkflowSpec(
    ApiModel,
    validate_default=True,
    json_schema_extra=rules(
        *(_required(field) for field in STRUCTURED),
        *(_forbidden(field) for field in (*STRUCTURED, *_ALTERNATIVES)),
        rule(
            "has(self.pecanXml) || has(self.sites) || has(self.sitesCsv)",
            "sites is required, unless sitesCsv or pecanXml is given",
            path=".sites",
            reason="FieldValueRequired",
        ),
        rule(
            "!has(self.sites) || !has(self.sitesCsv)",
            "sitesCsv is not allowed beside sites: give one of them",
            path=".sitesCsv",
            reason="FieldValueForbidden",
        ),
        rule(
            "has(self.pecanXml) || has(self.sitesCsv) || (has(self.inputs) && 'met' in self.inputs)"
            " || (has(self.sites) && self.sites.all(site, 'met' in site.inputs))",
            "inputs.met is required, the meteorology, unless every site has its own",
            path=".inputs",
            reason="FieldValueRequired",
        ),
        rule(
            "has(self.pecanXml) == has(oldSelf.pecanXml)",
            f"pecanXml {_STAYS}",
            path=".pecanXml",
            reason="FieldValueForbidden",
        ),
        rule("!has(self.start) || !has(self.end) || self.start < self.end", "end must be after start", path=".end"),
        rule(
            "has(self.pecanXml) || has(self.ensemble) || has(self.sensitivityAnalysis)",
            "give an ensemble, a sensitivityAnalysis or both, unless pecanXml is given: without, there is nothing to run",
            path=".ensemble",
            reason="FieldValueRequired",
        ),
        rule(
            "has(self.ensemble) || !has(self.sensitivityAnalysis) || size(self.sensitivityAnalysis.variables) > 0",
            "variables are required where there is no ensemble to take them from",
            path=".sensitivityAnalysis.variables",
            reason="FieldValueRequired",
        ),
        rule(
            "!has(self.ensemble) || !has(self.sensitivityAnalysis) || !has(self.sensitivityAnalysis.seed)",
            "is not allowed beside an ensemble: the ensemble's seed counts for both, give ensemble.seed",
            path=".sensitivityAnalysis.seed",
            reason="FieldValueForbidden",
        ),
        rule(
            "!has(self.sensitivityAnalysis) || !has(self.pfts)"
            " || self.pfts.exists(pft, pft.traits.exists(trait, !(trait in pft.constants))"
            " || has(pft.priors.csv) || has(pft.priors.posteriorFiles) || has(pft.priors.samplesCsv))",
            "a sensitivity analysis needs a trait with a distribution, in any PFT, that is not among its constants",
            path=".sensitivityAnalysis",
        ),
        *(
            _year_inside(part, field)
            for part in ("ensemble", "sensitivityAnalysis")
            for field in ("startYear", "endYear")
        ),
        rule(
            f"!has(self.ensemble) || !has(self.sites) || self.ensemble.size * size(self.sites) <= {MOST_RUNS}",
            f"a workflow may have {MOST_RUNS} runs: reduce ensemble.size or the number of sites",
            path=".ensemble.size",
        ),
        rule(
            "!has(self.sensitivityAnalysis) || !has(self.sites) || !has(self.pfts)"
            " || size(self.sites) * ((has(self.ensemble) ? self.ensemble.size : 0)"
            f" + 1 + {_VARIED} * ({_QUANTILES})) <= {MOST_RUNS}",
            f"a workflow may have {MOST_RUNS} runs, and there are more with those of the sensitivity analysis, which has"
            " at each site one for each trait and quantile: reduce quantiles, traits, ensemble.size or sites",
            path=".sensitivityAnalysis.quantiles",
        ),
        unchanged("sitesCsv", _STAYS),
        rule(
            "has(self.inputs) == has(oldSelf.inputs)",
            f"inputs {_STAYS}",
            path=".inputs",
            reason="FieldValueForbidden",
        ),
        unchanged("ensemble", _STAYS),
        unchanged("sensitivityAnalysis", _STAYS),
        unchanged("stopOnError", _STAYS),
    ),
):
    """The runs, what to do with their results, and how to go about it. Only suspend, cancel, priority, maxParallel,
    retry, retryGeneration, folderPolicy and deadlineSeconds can be changed later."""

    model_ref: Annotated[ObjectRef, Fixed]
    """The PecanModel of this namespace to run."""
    pecan_xml: Annotated[PecanXml, Fixed] | None = None
    """The workflow as PEcAn's users write it, instead of start, end, sites, sitesCsv, inputs, pfts, ensemble
    and sensitivityAnalysis."""
    start: Annotated[Day, Fixed] | None = None
    """First day of the runs (UTC), such as 1997-01-01."""
    end: Annotated[Day, Fixed] | None = None
    """Last day of the runs (UTC), inclusive; after start."""
    sites: Annotated[tuple[Site, ...], Field(min_length=1, max_length=1000), keyed_by("id"), Fixed] | None = None
    """Where to run: every member runs at every site."""
    sites_csv: DataPath | None = None
    """Table of sites on the data volume, instead of sites: columns id, name, lat, lon, and for inputs of the sites' own
    one named like the input's tag with its path; where that is empty, the path in inputs stands."""
    inputs: (
        Annotated[
            dict[InputTag, Input],
            Field(max_length=10),
            Extra(
                rules(
                    rule(
                        "self.all(tag, !has(self[tag].parent) || self[tag].parent in self)",
                        "parent must be the tag of another input",
                    ),
                    rule(
                        "self.all(tag, !has(self[tag].parent) || !(self[tag].parent in self)"
                        " || !has(self[self[tag].parent].parent))",
                        "parent must be an input that has no parent itself",
                    ),
                    rule(
                        "self.all(tag, !has(self[tag].parent) || !(self[tag].parent in self)"
                        " || size(self[tag].paths) == size(self[self[tag].parent].paths))",
                        "an input must have as many paths as its parent",
                    ),
                )
            ),
            Fixed,
        ]
        | None
    ) = None
    """Input files by PEcAn's input tag, at all sites that have none of their own; met is required at each."""
    pfts: Annotated[tuple[Pft, ...], Field(min_length=1, max_length=20), keyed_by("name"), Fixed] | None = None
    """Plant functional types with the uncertainty of their traits."""
    ensemble: Ensemble | None = None
    """The members and what is computed of them. Left out, there is only the sensitivity analysis."""
    sensitivity_analysis: SensitivityAnalysis | None = None
    """What a change of each trait does, and each trait's share in the variance of the results. Left out, neither."""
    stop_on_error: bool | None = None
    """Whether one given-up run makes the workflow fail. Left out, PEcAn's rule: yes for a single run, else no."""
    delete_raw: Annotated[bool, Fixed] = False
    """True: a run's raw model output is removed once its standard output is written."""
    priority: Annotated[int, Field(ge=0, le=1000)] = 0
    """Share among the workflows of a model: one of priority p has 1 + p runs in hand for every run of one of priority 0."""
    max_parallel: Annotated[int, Field(ge=1, le=MOST_RUNS)] | None = None
    """Most runs that are queued or running at a time; left out, no limit."""
    retry: Retry = Retry()
    """What becomes of failing runs."""
    retry_generation: Annotated[
        int,
        Field(ge=0, le=1_000_000),
        Extra(
            rules(
                rule(
                    "self >= oldSelf",
                    "may only grow: each larger number runs the failed runs again",
                    reason="FieldValueForbidden",
                )
            )
        ),
    ] = 0
    """A larger number than before runs the failed runs again, each with all its attempts; a workflow that has ended is
    taken up for it and analysed again. May only grow. A cancelled workflow, or one whose deadline is over, stays as it
    is."""
    deadline_seconds: Annotated[int, Field(ge=1, le=315_360_000)] | None = None
    """Seconds after which a workflow that has not ended is cancelled and counted as failed; left out, never."""
    suspend: bool = False
    """True: no further runs are published; those that run or wait in the queue already are finished."""
    cancel: Annotated[
        bool,
        Extra(
            rules(
                rule(
                    "self || !oldSelf",
                    "a cancelled workflow cannot be taken up again: make a new PecanWorkflow",
                    reason="FieldValueForbidden",
                )
            )
        ),
    ] = False
    """True: running jobs are stopped and the workflow ends as Cancelled. Cannot be taken back."""
    folder_policy: Literal["Retain", "Delete"] = "Retain"
    """What becomes of the workflow's folder under /data/workflows when the PecanWorkflow is deleted."""

    @field_validator(*STRUCTURED)
    @classmethod
    def _is_given_or_not(cls, value: Any, info: ValidationInfo) -> Any:
        if "pecan_xml" in info.data and (value is None) == (info.data["pecan_xml"] is None):
            what = "missing" if value is None else "beside_pecan_xml"
            raise PydanticCustomError(what, _BESIDE)
        return value

    @field_validator("sites_csv", "inputs")
    @classmethod
    def _sites_and_inputs(cls, value: Any, info: ValidationInfo) -> Any:
        known = info.data
        # a sibling that is wrong itself is missing here, and its own error is enough
        if not {"pecan_xml", "sites"} <= known.keys():
            return value
        if known["pecan_xml"] is not None:
            if value is not None or (info.field_name == "sites_csv" and known["sites"] is not None):
                raise PydanticCustomError("beside_pecan_xml", _BESIDE)
        elif info.field_name == "sites_csv":
            if (value is None) == (known["sites"] is None):
                raise PydanticCustomError("sites", "give exactly one of sites and sitesCsv")
        elif known.get("sites_csv") is None and not all(
            "met" in {**site.inputs, **(value or {})} for site in known["sites"] or ()
        ):
            raise PydanticCustomError("no_weather", "must have met, unless every site has its own")
        return value

    # pydantic takes fields in their order: when it comes to the second, the first is known.
    @field_validator("ensemble", "sensitivity_analysis")
    @classmethod
    def _one_is_given(cls, value: Any, info: ValidationInfo) -> Any:
        beside = info.data.get("pecan_xml") is not None
        if value is not None and beside:
            raise PydanticCustomError("beside_pecan_xml", _BESIDE)
        if (
            info.field_name == "sensitivity_analysis"
            and not beside
            and value is None
            and not info.data.get("ensemble", 1)
        ):
            raise PydanticCustomError("nothing_to_run", "give an ensemble, a sensitivityAnalysis or both")
        return value

    @property
    def structured(self) -> Structured:
        """The fields that are there unless pecanXml is."""
        parts = (*STRUCTURED, "sites_csv", "ensemble", "sensitivity_analysis")
        given = {field: getattr(self, field) for field in parts}
        return Structured(**given, sites=self.sites or (), inputs=self.inputs or {})


class RunNumbers(Status):
    """Runs by state."""

    total: Bound = 0
    """All runs."""
    planned: Bound = 0
    """Runs that wait for a place in the queue."""
    queued: Bound = 0
    """Runs in the queue."""
    running: Bound = 0
    """Runs that a worker has in hand."""
    succeeded: Bound = 0
    """Runs with all their output."""
    failed: Bound = 0
    """Runs that were given up."""
    cancelled: Bound = 0
    """Runs that were called back."""


Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


WorkflowPhase = Literal[
    "Pending",
    "Preparing",
    "Running",
    "Suspended",
    "Analysing",
    "Cancelling",
    "Succeeded",
    "Failed",
    "Cancelled",
]


class WorkflowStatus(Status):
    """How far the workflow is. Counts, never lists: small for an ensemble of any size."""

    phase: WorkflowPhase | None = None
    """One word for people; programs read the conditions."""
    observed_generation: Bound | None = None
    """The metadata.generation that this status is about."""
    workflow_id: Bound | None = None
    """BETY workflows.id."""
    folder: Annotated[str, Field(max_length=255)] | None = None
    """The workflow's folder on the data volume."""
    seed: Bound | None = None
    """Seed of the draws; with it in spec.ensemble.seed, or without an ensemble in spec.sensitivityAnalysis.seed, another
    workflow has the same draws. Of a workflow given as pecanXml, the pecan.xml in its folder has the seed."""
    runs: RunNumbers | None = None
    """Runs by state."""
    progress: Annotated[str, Field(max_length=32)] | None = None
    """Runs that succeeded, of all: 97/100."""
    started_at: Time | None = None
    """When the workflow was accepted."""
    finished_at: Time | None = None
    """When it ended."""
    results: Annotated[dict[str, Any], Extra({"x-kubernetes-preserve-unknown-fields": True})] | None = None
    """Headline numbers of the analysis, as the executor reports them."""
    conditions: Conditions = ()
    """Ready, Accepted, Prepared, RunsFinished, AllRunsSucceeded, Analysed, Retried, SettingsIgnored and ModelReady."""


class PecanWorkflow(Resource):
    """An ensemble of runs of one model: prepared, run by the model's workers, analysed."""

    definition: ClassVar[Definition] = Definition(
        plural="pecanworkflows",
        short_name="pwf",
        status=WorkflowStatus,
        columns=(
            Column("Model", ".spec.modelRef.name"),
            Column("Phase", ".status.phase"),
            Column("Succeeded", ".status.progress"),
            Column("Failed", ".status.runs.failed", "integer"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Running", ".status.runs.running", "integer", wide=True),
            Column("Id", ".status.workflowId", "integer", wide=True),
            Column("Message", condition_message("Ready")),
        ),
    )

    spec: WorkflowSpec
