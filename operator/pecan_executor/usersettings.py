"""The settings that a user's pecan.xml asks for, held to the same limits as the fields of a PecanWorkflow.

Pure, and without numpy: the operator uses it for what it can read itself, the step folder for a file on the data volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn

from pydantic import ValidationError

from pecan_executor.settings import parse
from pecan_operator.api import workflow as api
from pecan_operator.core.pecanxml import SensitivityAnalysis, Settings
from pecan_operator.core.userxml import Ours, adopt
from pecan_operator.errors import UserError
from pecan_operator.records import MOST_RUNS

FIRST_YEAR, LAST_YEAR = 1000, 2999
_NODES = {
    "start": "run/start.date",
    "end": "run/end.date",
    "sites": "run/site",
    "inputs": "run/inputs",
    "paths": "path",
    "pfts": "pfts/pft",
    "traits": "priors",
    "variables": "variable",
    "start_year": "start.year",
    "end_year": "end.year",
    "sampling_method": "samplingspace/parameters/method",
    "sensitivity_analysis": "sensitivity.analysis",
    "posterior_files": "posterior.files",
    "samples_csv": "samples",
}


@dataclass(frozen=True)
class UserSettings:
    """`ignored` are the paths of nodes that have no effect, for the condition SettingsIgnored."""

    settings: Settings
    ignored: tuple[str, ...]


def read_user_settings(text: str | bytes, ours: Ours) -> UserSettings:
    """The settings of a user's pecan.xml; raises UserError BadSettings naming the node that is wrong."""
    adopted = adopt(text, ours)
    settings = parse(adopted.xml)
    _check(settings)
    return UserSettings(
        replace(
            settings,
            stop_on_error=settings.stop_on_error if ours.stop_on_error is None else ours.stop_on_error,
            delete_raw=ours.delete_raw or settings.delete_raw,
        ),
        adopted.ignored,
    )


def _check(settings: Settings) -> None:
    """The limits of the structured fields: what they would refuse, a pecan.xml cannot bring in."""
    try:
        api.WorkflowSpec.model_validate(
            {
                "model_ref": {"name": "any"},
                "start": settings.start_date,
                "end": settings.end_date,
                "sites": [
                    {**asdict(site), "inputs": {tag: {"paths": tuple(paths)} for tag, paths in site.inputs.items()}}
                    for site in settings.sites
                ],
                "inputs": {
                    tag: {"paths": tuple(choice.paths), "method": choice.method, "parent": choice.parent}
                    for tag, choice in settings.inputs.items()
                },
                "pfts": [
                    {
                        "name": pft.name,
                        "traits": {trait: asdict(prior) for trait, prior in pft.priors.items()},
                        "constants": dict(pft.constants),
                        "priors": {
                            "csv": pft.priors_csv,
                            "posterior_files": pft.posterior_files,
                            "samples_csv": pft.samples_csv,
                        },
                    }
                    for pft in settings.pfts
                ],
                "ensemble": asdict(settings.ensemble) if settings.ensemble else None,
                "sensitivity_analysis": _analysis(settings.sensitivity_analysis),
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        given = f", not {first['input'][:80]!r}" if isinstance(first["input"], str) else ""
        _refuse(f"{_place(first['loc'])}: {first['msg'][:1].lower()}{first['msg'][1:]}{given}")
    if settings.start_date >= settings.end_date:
        _refuse("run/end.date must be after run/start.date")
    for tag, day in (("start.date", settings.start_date), ("end.date", settings.end_date)):
        if not FIRST_YEAR <= day.year <= LAST_YEAR:
            _refuse(f"run/{tag} {day} must be in a year from {FIRST_YEAR} to {LAST_YEAR}")
    runs = runs_of(settings)
    if runs > MOST_RUNS:
        _refuse(f"asks for {runs} runs at {len(settings.sites)} site(s); {MOST_RUNS} is the most")


def _analysis(given: SensitivityAnalysis | None) -> dict[str, Any] | None:
    if given is None:
        return None
    return {
        "quantiles": {"sigma": tuple(given.sigma), "quantile": tuple(given.quantile)},
        "variables": tuple(given.variables),
        "start_year": given.start_year,
        "end_year": given.end_year,
        "seed": given.seed,
    }


def runs_of(settings: Settings) -> int:
    """How many runs there are; traits in files, which a sensitivity analysis varies too, are not counted."""
    members, analysis = settings.ensemble.size if settings.ensemble else 0, settings.sensitivity_analysis
    if analysis:
        varied = sum(len(pft.priors.keys() - pft.constants.keys()) for pft in settings.pfts)
        members += 1 + varied * (len(set(analysis.sigma) - {0}) + len(set(analysis.quantile) - {0.5}))
    return members * len(settings.sites)


def _place(loc: Sequence[int | str]) -> str:
    """The node that a field of the structured form is rendered as."""
    return "/".join(_NODES.get(part, part)[:80] for part in loc if isinstance(part, str) and part != "[key]")


def _refuse(what: str) -> NoReturn:
    raise UserError("BadSettings", f"pecan.xml {what}")
