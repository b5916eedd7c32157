"""The Jobs that prepare and analyse a workflow: looked at, made, removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pecan_operator.core import jobs, labels, rframework
from pecan_operator.core.diagnosis import diagnose, diagnose_job, job_condition
from pecan_operator.core.names import child
from pecan_operator.core.workflow import JobState, JobView
from pecan_operator.errors import NotYet
from pecan_operator.handlers.context import Context, Object
from pecan_operator.records import WorkflowRow

KIND = "PecanWorkflow"
COMPONENTS = ("prepare", "analyse")


@dataclass(frozen=True)
class ExecutorJobs:
    """Those of any workflow; `component` is `prepare` or `analyse`."""

    context: Context

    def view(self, row: WorkflowRow, component: str) -> JobView:
        """A Job of this very workflow since its latest retry, and how it gets on."""
        job = self.context.store.get("Job", row.namespace, child(row.name, component))
        if job is None or not jobs.is_current(job, row.uid, row.retry_generation):
            return JobView()
        if job_condition(job, "Complete") is not None:
            return JobView(JobState.SUCCEEDED)
        pods: Sequence[Object] = self.context.pods(KIND, row.namespace, row.name, component)
        state = JobState.ACTIVE
        if job_condition(job, "Failed") is not None:
            state = JobState.FAILED
            if row.framework == rframework.PECAN:
                # What the watch has not shown yet would count as lost.
                pods = self._pods(row, component)
                state = JobState.LOST if rframework.is_lost(job, pods) else JobState.FAILED
        trouble = diagnose_job(job, pods) or diagnose(pods, workload=job)
        view = JobView(state, uid=job["metadata"]["uid"])
        return view if trouble is None else replace(view, reason=trouble.reason, message=trouble.message)

    def start(self, row: WorkflowRow, component: str, job: dict[str, Any]) -> None:
        """Create the Job unless it is there.

        Raises NotYet while one of an earlier resource of this name, or of before the latest retry, is being removed, and
        while R of an earlier one is still ending, which would write into what another one begins with.
        """
        kube, name = self.context.kube, job["metadata"]["name"]
        if row.framework == rframework.PECAN and kube.read("batch/v1", "Job", row.namespace, name) is None:
            self.wait_for_pods(row, component)
        made = kube.create(job)
        if made is not None:
            self.context.store.put("Job", made)
            return
        present = kube.read("batch/v1", "Job", row.namespace, name)
        if present is not None and not jobs.is_current(present, row.uid, row.retry_generation):
            kube.delete("batch/v1", "Job", row.namespace, name, uid=present["metadata"]["uid"])
            raise NotYet("OldJob", f"an earlier Job {name} is being removed", 2.0)

    def remove(self, row: WorkflowRow, component: str, uid: str | None = None) -> None:
        """Remove the Job with its pods; with a uid, this very one only."""
        self.context.kube.delete("batch/v1", "Job", row.namespace, child(row.name, component), uid=uid)

    def wait_for_pods(self, row: WorkflowRow, component: str) -> None:
        """Raises NotYet while there are pods of a Job that was removed."""
        if self._pods(row, component):
            raise NotYet("OldJob", f"the pods of Job {child(row.name, component)} are being removed", 1.0)

    def _pods(self, row: WorkflowRow, component: str) -> list[dict[str, Any]]:
        """As the API server has them now."""
        return self.context.kube.list("v1", "Pod", row.namespace, labels.selector(KIND, row.name, component))
