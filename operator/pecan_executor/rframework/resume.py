"""Step resume: what R needs to go on after the models: STATUS, and the connections of today."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Protocol

from defusedxml.ElementTree import fromstring

from pecan_executor.files import WorkflowFolder, write_text
from pecan_executor.resume import StateLedger, record_states
from pecan_executor.rframework.register import before_model
from pecan_executor.stages import Stage, Stages
from pecan_operator.core import rsettings
from pecan_operator.core.rsettings import Services
from pecan_operator.errors import UserError

_READ_BY_R = "pecan.CONFIGS.xml"


class ResumeLedger(StateLedger, Protocol):
    """What this step needs of the ledger."""

    def report_stage(self, workflow_id: int, stage: str | None) -> None: ...


def resume(workflow_id: int, folder: WorkflowFolder, ledger: ResumeLedger, services: Services) -> int:
    """Leave in STATUS a line, done, for each stage up to MODEL and none after; replace addresses and passwords in pecan.xml
    and in all copies R saved of it, which it reads; remove R's workspace. Returns how many runs succeeded.

    Repeating it after R was killed lets R begin with OUTPUT again.

    Raises UserError when pecan.xml is missing, or the copy that R goes on with is damaged.
    """
    succeeded = record_states(workflow_id, folder, ledger)
    try:
        root: ET.Element = fromstring(folder.settings.read_bytes())
    except FileNotFoundError:
        raise UserError(
            "SettingsMissing", f"{folder.settings} is missing: it was there when the runs were made"
        ) from None
    write_text(folder.settings, rsettings.with_services(ET.tostring(root), services), private=True)
    for file in folder.saved_settings():
        _renew(file, services)
    Stages(folder).only([*before_model(root), Stage.MODEL], ledger.last_run_finished_at(workflow_id))
    folder.workspace.unlink(missing_ok=True)
    ledger.report_stage(workflow_id, None)
    return succeeded


def _renew(file: Path, services: Services) -> None:
    """Of the other copies, one may be half written by R that was killed: R writes it again, or does without, since it goes
    on with pecan.CONFIGS.xml."""
    try:
        text = rsettings.with_services(file.read_bytes(), services)
    except UserError as error:
        if file.name == _READ_BY_R:
            raise UserError(error.reason, f"{file}: {error.message}") from None
        file.unlink()
        return
    write_text(file, text, private=True)
