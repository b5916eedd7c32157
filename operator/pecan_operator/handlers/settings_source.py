"""What a PecanWorkflow asks for: in its fields, or in a pecan.xml inline, in a ConfigMap or on the data volume."""

from __future__ import annotations

from dataclasses import dataclass

from pecan_executor.usersettings import UserSettings, read_user_settings
from pecan_operator.api.workflow import PecanWorkflow
from pecan_operator.core import jobs, pecanxml, rsettings
from pecan_operator.core.rframework import PECAN
from pecan_operator.core.userxml import Adopted, Ours
from pecan_operator.errors import NotYet
from pecan_operator.handlers.context import Context
from pecan_operator.handlers.installation import Connections
from pecan_operator.records import WorkflowRow


@dataclass(frozen=True)
class Asked:
    """What is known of a workflow before it is prepared. The dates (ISO 8601, inclusive UTC days) are None where only a
    Job can read them."""

    start_date: str | None
    end_date: str | None
    stop_on_error: bool
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToRun:
    """The pecan.xml to run, or what completes one that only a Job can read. `asked` is what it asks for where that may be
    something else than was accepted, for a ConfigMap can be changed."""

    pecan_xml: str | Ours
    asked: Asked | None = None


@dataclass(frozen=True)
class SettingsSource:
    """Reads what a workflow asks for.

    Raises:
        UserError: the pecan.xml is wrong, or not for this model.
        NotYet: its ConfigMap is not there.
    """

    context: Context

    def asked(self, workflow: PecanWorkflow, model: pecanxml.Model, queue: str, platform: Connections) -> Asked:
        """What a workflow that has no row yet asks for."""
        for_r = platform.framework == PECAN
        spec = workflow.spec
        if spec.pecan_xml is None:
            given = spec.structured
            members = given.ensemble.size if given.ensemble else 0
            one_run = given.sensitivity_analysis is None and members * len(given.sites) == 1
            stop = one_run if spec.stop_on_error is None else spec.stop_on_error
            ignored = rsettings.check_fields(spec) if for_r else ()
            return Asked(given.start.isoformat(), given.end.isoformat(), stop, ignored)
        text = self._text(workflow)
        if text is None:
            return Asked(None, None, bool(spec.stop_on_error))
        ours = jobs.ours(workflow, None, model, queue, platform.hostname, user_code=platform.user_code)
        if for_r:
            return _asked_of_r(rsettings.adopt(text, ours), spec.stop_on_error)
        return _asked(read_user_settings(text, ours))

    def to_run(self, workflow: PecanWorkflow, row: WorkflowRow, model: pecanxml.Model, platform: Connections) -> ToRun:
        """What is run of a workflow that has a row."""
        source = workflow.spec.pecan_xml
        for_r = row.framework == PECAN
        if source is None:
            render = rsettings.render if for_r else pecanxml.render
            return ToRun(render(jobs.settings(workflow, row, model, platform.hostname)))
        ours = jobs.ours(workflow, row, model, row.queue, platform.hostname, user_code=platform.user_code)
        text = self._text(workflow)
        if text is None:
            return ToRun(ours)
        if for_r:
            adopted = rsettings.adopt(text, ours)
            asked = _asked_of_r(adopted, workflow.spec.stop_on_error)
            return ToRun(adopted.xml, asked if source.config_map else None)
        user = read_user_settings(text, ours)
        return ToRun(pecanxml.render(user.settings), _asked(user) if source.config_map else None)

    def _text(self, workflow: PecanWorkflow) -> str | None:
        """None: it is on the data volume."""
        source = workflow.spec.pecan_xml
        assert source is not None
        if source.config_map is None:
            return source.inline
        name, key = source.config_map.name, source.config_map.key
        found = self.context.kube.read("v1", "ConfigMap", workflow.namespace, name)
        if found is None:
            raise NotYet(
                "PecanXmlMissing", f"there is no ConfigMap {name} in namespace {workflow.namespace}: apply it", 10.0
            )
        text: str | None = (found.get("data") or {}).get(key)
        if text is None:
            raise NotYet("PecanXmlMissing", f"ConfigMap {name} has no key {key} in its data: add it", 10.0)
        return text


def _asked_of_r(adopted: Adopted, stop_on_error: bool | None) -> Asked:
    """What a pecan.xml for PEcAn's R asks for."""
    asked = rsettings.asked(adopted.xml, stop_on_error)
    return Asked(asked.start_date, asked.end_date, asked.stop_on_error, adopted.ignored)


def _asked(user: UserSettings) -> Asked:
    settings = user.settings
    return Asked(settings.start_date.isoformat(), settings.end_date.isoformat(), settings.stop_on_error, user.ignored)
