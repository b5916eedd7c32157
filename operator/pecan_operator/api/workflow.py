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

MOST_RUNS = 100_000

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
DataPath = Annotated[
    str,
    *text(
        r"^/data(/(\.?[A-Za-z0-9_+=:@,%~-]|\.\.[A-Za-z0-9._+=:@,%~-])[A-Za-z0-9._+=:@,%~-]*)+$",
        "must be an absolute path under /data without '..', spaces or empty parts, such as /data/met/loobos/Loobos",
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


class Input(ApiModel):
    """Alternative files for one input."""

    paths: Annotated[tuple[DataPath, ...], Field(min_length=1, max_length=100), AsSet]
    """Files under /data, or prefixes P for which P.<year>.nc exist. With several, members are given one each."""
    method: Literal["sampling", "looping"] = "sampling"
    """How members get one of several paths: sampling draws one for each member, looping takes them in turn."""


_ONE_PARAMETER = "self.distn in ['exp', 'chisq', 't']"


def _prior(distributions: str, holds: str, message: str, path: str) -> Rule:
    return rule(f"!(self.distn in [{distributions}]) || {holds}", message, path=path)


class Prior(
    ApiModel,
    json_schema_extra=rules(
        rule(
            f"{_ONE_PARAMETER} || has(self.paramb)",
            "paramb is required: of the distributions only exp, chisq and t have a single parameter",
            path=".paramb",
            reason="FieldValueRequired",
        ),
        rule(
            f"!({_ONE_PARAMETER}) || !has(self.paramb)",
            "paramb is not allowed: exp (rate), chisq (df) and t (df) have a single parameter, parama",
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
            "'gamma', 'beta', 'weibull', 'f', 'exp', 'chisq', 't'",
            "self.parama > 0.0",
            "parama must be greater than 0: it is a shape (gamma, beta, weibull), a rate (exp) or degrees of freedom",
            ".parama",
        ),
        _prior(
            "'gamma', 'beta', 'weibull', 'f'",
            "!has(self.paramb) || self.paramb > 0.0",
            "paramb must be greater than 0: it is the rate of gamma, shape2 of beta, the scale of weibull, df2 of f",
            ".paramb",
        ),
    ),
):
    """The distribution of a trait, named and parameterised as in R and in BETY's table priors."""

    distn: Literal["unif", "norm", "lnorm", "gamma", "beta", "weibull", "exp", "logis", "cauchy", "chisq", "t", "f"]
    """Distribution (parama, paramb): unif (minimum, maximum), norm (mean, sd), lnorm (meanlog, sdlog), gamma (shape,
    rate), beta (shape1, shape2), weibull (shape, scale), exp (rate), logis (location, scale), cauchy (location, scale),
    chisq (df), t (df), f (df1, df2)."""
    parama: float
    """First parameter."""
    paramb: float | None = None
    """Second parameter; exp, chisq and t have none."""


class Pft(
    ApiModel,
    json_schema_extra=rules(
        rule(
            "size(self.traits) + size(self.constants) > 0",
            "give at least one trait or constant, or leave the PFT out",
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


class Ensemble(
    ApiModel,
    json_schema_extra=rules(
        rule(
            "!has(self.startYear) || !has(self.endYear) || self.startYear <= self.endYear",
            "startYear must not be after endYear",
            path=".startYear",
        )
    ),
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
    sampling_method: Literal["uniform"] = "uniform"
    """How the parameter space is sampled: uniform draws independent quantiles."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = None
    """Seed of the draws: the same seed and priors give the same ensemble anywhere, and a larger one keeps its members.
    Left out, it is the workflow's id."""


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
    base_dir: DataPath | None = None
    """Folder in which relative paths of the pecan.xml begin; left out, the folder of path."""


@dataclass(frozen=True)
class Structured:
    """The fields of a workflow that a pecan.xml stands instead of."""

    start: date
    end: date
    sites: tuple[Site, ...]
    inputs: dict[str, Input]
    pfts: tuple[Pft, ...]
    ensemble: Ensemble


STRUCTURED = ("start", "end", "sites", "inputs", "pfts", "ensemble")


def _either(field: str) -> tuple[Rule, Rule]:
    return (
        rule(
            f"has(self.pecanXml) || has(self.{field})",
            f"{field} is required, unless pecanXml is given",
            path=f".{field}",
            reason="FieldValueRequired",
        ),
        rule(
            f"!has(self.pecanXml) || !has(self.{field})",
            f"{field} is not allowed beside pecanXml: say it in the pecan.xml",
            path=f".{field}",
            reason="FieldValueForbidden",
        ),
    )


def _year_inside(field: str) -> Rule:
    year = f"self.ensemble.{field}"
    all_given = f"has(self.ensemble) && has({year}) && has(self.start) && has(self.end)"
    return rule(
        f"!({all_given}) || ({year} >= self.start.getFullYear() && {year} <= self.end.getFullYear())",
        f"{field} must be a year between start and end",
        path=f".ensemble.{field}",
    )


class WorkflowSpec(
    ApiModel,
    validate_default=True,
    json_schema_extra=rules(
        *(each for field in STRUCTURED for each in _either(field)),
        rule(
            "has(self.pecanXml) == has(oldSelf.pecanXml)",
            f"pecanXml {_STAYS}",
            path=".pecanXml",
            reason="FieldValueForbidden",
        ),
        rule("!has(self.start) || !has(self.end) || self.start < self.end", "end must be after start", path=".end"),
        _year_inside("startYear"),
        _year_inside("endYear"),
        rule(
            f"!has(self.ensemble) || !has(self.sites) || self.ensemble.size * size(self.sites) <= {MOST_RUNS}",
            f"a workflow may have {MOST_RUNS} runs: reduce ensemble.size or the number of sites",
            path=".ensemble.size",
        ),
        unchanged("stopOnError", _STAYS),
    ),
):
    """The runs, what to do with their results, and how to go about it. Only suspend, cancel, priority, maxParallel,
    retry, retryGeneration, folderPolicy and deadlineSeconds can be changed later."""

    model_ref: Annotated[ObjectRef, Fixed]
    """The PecanModel of this namespace to run."""
    pecan_xml: Annotated[PecanXml, Fixed] | None = None
    """The workflow as PEcAn's users write it, instead of start, end, sites, inputs, pfts and ensemble."""
    start: Annotated[Day, Fixed] | None = None
    """First day of the runs (UTC), such as 1997-01-01."""
    end: Annotated[Day, Fixed] | None = None
    """Last day of the runs (UTC), inclusive; after start."""
    sites: Annotated[tuple[Site, ...], Field(min_length=1, max_length=1000), keyed_by("id"), Fixed] | None = None
    """Where to run: every member runs at every site."""
    inputs: (
        Annotated[
            dict[InputTag, Input],
            Field(max_length=10),
            Extra(rules(rule("'met' in self", "inputs.met is required: the meteorology", reason="FieldValueRequired"))),
            Fixed,
        ]
        | None
    ) = None
    """Input files by PEcAn's input tag; met is required."""
    pfts: Annotated[tuple[Pft, ...], Field(min_length=1, max_length=20), keyed_by("name"), Fixed] | None = None
    """Plant functional types with the uncertainty of their traits."""
    ensemble: Annotated[Ensemble, Fixed] | None = None
    """The members and what is computed of them."""
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
            raise PydanticCustomError(what, "is not allowed beside pecanXml: say it in the pecan.xml")
        return value

    @property
    def structured(self) -> Structured:
        """The fields that are there unless pecanXml is."""
        return Structured(**{field: getattr(self, field) for field in STRUCTURED})


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
