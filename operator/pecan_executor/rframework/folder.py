"""Step folder: the workflow's folder as R is to find it, with its pecan.xml and nothing of an earlier try."""

from __future__ import annotations

import glob
import json
import math
import shutil
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from defusedxml.ElementTree import fromstring

from pecan_executor import settings as pecan_settings
from pecan_executor.datafiles import inside, open_data_file
from pecan_executor.files import WorkflowFolder, write_text
from pecan_executor.folder import check_settings, claim
from pecan_executor.sites import with_sites
from pecan_operator.core import rsettings
from pecan_operator.core.pecanxml import as_text
from pecan_operator.core.rsettings import Services
from pecan_operator.core.userxml import MOST_BYTES, Ours, refuse
from pecan_operator.errors import UserError

_LARGEST_ID = 2**63 - 1
_PATHS = ("run//inputs/*/path", "pfts/pft/posterior.files")


class PreparedLedger(Protocol):
    """What this step needs of the ledger."""

    def is_prepared(self, workflow_id: int) -> bool: ...

    def report_stage(self, workflow_id: int, stage: str | None) -> None: ...


class BetyOfR(Protocol):
    """What this step needs of BETY, as the role R works as."""

    def forget_runs(self, workflow_id: int) -> None: ...

    def has_site(self, site_id: int, *, lat: float | None, lon: float | None) -> bool: ...

    def site(self, *, name: str, lat: float, lon: float) -> int: ...


def fields_xml(source: Path, data: Path) -> str:
    """R's pecan.xml as the operator rendered it, with the sites of its table if it names one."""
    text = pecan_settings.read_text(source)
    root = fromstring(text)
    if root.find("run/sites.csv") is None:
        return text
    # R's alone, which rendering adds again.
    for node in root.findall("meta.analysis"):
        root.remove(node)
    return rsettings.render(with_sites(pecan_settings.parse(as_text(root)), data))


def user_xml(source: Path, ours: Path, data: Path) -> tuple[str, tuple[str, ...]]:
    """R's pecan.xml from a user's on the data volume, and the nodes that have no effect."""
    with open_data_file(source, data) as file:
        adopted = rsettings.adopt(file.read(MOST_BYTES + 1), Ours.from_json(ours.read_text()))
    return adopted.xml, adopted.ignored


def make_folder(
    folder: WorkflowFolder,
    text: str,
    ignored: tuple[str, ...] | None,
    workflow_id: int,
    uid: str,
    services: Services,
    ledger: PreparedLedger,
    bety: BetyOfR,
) -> bool:
    """Make the folder clean, with R's pecan.xml in it; `ignored` where the operator could not read that. False when the
    workflow is prepared already: then nothing is touched, for its runs may be at work.

    Raises:
        UserError: the settings are those of another workflow, a file they name is missing, or the folder is another
            workflow's.
    """
    root: ET.Element = fromstring(text)
    check_settings(root.findtext("workflow/id") or "", root.findtext("outdir") or "", folder, workflow_id)
    for node in (node for place in _PATHS for node in root.iterfind(place)):
        for leaf in node.iter():
            _check_path(leaf, folder.data)
    claim(folder, workflow_id, uid)
    if ledger.is_prepared(workflow_id):
        return False
    _clean(folder)
    if root.find("database/bety") is not None:
        bety.forget_runs(workflow_id)
    if rsettings.writes_bety(root):
        for site in root.iterfind("run//site"):
            _place(site, bety)
    ledger.report_stage(workflow_id, None)
    write_text(folder.settings, rsettings.with_services(ET.tostring(root), services), private=True)
    if ignored is not None:
        write_text(folder.ignored, json.dumps(ignored) + "\n")
    return True


def _check_path(leaf: ET.Element, data: Path) -> None:
    """Of weather, PEcAn may be given the beginning of the names of files."""
    text = (leaf.text or "").strip()
    path = Path(text)
    if not text or len(leaf) or not path.is_relative_to(data):
        return
    real = inside(path, data)
    if not real.exists() and next(real.parent.glob(f"{glob.escape(real.name)}*"), None) is None:
        raise UserError("InputMissing", f"pecan.xml {leaf.tag}: {path} does not exist: put it on the data volume")


def _clean(folder: WorkflowFolder) -> None:
    """R goes by what it finds: a stage in STATUS is not done again, and the workspace is restored."""
    for path in (folder.run, folder.out):
        if path.exists():
            shutil.rmtree(path)
    for file in (folder.status, folder.workspace, *folder.saved_settings()):
        file.unlink(missing_ok=True)


def _place(site: ET.Element, bety: BetyOfR) -> None:
    """R registers runs by BETY's id of their site; one that BETY has not, or has elsewhere, is added by its name and
    place."""
    node = site.find("id")
    given = "" if node is None else (node.text or "").strip()
    lat, lon = _degrees(site, "lat", 90), _degrees(site, "lon", 180)
    if given.isdecimal() and int(given) <= _LARGEST_ID and bety.has_site(int(given), lat=lat, lon=lon):
        return
    if lat is None or lon is None:
        raise UserError(
            "SiteUnknown",
            f"pecan.xml run/site: BETY has no site of the id {given!r}, and without lat and lon none is added",
        )
    found = bety.site(name=" ".join((site.findtext("name") or given).split()), lat=lat, lon=lon)
    if node is None:
        node = ET.SubElement(site, "id")
    node.text = str(found)


def _degrees(site: ET.Element, tag: str, most: int) -> float | None:
    text = (site.findtext(tag) or "").strip()
    if not text:
        return None
    value = math.nan
    with suppress(ValueError):
        value = float(text)
    if not -most <= value <= most:
        refuse(f"run/site: {tag} is {text[:80]!r}, which is not between -{most} and {most} degrees")
    return value
