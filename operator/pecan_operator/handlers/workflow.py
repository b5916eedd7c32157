"""PecanWorkflow: accept, prepare, run, analyse, finish; and what is left to do when one is deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any

from pecan_operator.api.model import PecanModel
from pecan_operator.api.workflow import PecanWorkflow
from pecan_operator.core import jobs, pecanxml, provenance, rframework
from pecan_operator.core.diagnosis import job_condition
from pecan_operator.core.pace import Pace
from pecan_operator.core.progress import Written, progress_wait, shape
from pecan_operator.core.status import Condition, conditions, find, timestamp
from pecan_operator.core.workflow import (
    RETRIED,
    Facts,
    JobState,
    JobView,
    Plan,
    Step,
    decide_plan,
    is_over,
    phase,
    queued,
)
from pecan_operator.core.workflow import conditions as workflow_conditions
from pecan_operator.errors import NotYet, OperatorError
from pecan_operator.handlers.context import Context, Object
from pecan_operator.handlers.executor_jobs import COMPONENTS, KIND, ExecutorJobs
from pecan_operator.handlers.installation import Installation
from pecan_operator.handlers.places import Places
from pecan_operator.handlers.settings_source import SettingsSource
from pecan_operator.handlers.workqueue import Key
from pecan_operator.records import Outcome, RunCounts, WorkflowRequest, WorkflowRow

LOOK_AGAIN_SECONDS = 120.0
CANCELLING_SECONDS = 2.0
CLEANING_SECONDS = 5.0
# How often the stage that R is in is looked up.
STAGE_SECONDS = 10.0
# Of all workflows together.
PROGRESS_WRITES_A_SECOND = 20


@dataclass
class WorkflowHandler:
    """Reconciles PecanWorkflows. `_uids` remembers what was there, to notice what is gone; `_written` what statuses say."""

    context: Context
    clock: Callable[[], float] = time.monotonic
    _uids: dict[Key, str] = field(default_factory=dict)
    _written: dict[str, Written] = field(default_factory=dict)
    _pace: Pace = field(default_factory=lambda: Pace(PROGRESS_WRITES_A_SECOND))

    def __post_init__(self) -> None:
        self._places = Places(self.context.settings.executor_jobs, self.context.enqueue)
        self._source = SettingsSource(self.context)
        self._jobs = ExecutorJobs(self.context)

    def reconcile(self, key: Key) -> None:
        obj = self.context.find(key)
        known = self._uids.get(key)
        if known is not None and (obj is None or obj["metadata"]["uid"] != known):
            self._places.leave(key)
            self._written.pop(known, None)
            self._put_away(key, known)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return
        self._uids[key] = obj["metadata"]["uid"]
        if is_over(obj):
            return
        try:
            workflow = PecanWorkflow.parse(obj)
            installation = self.context.installations.get(key.namespace)
            row = installation.ledger.read_workflow(workflow.uid)
            if row is None:
                row = self._accept(workflow, installation)
            self._advance(workflow, obj, installation, row)
        except OperatorError as error:
            self._places.leave(key)
            status = obj.get("status") or {}
            self.context.report_failure(obj, error, status.get("phase", "Pending"))
            raise

    def put_away_absent(self, namespace: str, installation: Installation) -> None:
        """Workflows of the ledger whose resource went away while nobody looked."""
        for row in installation.ledger.read_workflows_to_put_away():
            key = Key(KIND, namespace, row.name)
            obj = self.context.find(key)
            if obj is None or obj["metadata"]["uid"] != row.uid:
                self._uids.setdefault(key, row.uid)
                if self._uids[key] == row.uid:
                    self.context.enqueue(key, 0.0)
                else:
                    self._put_away_row(installation, row)

    def _accept(self, workflow: PecanWorkflow, installation: Installation) -> WorkflowRow:
        model = self._model(workflow)
        spec, connections = workflow.spec, installation.connections
        framework, hostname = connections.framework, connections.hostname
        rframework.check_fits(framework, connections.platform, model)
        model_id = self._model_id(model)
        asked = self._source.asked(workflow, self._described(model, model_id), model.spec.queue, connections)
        return installation.ledger.accept_workflow(
            WorkflowRequest(
                uid=workflow.uid,
                namespace=workflow.namespace,
                name=workflow.name,
                model_id=model_id,
                queue=model.spec.queue,
                hostname=hostname,
                start_date=asked.start_date,
                end_date=asked.end_date,
                params={"pecanworkflow": f"{workflow.namespace}/{workflow.name}", "uid": workflow.uid},
                notes=f"PecanWorkflow {workflow.namespace}/{workflow.name}",
                priority=spec.priority,
                max_parallel=spec.max_parallel,
                max_attempts=spec.retry.max_attempts or model.spec.run.max_attempts,
                stop_on_error=asked.stop_on_error,
                suspended=spec.suspend,
                folder_policy=spec.folder_policy,
                settings_ignored=asked.ignored,
                framework=framework,
            )
        )

    def _model(self, workflow: PecanWorkflow) -> PecanModel:
        name = workflow.spec.model_ref.name
        obj = self.context.store.get("PecanModel", workflow.namespace, name)
        if obj is None:
            raise NotYet("ModelMissing", f"there is no PecanModel {name} in namespace {workflow.namespace}: apply one")
        return PecanModel.parse(obj)

    def _model_status(self, model: PecanModel) -> Mapping[str, Any]:
        obj = self.context.store.get("PecanModel", model.namespace, model.name) or {}
        return obj.get("status") or {}

    def _model_id(self, model: PecanModel) -> int:
        """BETY models.id."""
        model_id = self._model_status(model).get("modelId")
        if model_id is None:
            raise NotYet(
                "ModelNotRegistered",
                f"PecanModel {model.name} is not registered yet: look at `kubectl get pecanmodel {model.name}"
                f" -n {model.namespace}`",
            )
        return int(model_id)

    def _advance(self, workflow: PecanWorkflow, obj: Object, installation: Installation, row: WorkflowRow) -> None:
        """One step after another until something has to be waited for; then the status."""
        key = Key(KIND, workflow.namespace, workflow.name)
        installation.loop.follow(workflow.uid, key)
        self._update_limits(workflow, installation, row)
        facts = self._observe(workflow, installation, row)
        plan = decide_plan(facts)
        facts = self._in_turn(key, plan, facts)
        if self._carry_out(plan, facts, workflow, obj, installation):
            row = installation.ledger.read_workflow(workflow.uid) or row
            facts = self._observe(workflow, installation, row)
        failures = installation.ledger.failures(workflow.uid, limit=3) if facts.counts.failed else []
        model = self._model_condition(workflow, installation, row)
        soon = self._report(workflow, obj, facts, workflow_conditions(facts, failures, model))
        following = decide_plan(facts)
        if following.step is Step.NOTHING:
            installation.loop.unfollow(workflow.uid)
            self._written.pop(workflow.uid, None)
            return
        wait = 0.0 if following.step is not plan.step else _seconds_to_wait(plan, facts)
        self.context.enqueue(key, wait if soon is None else min(wait, soon))

    def _in_turn(self, key: Key, plan: Plan, facts: Facts) -> Facts:
        """The facts, in which a Job that has to be made waits while too many are at work."""
        view = {Step.PREPARE: facts.prepare, Step.ANALYSE: facts.analyse}.get(plan.step, JobView(JobState.SUCCEEDED))
        if view.state is JobState.ACTIVE:
            self._places.hold(key)
        elif view.state is not JobState.ABSENT:
            self._places.leave(key)
        elif not self._places.take(key, (plan.step is Step.PREPARE, -facts.row.priority, facts.row.workflow_id)):
            waiting = queued(self._places.number)
            return replace(facts, prepare=waiting) if plan.step is Step.PREPARE else replace(facts, analyse=waiting)
        return facts

    def _update_limits(self, workflow: PecanWorkflow, installation: Installation, row: WorkflowRow) -> None:
        spec = workflow.spec
        wanted: dict[str, Any] = {
            "priority": spec.priority,
            "max_parallel": spec.max_parallel,
            "max_attempts": spec.retry.max_attempts or row.max_attempts,
            "stop_on_error": row.stop_on_error,
            "suspended": spec.suspend,
            "folder_policy": spec.folder_policy,
        }
        if any(getattr(row, name) != value for name, value in wanted.items()):
            installation.ledger.update_workflow(workflow.uid, **wanted)
            installation.loop.wake()

    def _observe(self, workflow: PecanWorkflow, installation: Installation, row: WorkflowRow) -> Facts:
        spec = workflow.spec
        counts = installation.ledger.counts([workflow.uid]).get(workflow.uid, RunCounts())
        waiting = JobView()
        return Facts(
            row=row,
            counts=counts,
            cancel=spec.cancel,
            suspend=spec.suspend,
            retry_generation=spec.retry_generation,
            deadline_seconds=spec.deadline_seconds,
            prepare=self._jobs.view(row, "prepare") if row.prepared_at is None else waiting,
            analyse=self._jobs.view(row, "analyse") if row.prepared_at is not None and not counts.open else waiting,
            now=self.context.now(),
        )

    def _carry_out(
        self, plan: Plan, facts: Facts, workflow: PecanWorkflow, obj: Object, installation: Installation
    ) -> bool:
        """Do what the plan says; True when the ledger changed by it."""
        row = facts.row
        if plan.step is Step.PREPARE:
            return facts.prepare.state is JobState.ABSENT and self._prepare(workflow, obj, installation, row)
        if plan.step is Step.RUN:
            installation.loop.wake()
            return False
        if plan.step is Step.ANALYSE:
            if facts.analyse.state is JobState.ABSENT:
                # The analysis does without a model that is gone or has become wrong.
                model = None
                with suppress(OperatorError):
                    model = self._model(workflow)
                told = self._provenance(workflow, model, installation, row)
                self._jobs.start(row, "analyse", jobs.analyse_job(workflow, obj, row, self._site(installation), told))
            return False
        if plan.step is Step.REPEAT:
            assert plan.job is not None
            self._repeat(plan.job, facts, obj, installation)
            return True
        if plan.step is Step.CANCEL:
            self._cancel(installation, row, plan.message)
            return True
        if plan.step is Step.RETRY:
            self._retry(facts.retry_generation, row, obj, installation)
            return True
        if plan.step is Step.FINISH:
            assert plan.outcome is not None
            if installation.ledger.finish_workflow(row.uid, plan.outcome, plan.message):
                kind = "Normal" if plan.outcome is Outcome.SUCCEEDED else "Warning"
                self.context.kube.event(obj, kind, plan.outcome.value, plan.message)
            return True
        return False

    def _prepare(self, workflow: PecanWorkflow, obj: Object, installation: Installation, row: WorkflowRow) -> bool:
        """Start the Job; True when what the ledger says of the settings was brought up to date."""
        model = self._model(workflow)
        rframework.check_fits(row.framework, installation.connections.platform, model)
        described = self._described(model, self._model_id(model))
        run = self._source.to_run(workflow, row, described, installation.connections)
        if run.asked is not None:
            installation.ledger.report_settings(row.workflow_id, **asdict(run.asked))
        self.context.ensure(jobs.settings_config(workflow, obj, run.pecan_xml))
        told = self._provenance(workflow, model, installation, row)
        self._jobs.start(row, "prepare", jobs.prepare_job(workflow, obj, row, self._site(installation), told))
        return run.asked is not None

    def _provenance(
        self, workflow: PecanWorkflow, model: PecanModel | None, installation: Installation, row: WorkflowRow
    ) -> dict[str, Any]:
        namespace, name = workflow.namespace, workflow.spec.model_ref.name
        return provenance.told(
            workflow,
            model,
            self.context.settings.images.executor,
            version("pecan-operator"),
            r_image=installation.connections.r.image if row.framework == rframework.PECAN else None,
            prepare_pods=self.context.pods(KIND, namespace, workflow.name, "prepare"),
            worker_pods=self.context.pods("PecanModel", namespace, name, "worker"),
        )

    @staticmethod
    def _described(model: PecanModel, model_id: int) -> pecanxml.Model:
        spec = model.spec
        return pecanxml.Model(id=model_id, type=spec.type, revision=spec.revision, binary=spec.binary)

    def _site(self, installation: Installation) -> jobs.Site:
        connections = installation.connections
        return jobs.Site(
            executor_image=self.context.settings.images.executor,
            data=connections.data,
            pulling=connections.pulling,
            bety_secret=connections.bety_secret,
            ledger_secret=connections.ledger_secret,
            r=connections.r,
        )

    def _cancel(self, installation: Installation, row: WorkflowRow, reason: str) -> None:
        if row.cancelled_at is None:
            installation.ledger.cancel_workflow(row.uid, reason)
            installation.loop.cancel(row.workflow_id, row.retry_generation)
        for component in COMPONENTS:
            self._jobs.remove(row, component)

    def _retry(self, generation: int, row: WorkflowRow, obj: Object, installation: Installation) -> None:
        """Only when nothing is left of the Jobs: an analysis under way would set aside what is about to be written."""
        for component in COMPONENTS:
            self._jobs.remove(row, component)
        for component in COMPONENTS:
            self._jobs.wait_for_pods(row, component)
        runs = installation.ledger.retry_workflow(row.uid, generation)
        if runs is not None:
            self.context.kube.event(obj, "Normal", RETRIED, f"retryGeneration {generation}: runs to run again: {runs}")
        installation.loop.wake()

    def _repeat(self, uid: str, facts: Facts, obj: Object, installation: Installation) -> None:
        """Count a Job that was lost, then remove it: the next reconcile makes another one."""
        row = facts.row
        component, view = ("prepare", facts.prepare) if row.prepared_at is None else ("analyse", facts.analyse)
        if installation.ledger.count_loss(row.uid, uid):
            said = view.message or "the Job was lost"
            self.context.kube.event(obj, "Warning", "JobLost", f"{component} begins anew: {said}")
        self._jobs.remove(row, component, uid)

    def _put_away(self, key: Key, uid: str) -> None:
        """The resource is gone: nothing of it may go on running; its folder is kept unless it asked otherwise."""
        try:
            installation = self.context.installations.get(key.namespace)
        except NotYet:
            del self._uids[key]
            return
        row = installation.ledger.read_workflow(uid)
        if row is None or self._put_away_row(installation, row):
            installation.loop.unfollow(uid)
            del self._uids[key]
            return
        self.context.enqueue(key, CANCELLING_SECONDS if row.finished_at is None else CLEANING_SECONDS)

    def _put_away_row(self, installation: Installation, row: WorkflowRow) -> bool:
        """One step towards nothing left; True when it is reached."""
        if row.finished_at is None:
            if row.cancelled_at is None:
                installation.ledger.cancel_workflow(row.uid, "its PecanWorkflow was deleted")
                installation.loop.cancel(row.workflow_id, row.retry_generation)
            counts = installation.ledger.counts([row.uid]).get(row.uid, RunCounts())
            if counts.open:
                return False
            installation.ledger.finish_workflow(row.uid, Outcome.CANCELLED, "its PecanWorkflow was deleted")
        return row.folder_policy == "Retain" or self._clean_up(installation, row)

    def _clean_up(self, installation: Installation, row: WorkflowRow) -> bool:
        """Have the folder removed by a Job, tried again until one succeeds; True when the folder is gone."""
        wanted = jobs.cleanup_job(row, self._site(installation))
        name = wanted["metadata"]["name"]
        job = self.context.kube.read("batch/v1", "Job", row.namespace, name)
        if job is None:
            self.context.kube.create(wanted)
            return False
        if job_condition(job, "Complete") is None:
            return False
        installation.ledger.forget_folder(row.uid)
        return True

    def _report(self, workflow: PecanWorkflow, obj: Object, facts: Facts, current: list[Condition]) -> float | None:
        """Bring the status up to date, or say in how many seconds it should be."""
        row, counts = facts.row, facts.counts
        previous = obj.get("status") or {}
        status: dict[str, Any] = {
            "phase": phase(facts),
            "observedGeneration": workflow.metadata.generation,
            "workflowId": row.workflow_id,
            "folder": row.folder,
            # A pecan.xml may have a seed of its own, and may be where only a Job can read it; R has none.
            **({} if workflow.spec.pecan_xml or row.framework == rframework.PECAN else {"seed": jobs.seed(workflow)}),
            "runs": {
                "total": counts.total,
                "planned": counts.planned,
                "queued": counts.queued,
                "running": counts.running,
                "succeeded": counts.succeeded,
                "failed": counts.failed,
                "cancelled": counts.cancelled,
            },
            "progress": f"{counts.succeeded}/{counts.total}",
            "startedAt": timestamp(row.accepted_at),
            "conditions": conditions(
                previous.get("conditions") or [],
                current,
                workflow.metadata.generation,
                self.context.now(),
            ),
        }
        if row.finished_at is not None:
            status["finishedAt"] = timestamp(row.finished_at)
        if row.results:
            status["results"] = dict(row.results)
        wait = self._seconds_until_written(workflow.uid, previous, status, counts)
        if wait is not None and wait > 0:
            return wait
        if previous.get("phase") != status["phase"] and status["phase"] in ("Running", "Analysing"):
            self.context.kube.event(obj, "Normal", status["phase"], f"workflow {row.workflow_id} in {row.folder}")
        self.context.write_status(obj, status)
        return None

    def _seconds_until_written(
        self, uid: str, previous: Mapping[str, Any], status: Mapping[str, Any], counts: RunCounts
    ) -> float | None:
        """None: the status says it already. What is not progress is written at once."""
        if status == previous:
            return None
        now = self.clock()
        written = self._written.get(uid)
        if written is not None and shape(status) == shape(previous):
            wait = progress_wait(written, counts, now) or self._pace.wait(now)
            if wait > 0:
                return wait
        self._written[uid] = Written(counts, now, now if written is None else written.began)
        return 0.0

    def _model_condition(
        self, workflow: PecanWorkflow, installation: Installation, row: WorkflowRow
    ) -> list[Condition]:
        """Says why runs do not go on when their model does not."""
        if row.finished_at is not None:
            return []
        try:
            model = self._model(workflow)
            rframework.check_fits(row.framework, installation.connections.platform, model)
        except OperatorError as error:
            return [Condition("ModelReady", False, error.reason, error.message)]
        if model.spec.queue != row.queue:
            return [
                Condition(
                    "ModelReady",
                    False,
                    "QueueChanged",
                    f"PecanModel {model.name} serves queue {model.spec.queue} now, but the runs are for {row.queue}",
                )
            ]
        ready = find(self._model_status(model), "Ready")
        if model.spec.suspend:
            return [Condition("ModelReady", False, "ModelSuspended", f"PecanModel {model.name} is suspended")]
        if ready is not None and ready["status"] != "True":
            return [Condition("ModelReady", False, ready["reason"], f"PecanModel {model.name}: {ready['message']}")]
        return [Condition("ModelReady", True, "Ready", f"PecanModel {model.name}")]


def _seconds_to_wait(plan: Plan, facts: Facts) -> float:
    """When to look again although nothing is heard: cancelled runs may end without a word, and deadlines pass."""
    if plan.step is Step.CANCEL:
        return CANCELLING_SECONDS
    is_r_at_work = facts.row.framework == rframework.PECAN and plan.step in (Step.PREPARE, Step.ANALYSE, Step.REPEAT)
    most = STAGE_SECONDS if is_r_at_work else LOOK_AGAIN_SECONDS
    if facts.deadline_seconds is None:
        return most
    left = (facts.row.accepted_at - facts.now).total_seconds() + facts.deadline_seconds
    return min(most, max(left, 0.0) + 0.1)
