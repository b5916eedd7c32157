"""The files of one run: config.json (pecan-run/1), job.sh and README.txt."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pecan_executor.files import write_text
from pecan_operator.core.pecanxml import POSTRUN, PRERUN, Settings, Site, chosen_at
from pecan_operator.records import RunPlan

SCHEMA = "pecan-run/1"
ENSEMBLE = "ensemble"
SENSITIVITY = "sensitivity"
RUN_TYPES = {ENSEMBLE: "ensemble", SENSITIVITY: "sensitivity analysis"}
"""PEcAn's name, in BETY's ensembles.runtype and in README.txt, of each run type of pecan-run/1 and the ledger."""


class RunContents(Protocol):
    """What differs between runs at one site: trait values by PFT and trait, and the file of each input tag, which a site
    may have another in place of."""

    @property
    def traits(self) -> Mapping[str, Mapping[str, float]]: ...

    @property
    def inputs(self) -> Mapping[str, str]: ...


def write_run(settings: Settings, ensemble_id: int, site: Site, contents: RunContents, plan: RunPlan) -> None:
    """Write the files of a run into its folder; makes run/<id> and out/<id>."""
    rundir = Path(plan.folder)
    rundir.mkdir(parents=True, exist_ok=True)
    Path(plan.outdir).mkdir(parents=True, exist_ok=True)
    write_text(
        rundir / "config.json", json.dumps(run_config(settings, ensemble_id, site, contents, plan), indent=1) + "\n"
    )
    write_text(rundir / "README.txt", _readme(settings, ensemble_id, site, contents, plan))
    write_text(rundir / "job.sh", _job(settings, plan), executable=True)


def _job(settings: Settings, plan: RunPlan) -> str:
    """job.sh: the model's command, and before and after it the code of users, in the same shell as in PEcAn's."""
    command = f"{shlex.quote(settings.model.binary)} {shlex.quote(plan.folder)}"
    before, after = (
        [_code(settings, place, plan) for place in nodes if place in settings.code] for nodes in (PRERUN, POSTRUN)
    )
    command = f"{command} || exit $?\n" if after else f"exec {command}\n"
    return "".join(["#!/bin/sh\n", *before, command, *after])


def _code(settings: Settings, place: str, plan: RunPlan) -> str:
    """Lines of which the first that fails ends the job, with its exit code; before the model, so does `exit 0`."""
    code = settings.code[place].replace("@RUNDIR@", plan.folder).replace("@OUTDIR@", plan.outdir)
    least = 1 if place in PRERUN else 0
    return (
        f"""trap 'code=$?; echo "{place} of pecan.xml ended the job with exit code $code" >&2; """
        f"""exit $((code ? code : {least}))' EXIT\n"""
        f"set -e\n{code}\nset +e\ntrap - EXIT\n"
    )


def run_config(
    settings: Settings, ensemble_id: int, site: Site, contents: RunContents, plan: RunPlan
) -> dict[str, Any]:
    """config.json of a run: all that the model's adapter is told."""
    inputs = {tag: {"path": path} for tag, path in chosen_at(settings, site, contents.inputs).items()}
    inputs["met"]["format"] = "cf"
    return {
        "schema": SCHEMA,
        "workflow_id": str(settings.workflow_id),
        "run_id": plan.run_id,
        "ensemble_id": str(ensemble_id),
        "run_type": plan.run_type,
        **({"member": plan.member} if plan.member else {}),
        "model": {"type": settings.model.type, "revision": settings.model.revision},
        "site": {"id": site.id, "name": site.name, "lat": site.lat, "lon": site.lon},
        "start_date": settings.start_date.isoformat(),
        "end_date": settings.end_date.isoformat(),
        "inputs": inputs,
        "pfts": [
            {"name": pft.name, "traits": contents.traits[pft.name], "constants": dict(pft.constants)}
            for pft in settings.pfts
        ],
        "rundir": plan.folder,
        "outdir": plan.outdir,
        "delete_raw": settings.delete_raw,
    }


def _readme(settings: Settings, ensemble_id: int, site: Site, contents: RunContents, plan: RunPlan) -> str:
    lines = {
        "runtype": RUN_TYPES[plan.run_type],
        "workflow id": settings.workflow_id,
        "ensemble id": ensemble_id,
        **_readme_of_sensitivity(plan),
        **({"run": f"{plan.member}/{settings.ensemble.size}"} if settings.ensemble and plan.member else {}),
        "run id": plan.run_id,
        **({"pft names": " ".join(pft.name for pft in settings.pfts)} if plan.member else {}),
        "model": settings.model.type,
        "model id": settings.model.id,
        "site": site.name,
        "site  id": site.id,
        "met data": chosen_at(settings, site, contents.inputs)["met"],
        "start date": settings.start_date,
        "end date": settings.end_date,
        "hostname": settings.hostname,
        "rundir": plan.folder,
        "outdir": plan.outdir,
    }
    return "".join(f"{key:<12}: {value}\n" for key, value in lines.items())


def _readme_of_sensitivity(plan: RunPlan) -> dict[str, str | None]:
    if plan.run_type != SENSITIVITY:
        return {}
    if plan.trait is None:
        return {"pft name": "ALL PFT", "quantile": "MEDIAN", "trait": "ALL TRAIT"}
    return {"pft name": plan.pft, "quantile": plan.quantile, "trait": plan.trait}
