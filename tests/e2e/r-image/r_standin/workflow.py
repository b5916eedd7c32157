"""workflow.R: the stages in their order. Source: PEcAn, web/workflow.R."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from r_standin import bety as database
from r_standin import broker as messages
from r_standin import checks, configs, results
from r_standin.bety import Bety
from r_standin.broker import Broker
from r_standin.logger import severe
from r_standin.orders import fail_if_told, hold_if_told
from r_standin.settings import COPIES, Settings
from r_standin.status import Status


@dataclass(frozen=True)
class Services:
    """How to reach what the settings name."""

    bety: Callable[[Settings], Bety] = database.connect
    broker: Callable[[Settings], Broker] = messages.connect


class Workflow:
    """One pass over the stages in a folder. Every method raises Severe where R would end."""

    def __init__(self, folder: Path, continues: bool, services: Services) -> None:
        self.folder, self.continues, self._services = folder, continues, services
        self.status = Status(folder)
        self.settings: Settings | None = None

    def run(self) -> None:
        if wrong := list(checks.surrounding(self.continues, self.folder, os.environ)):
            raise severe("standin", "; ".join(wrong))
        # R names no stage in STATUS for what fails from here on until TRAIT
        self.settings = settings = Settings.read(self.folder / "pecan.xml")
        wrong = list(checks.place(settings, self.folder))
        if self.continues:
            wrong += checks.files_of_first_pass(self.folder, settings)
        if wrong:
            raise severe("standin", "; ".join(wrong))
        bety = self._services.bety(settings)
        machine_id = self._prepare(settings, bety)
        self._first_stages(settings, bety, machine_id)
        if not self.continues:
            self.status.start("ADVANCED")
            return
        self._last_stages()

    def _prepare(self, settings: Settings, bety: Bety) -> int:
        """Settings checked, database and broker reached, inputs converted."""
        fqdn, workflow_id = os.environ["FQDN"], int(settings.get("workflow/id"))
        checks.prepare(settings, bety, fqdn)
        self._services.broker(settings).check()
        if self.continues:
            self._check_copies()
        elif bety.ensembles(workflow_id):
            raise severe("standin", "BETY has ensembles of this workflow: rows of an earlier pass were not removed")
        settings.write("pecan.CHECKED.xml")
        fail_if_told(settings, "CONVERSIONS")
        hold_if_told(settings, "CONVERSIONS")
        settings.write("pecan.METProcess.xml")
        machine_id = bety.machine(fqdn)
        assert machine_id is not None
        return machine_id

    def _check_copies(self) -> None:
        """R goes on with the last copy, so its addresses and passwords have to be those of now."""
        for name in COPIES:
            copy = Settings.read(self.folder / name)
            self._services.bety(copy).close()
            self._services.broker(copy).check()

    def _first_stages(self, settings: Settings, bety: Bety, machine_id: int) -> None:
        """TRAIT, META and CONFIG, unless STATUS has them."""
        if self.status.check("TRAIT") == 0:
            with self._stage("TRAIT"):
                configs.trait(settings, bety, machine_id)
                settings.write("pecan.TRAIT.xml")
        if settings.has("meta.analysis") and self.status.check("META") == 0:
            with self._stage("META"):
                configs.meta(settings, bety, machine_id)
        if self.status.check("CONFIG") == 0:
            with self._stage("CONFIG"):
                configs.config(settings, bety)
                settings.write("pecan.CONFIGS.xml")

    def _last_stages(self) -> None:
        self.settings = settings = Settings.read(self.folder / "pecan.CONFIGS.xml")
        bety, broker = self._services.bety(settings), self._services.broker(settings)
        if self.status.check("MODEL") == 0:
            raise severe("start_model_runs", "R would run the model itself now: MODEL is not DONE in STATUS")
        with self._stage("OUTPUT"):
            results.output(settings)
        if settings.has("ensemble"):
            with self._stage("ENSEMBLE"):
                results.ensemble(settings)
        if settings.has("sensitivity.analysis"):
            with self._stage("SENSITIVITY"):
                results.sensitivity(settings)
        if settings.has("assim.batch"):
            with self._stage("PDA"):
                results.pda(settings, bety, broker)
        with self._stage("FINISHED"):
            if settings.write_rows:
                bety.finish(int(settings.get("workflow/id")))

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """A stage from its start in STATUS to its end; that of one that failed is written with the end of R."""
        assert self.settings is not None
        self.status.start(name)
        fail_if_told(self.settings, name)
        yield
        hold_if_told(self.settings, name)
        self.status.end()
