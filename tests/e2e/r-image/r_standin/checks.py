"""What is refused before anything is done: a wrong surrounding, and settings that R would stumble over."""

from __future__ import annotations

import os
import re
import stat
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path

from r_standin.bety import Bety
from r_standin.logger import severe
from r_standin.settings import COPIES, Settings, leaf, put
from r_standin.status import BEFORE_CONTINUE, wrong_before_continue

WORKFLOW_R = Path(__file__).parents[1] / "workflow.R"
"""The same as the image's /work/workflow.R."""
SECRET_MODE = 0o640
DROPPED = ("rundir", "modeloutdir", "settings.info", "email", "host/qsub", "host/modellauncher")


def surrounding(continues: bool, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with user, environment and folder; nothing of it depends on what pecan.xml says."""
    uid, owner = os.getuid(), folder.stat().st_uid
    if uid == 0 or uid != owner:
        yield f"the user is {uid}, the folder belongs to {owner}: R must run as the owner, and never as 0"
    if "PECAN_SETTINGS" in environment:
        yield "PECAN_SETTINGS is set: read.settings would read that file and not pecan.xml"
    if environment.get("TZ") != "UTC":
        yield f"TZ is {environment.get('TZ')!r}, not UTC: STATUS would have the times of another zone"
    if not environment.get("FQDN"):
        yield "FQDN is not set: BETY's files of this machine would not be found"
    if (folder / ".RData").exists():
        yield ".RData is there: R would go on with the workspace of an earlier pass"
    workflow_r = folder / "workflow.R"
    if not workflow_r.is_file() or workflow_r.read_bytes() != WORKFLOW_R.read_bytes():
        yield "workflow.R is not the image's own /work/workflow.R"
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.glob("pecan*.xml")}
    for name, mode in sorted(modes.items()):
        # R's own copies have what its umask leaves of 666
        if mode != SECRET_MODE if name == "pecan.xml" else mode & stat.S_IRWXO:
            yield f"{name} has the mode {mode:o}: it holds passwords"
    if not continues:
        yield from _leftovers(folder)


def _leftovers(folder: Path) -> Iterator[str]:
    if (folder / "STATUS").exists():
        yield "STATUS is there: R would skip the stages it names"
    for name in COPIES:
        if (folder / name).exists():
            yield f"{name} is there, of an earlier pass"
    for name in ("run", "out"):
        if (folder / name).is_dir() and any((folder / name).iterdir()):
            yield f"{name}/ is not empty: what is there is of an earlier pass"


def files_of_first_pass(folder: Path, settings: Settings) -> Iterator[str]:
    """What is wrong with what the first pass has left, and `register` and `resume` have completed."""
    status = folder / "STATUS"
    stages = [stage for stage in BEFORE_CONTINUE if stage != "META" or settings.has("meta.analysis")]
    wrong = wrong_before_continue(status.read_text(), stages) if status.exists() else "is not there"
    if wrong:
        yield f"STATUS before --continue: {wrong}"
    for name in COPIES:
        if not (folder / name).is_file():
            yield f"{name} is not there"


def place(settings: Settings, folder: Path) -> Iterator[str]:
    """What is wrong with what pecan.xml says of where this is and who works here."""
    if settings.get("outdir") != str(folder):
        yield f"outdir is {settings.get('outdir')!r}, and R was started in {folder}"
    if not re.fullmatch(r"\d+", settings.get("workflow/id")):
        yield "workflow/id is not given: each pass would register a workflow of its own"
    if settings.get("host/name") != "localhost":
        yield f"host/name is {settings.get('host/name')!r}: for anything but localhost R copies runs over ssh"
    for node in DROPPED:
        if settings.has(node):
            yield f"{node} is there, which should have been dropped"
    if settings.has("database/bety") and not settings.get("database/dbfiles").startswith("/"):
        yield "database/dbfiles is not an absolute path: R would write below a home that is not there"
    for path in settings.input_paths():
        if not Path(path).exists():
            yield f"the input {path!r} does not exist"


def prepare(settings: Settings, bety: Bety, fqdn: str) -> None:
    """prepare.settings: fills in what BETY knows, and says that the settings are checked. Raises Severe."""
    bety.check()
    workflow_id = int(settings.need("workflow/id"))
    if not bety.has_workflow(workflow_id):
        raise severe("check.workflow.settings", f"BETY has no workflow {workflow_id}")
    machine_id = bety.machine(fqdn)
    if machine_id is None:
        raise severe("check.model.settings", f"BETY has no machine {fqdn}")
    _fill_model(settings, bety, machine_id)
    _fill_pfts(settings, bety)
    for run in settings.runs():
        _fill_run(run, bety)
    for path, value in (("rundir", "run"), ("modeloutdir", "out"), ("host/rundir", "run"), ("host/outdir", "out")):
        settings.put(path, str(settings.outdir / value))
    for kind in ("ensemble", "sensitivity.analysis"):
        if settings.has(kind):
            _fill_analysis(settings, kind)
    if not settings.write_rows:
        # R makes up an id, whatever the file says
        settings.put("workflow/id", f"{datetime.now():%Y-%m-%d-%H-%M-%S}")
    for tag in ("deprecated.settings.fixed", "settings.updated", "checked"):
        settings.put(f"settings.info/{tag}", "TRUE")


def _fill_model(settings: Settings, bety: Bety, machine_id: int) -> None:
    model_id = int(settings.need("model/id"))
    model = bety.model(model_id)
    if model is None:
        raise severe("check.model.settings", f"There was no model with ID {model_id} found in the database")
    for tag, value in zip(("type", "revision"), model, strict=True):
        settings.put(f"model/{tag}", settings.get(f"model/{tag}") or value)
    if not settings.get("model/binary"):
        settings.put("model/binary", bety.binary(model_id, machine_id) or "")


def _fill_pfts(settings: Settings, bety: Bety) -> None:
    for pft in settings.pfts:
        name, model_type = leaf(pft, "name"), settings.get("model/type")
        if not name:
            raise severe("check.settings", "No name specified for pft")
        if bety.pft(name, model_type) is None:
            raise severe("check.settings", f"Did not find a pft with name {name} for model type {model_type}")
        if not leaf(pft, "outdir"):
            put(pft, "outdir", str(settings.outdir / "pft" / name))
        Path(leaf(pft, "outdir")).mkdir(parents=True, exist_ok=True)


def _fill_run(run: ET.Element, bety: Bety) -> None:
    start, end = (day(leaf(run, tag)) for tag in ("start.date", "end.date"))
    if start >= end:
        raise severe("check.run.settings", "Start date should come before the end date")
    site_id = leaf(run, "site/id")
    site = bety.site(int(site_id)) if re.fullmatch(r"\d+", site_id) else None
    if site is None:
        raise severe("check.run.settings", f"BETY has no site {site_id!r}: its id, name, lat and lon are not known")
    for tag, value in zip(("name", "lat", "lon"), site, strict=True):
        if not leaf(run, f"site/{tag}"):
            put(run, f"site/{tag}", str(value))


def _fill_analysis(settings: Settings, kind: str) -> None:
    """check.ensemble.settings: variables and years of an analysis."""
    other = "sensitivity.analysis" if kind == "ensemble" else "ensemble"
    variables = settings.all(f"{kind}/variable") or settings.all(f"{other}/variable")
    if not variables:
        raise severe("check.ensemble.settings", f"No variable specified to compute {kind} for.")
    for variable in variables if not settings.has(f"{kind}/variable") else ():
        settings.add(f"{kind}/variable", variable)
    if kind == "ensemble" and not settings.get("ensemble/size"):
        settings.put("ensemble/size", "1")
    for tag, dates in (("start.year", "start.date"), ("end.year", "end.date")):
        years = [day(leaf(run, dates)).year for run in settings.runs()]
        if not settings.get(f"{kind}/{tag}"):
            settings.put(f"{kind}/{tag}", str(years[0]))
        if int(settings.get(f"{kind}/{tag}")) not in range(
            min(day(leaf(run, "start.date")).year for run in settings.runs()),
            max(day(leaf(run, "end.date")).year for run in settings.runs()) + 1,
        ):
            raise severe("check.ensemble.settings", f"{kind} {tag} lies outside of the run")


def day(text: str) -> date:
    """A day of pecan.xml, with hyphens or slashes; a time behind it is not looked at."""
    try:
        return date.fromisoformat(text[:10].replace("/", "-"))
    except ValueError:
        raise severe("check.run.settings", f"Could not convert the date {text!r}") from None
