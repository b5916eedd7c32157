"""PecanModel: registration in BETY, queue, and as many workers as the work asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from pecan_operator.api.model import PecanModel
from pecan_operator.core import labels
from pecan_operator.core.diagnosis import container_ending, diagnose
from pecan_operator.core.model import (
    DELETION_COST,
    VICTIM_COST,
    grace_seconds,
    keep_program,
    worker_deployment,
    worker_name,
    worker_program,
)
from pecan_operator.core.scaling import (
    Decision,
    Limits,
    Observation,
    Worker,
    count_busy,
    count_unknown,
    decide_departure,
    decide_replicas,
    patience,
    regrets_after_growth,
)
from pecan_operator.core.status import Condition, conditions, find
from pecan_operator.errors import NotYet, OperatorError, UserError
from pecan_operator.handlers import metrics
from pecan_operator.handlers.context import Context, Object, key_of, users
from pecan_operator.handlers.installation import Installation
from pecan_operator.handlers.patrol import Served
from pecan_operator.handlers.runs import QueueView
from pecan_operator.handlers.workqueue import Key

KIND = "PecanModel"
PROGRAM_SECONDS = 30.0


@dataclass
class Memory:
    """What is remembered of a model between calls; all of it can be lost.

    `done` says for which platform connection and generation registration and queue are in place; `below_since` since
    when fewer workers would have been enough; `down_at` when idle workers went last and `regrets` how often in a row
    that was too early, since `generation`; `program_at` when the worker's program was looked at last; `told` which
    endings of containers the workers have heard of; `growth` which growth of the work has been measured.
    """

    done: tuple[object, ...] | None = None
    model_id: int | None = None
    queue: str | None = None
    below_since: float | None = None
    generation: int | None = None
    down_at: float | None = None
    regrets: int = 0
    program_at: tuple[object, float] | None = None
    told: set[tuple[str, str]] = field(default_factory=set)
    growth: float | None = None


@dataclass
class ModelHandler:
    """Reconciles PecanModels."""

    context: Context
    clock: Callable[[], float] = time.monotonic
    _memories: dict[str, Memory] = field(default_factory=dict)
    _uids: dict[Key, str] = field(default_factory=dict)

    def reconcile(self, key: Key) -> None:
        obj = self.context.find(key)
        known = self._uids.get(key)
        if known is not None and (obj is None or obj["metadata"]["uid"] != known):
            self._forget(key, known)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return
        self._uids[key] = obj["metadata"]["uid"]
        memory = self._memories.setdefault(obj["metadata"]["uid"], Memory())
        try:
            model = PecanModel.parse(obj)
            if memory.done is None:
                self._check_queue_is_free(model, obj)
            installation = self.context.installations.get(key.namespace)
            self._register(model, installation, memory)
        except OperatorError as error:
            held = Condition("ScalingActive", False, error.reason, f"workers stay as they are: {error.message}")
            self.context.report_failure(obj, error, "Pending" if isinstance(error, NotYet) else "Degraded", held)
            raise
        self._scale(model, obj, installation, memory)

    def _forget(self, key: Key, uid: str) -> None:
        memory = self._memories.pop(uid, None)
        del self._uids[key]
        if memory is None or memory.queue is None:
            return
        try:
            installation = self.context.installations.get(key.namespace)
        except NotYet:
            return
        installation.loop.withdraw(memory.queue, key)
        for workflow in users(key, self.context.store):
            self.context.enqueue(workflow, 0.0)

    def _check_queue_is_free(self, model: PecanModel, obj: Object) -> None:
        for other in self.context.store.list(KIND, model.namespace):
            if other["metadata"]["uid"] == obj["metadata"]["uid"]:
                return
            spec = other.get("spec", {})
            if f"{spec.get('type')}_{spec.get('revision')}" == model.spec.queue:
                raise UserError(
                    "QueueTaken",
                    f"queue {model.spec.queue} belongs to PecanModel {other['metadata']['name']}, which is older: "
                    "delete one of the two",
                )

    def _register(self, model: PecanModel, installation: Installation, memory: Memory) -> None:
        wanted = (
            installation.connections.platform_uid,
            installation.broker.connections,
            id(installation),
            model.metadata.generation,
        )
        if memory.done == wanted:
            return
        memory.queue = model.spec.queue
        memory.model_id = installation.bety.register_model(
            hostname=installation.connections.hostname,
            model_type=model.spec.type,
            name=model.spec.type,
            revision=model.spec.revision,
            binary=model.spec.binary,
        )
        installation.broker.declare_queues([model.spec.queue])
        memory.done = wanted

    def _scale(self, model: PecanModel, obj: Object, installation: Installation, memory: Memory) -> None:
        deployment = self.context.store.get("Deployment", model.namespace, worker_name(model))
        if deployment is None:
            deployment = self.context.kube.read("apps/v1", "Deployment", model.namespace, worker_name(model))
        current = None if deployment is None else int(deployment["spec"].get("replicas", 1))
        view = installation.loop.view(model.spec.queue)
        pods = [
            pod
            for pod in self.context.pods(KIND, model.namespace, model.name, "worker")
            if not pod["metadata"].get("deletionTimestamp")
        ]
        # An ended pod (evicted, say) has been replaced by its ReplicaSet, and stays only for people to look at.
        workers = [_worker(pod, view) for pod in pods if _phase_of(pod) not in ("Succeeded", "Failed")]
        decision = self._decide(model, view, workers, current, memory)
        departure = decide_departure(workers, len(workers) - decision.replicas, decision.overdue)
        for pod in departure.give:
            self._mark(model.namespace, pod, VICTIM_COST)
        replicas = decision.replicas + departure.kept
        self._remember_step(model, memory, decision, current, replicas)
        self._apply(model, obj, installation, memory, replicas, workers, deployment)
        self._measure(model, memory, view, current, replicas)
        self._report_endings(installation, memory, pods)
        for pod in departure.take:
            self._mark(model.namespace, pod, None)
        if departure.ask:
            installation.loop.retire(departure.ask)
        if departure.resume:
            installation.loop.resume(departure.resume)
        installation.loop.serve(
            model.spec.queue,
            Served(
                key=key_of(obj),
                replicas=decision.replicas,
                suspended=model.spec.suspend,
                timeout_seconds=model.spec.run.timeout_seconds,
                grace_seconds=grace_seconds(model),
            ),
        )
        self._report(model, obj, memory, decision, view, workers, pods, deployment)

    def _remember_step(
        self, model: PecanModel, memory: Memory, decision: Decision, current: int | None, replicas: int
    ) -> None:
        now = self.clock()
        if memory.generation != model.metadata.generation:
            # What was learnt is about other wishes.
            memory.generation, memory.regrets, memory.down_at = model.metadata.generation, 0, None
        if current is not None and replicas < current:
            memory.below_since = memory.down_at = now
        elif current is not None and replicas > current and decision.outstanding:
            since_down = None if memory.down_at is None else now - memory.down_at
            memory.regrets = regrets_after_growth(memory.regrets, since_down, model.spec.scaling.idle_seconds)

    def _measure(self, model: PecanModel, memory: Memory, view: QueueView, current: int | None, replicas: int) -> None:
        if view.grew_at is None or view.grew_at == memory.growth:
            return
        memory.growth = view.grew_at
        if current is not None and replicas > current:
            metrics.DECISIONS.labels(model.namespace).observe(self.clock() - view.grew_at)

    def _report_endings(self, installation: Installation, memory: Memory, pods: Sequence[Object]) -> None:
        """Workers whose container was killed say nothing themselves; others wait for what they held."""
        endings = {pod["metadata"]["name"]: ending for pod in pods if (ending := container_ending(pod)) is not None}
        for pod, ending in endings.items():
            if (pod, ending.at) not in memory.told:
                installation.loop.report_ending(pod, ending.at, ending.how)
        memory.told = {(pod, ending.at) for pod, ending in endings.items()}

    def _decide(
        self, model: PecanModel, view: QueueView, workers: Sequence[Worker], current: int | None, memory: Memory
    ) -> Decision:
        now = self.clock()
        scaling = model.spec.scaling
        limits = Limits(
            min_replicas=scaling.min_replicas,
            max_replicas=scaling.max_replicas,
            runs_per_worker=scaling.runs_per_worker,
            idle_seconds=patience(scaling.idle_seconds, memory.regrets),
            suspended=model.spec.suspend,
        )
        observation = Observation(
            publishable=None if view.counts is None else view.counts.publishable,
            queued=None if view.counts is None else view.counts.queued,
            running=None if view.counts is None else view.counts.running,
            ready=view.ready,
            busy=count_busy(workers),
            unknown=count_unknown(workers),
            replicas=current,
            seconds_below=0.0 if memory.below_since is None else now - memory.below_since,
        )
        decision = decide_replicas(observation, limits)
        if current is None or decision.wanted is None or decision.wanted >= current:
            memory.below_since = None
        else:
            if memory.below_since is None:
                memory.below_since = now
            wait = limits.idle_seconds - (now - memory.below_since)
            self.context.enqueue(Key(KIND, model.namespace, model.name), max(wait, 1.0))
        return decision

    def _apply(
        self,
        model: PecanModel,
        obj: Object,
        installation: Installation,
        memory: Memory,
        replicas: int,
        workers: Sequence[Worker],
        deployment: Object | None,
    ) -> None:
        source = _worker_source()
        connections = installation.connections
        desired = worker_deployment(
            model,
            obj,
            replicas,
            source=source,
            credentials_secret=connections.worker_secret,
            credentials_version=connections.worker_secret_version,
            data=connections.data,
            pulling=connections.pulling,
        )
        if deployment is not None and count_busy(workers) + count_unknown(workers):
            # An upgrade of the operator is no reason to end a worker in the middle of its run.
            keep_program(desired, deployment)
        self._ensure_program(model, obj, source, memory, is_new=deployment is None)
        self.context.ensure(desired)

    def _ensure_program(self, model: PecanModel, obj: Object, source: str, memory: Memory, *, is_new: bool) -> None:
        """ConfigMaps are not watched, and reading one at every look would be most of what many models cost."""
        now = self.clock()
        wanted = (model.metadata.generation, source)
        if not is_new and memory.program_at is not None:
            known, moment = memory.program_at
            if known == wanted and now - moment < PROGRAM_SECONDS:
                return
        self.context.ensure(worker_program(model, obj, source))
        memory.program_at = (wanted, now)

    def _mark(self, namespace: str, pod: str, cost: str | None) -> None:
        self.context.kube.patch("v1", "Pod", namespace, pod, {"metadata": {"annotations": {DELETION_COST: cost}}})

    def _report(
        self,
        model: PecanModel,
        obj: Object,
        memory: Memory,
        decision: Decision,
        view: QueueView,
        workers: Sequence[Worker],
        pods: Sequence[Object],
        deployment: Object | None,
    ) -> None:
        subscribed = [worker for worker in workers if worker.known]
        trouble = diagnose(pods, workload=deployment) if len(subscribed) < decision.replicas else None
        known = decision.outstanding is not None
        told = Condition("ScalingActive", known, decision.reason, decision.message)
        if not known and view.broker_error:
            told = Condition("ScalingActive", False, "BrokerUnavailable", f"{decision.message} ({view.broker_error})")
        if trouble is not None:
            ready_workers = Condition("WorkersReady", False, trouble.reason, trouble.message)
        elif len(subscribed) < decision.replicas:
            ready_workers = Condition(
                "WorkersReady", False, "Starting", f"{len(subscribed)} of {decision.replicas} workers are ready"
            )
        else:
            ready_workers = Condition("WorkersReady", True, "Ready", f"{len(subscribed)} workers")
        served = "is served" if ready_workers.status else f"waits: {ready_workers.message}"
        ready = Condition("Ready", True, "Ready", f"queue {model.spec.queue} {served}")
        if trouble is not None:
            ready = Condition("Ready", False, trouble.reason, trouble.message)
        elif not known:
            ready = Condition("Ready", None, told.reason, told.message)
        status = {
            "phase": _phase(model, decision, trouble is not None, len(subscribed)),
            "observedGeneration": model.metadata.generation,
            "queue": model.spec.queue,
            "modelId": memory.model_id,
            "replicas": len(workers),
            "readyReplicas": len(subscribed),
            "busyWorkers": count_busy(workers),
            "selector": ",".join(f"{k}={v}" for k, v in labels.selector(KIND, model.name, "worker").items()),
            "conditions": conditions(
                (obj.get("status") or {}).get("conditions") or [],
                [
                    ready,
                    Condition("Registered", True, "Registered", f"BETY model {memory.model_id}"),
                    Condition("QueueReady", True, "QueueReady", f"queue {model.spec.queue}"),
                    ready_workers,
                    told,
                ],
                model.metadata.generation,
                self.context.now(),
            ),
        }
        if decision.outstanding is not None:
            status["outstanding"] = decision.outstanding
        self.context.write_status(obj, status)
        if _as_workflows_see_it(obj.get("status") or {}) != _as_workflows_see_it(status):
            for workflow in users(key_of(obj), self.context.store):
                self.context.enqueue(workflow, 0.0)


@cache
def _worker_source() -> str:
    return (resources.files("pecan_operator.assets") / "worker.py").read_text()


def _worker(pod: Object, view: QueueView) -> Worker:
    name = pod["metadata"]["name"]
    annotations = pod["metadata"].get("annotations") or {}
    return Worker(
        pod=name,
        started=_phase_of(pod) == "Running",
        known=name in view.workers,
        idle_since=view.workers.get(name),
        retired=name in view.retired,
        marked=DELETION_COST in annotations,
    )


def _phase_of(pod: Object) -> str | None:
    phase: str | None = (pod.get("status") or {}).get("phase")
    return phase


def _phase(model: PecanModel, decision: Decision, trouble: bool, subscribed: int) -> str:
    if trouble:
        return "Degraded"
    if model.spec.suspend:
        return "Suspended"
    if decision.replicas == 0:
        return "Idle"
    return "Ready" if subscribed else "Progressing"


def _as_workflows_see_it(status: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a workflow's own status says of its model."""
    ready = find(status, "Ready") or {}
    return status.get("modelId"), ready.get("status"), ready.get("reason")
