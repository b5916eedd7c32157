"""The children of a PecanWorkflow: its settings, and the Jobs that prepare, analyse and clean up beside the data."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pecan_operator.api.workflow import PecanWorkflow
from pecan_operator.core import labels, pecanxml, pods, rframework
from pecan_operator.core.model import DataVolume, Pulling
from pecan_operator.core.names import child
from pecan_operator.core.rframework import RExecutor
from pecan_operator.core.runs import EXIT_BAD_DATA
from pecan_operator.core.userxml import Ours
from pecan_operator.records import WorkflowRow

Manifest = dict[str, Any]

SETTINGS_FOLDER = "/etc/pecan"
JOB_DEADLINE_SECONDS = 6 * 3600
JOB_TTL_SECONDS = 3600
JOB_RETRIES = 3
TRIED_AGAIN: Manifest = {
    "backoffLimit": JOB_RETRIES,
    "activeDeadlineSeconds": JOB_DEADLINE_SECONDS,
    "podFailurePolicy": {
        "rules": [
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [EXIT_BAD_DATA]}},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        ]
    },
}
# How long conversions or a data assimilation take nobody knows; what waits for ever is to end nevertheless.
R_DEADLINE_SECONDS = 7 * 24 * 3600
GENERATION = f"{labels.GROUP}/retry-generation"
RESOURCES: Manifest = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}
SIDECAR_RESOURCES: Manifest = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}


@dataclass(frozen=True)
class Site:
    """Where a workflow's Jobs run: image, volume and the Secrets with the roles they use."""

    executor_image: str
    data: DataVolume
    pulling: Pulling
    bety_secret: str
    ledger_secret: str
    r: RExecutor


def settings(workflow: PecanWorkflow, row: WorkflowRow, model: pecanxml.Model, hostname: str) -> pecanxml.Settings:
    """What pecan.xml says of the structured fields of a workflow."""
    spec = workflow.spec.structured
    return pecanxml.Settings(
        workflow_id=row.workflow_id,
        folder=row.folder,
        hostname=hostname,
        queue=row.queue,
        model=model,
        sites=[
            pecanxml.Site(
                id=site.id,
                name=site.name,
                lat=site.lat,
                lon=site.lon,
                inputs={tag: list(given.paths) for tag, given in site.inputs.items()},
            )
            for site in spec.sites
        ],
        start_date=spec.start,
        end_date=spec.end,
        inputs={
            tag: pecanxml.Input(paths=list(given.paths), method=given.method, parent=given.parent)
            for tag, given in spec.inputs.items()
        },
        pfts=[
            pecanxml.Pft(
                name=pft.name,
                priors={
                    trait: pecanxml.Prior(distn=prior.distn, parama=prior.parama, paramb=prior.paramb)
                    for trait, prior in pft.traits.items()
                },
                constants=dict(pft.constants),
                priors_csv=pft.priors.csv,
                posterior_files=pft.priors.posterior_files,
                samples_csv=pft.priors.samples_csv,
            )
            for pft in spec.pfts
        ],
        ensemble=_ensemble(workflow),
        stop_on_error=row.stop_on_error,
        delete_raw=workflow.spec.delete_raw,
        sensitivity_analysis=_sensitivity_analysis(workflow),
        sites_csv=spec.sites_csv,
    )


def ours(
    workflow: PecanWorkflow,
    row: WorkflowRow | None,
    model: pecanxml.Model,
    queue: str,
    hostname: str,
    *,
    user_code: bool = False,
) -> Ours:
    """What is ours to say in a user's pecan.xml. Without a row its id and folder stand for those it will get."""
    spec = workflow.spec
    source = spec.pecan_xml
    workflow_id = 1 if row is None else row.workflow_id
    base_dir = None
    if source is not None:
        base_dir = source.base_dir or (source.path and posixpath.dirname(source.path))
    return Ours(
        workflow_id=workflow_id,
        folder=f"/data/workflows/PEcAn_{workflow_id}" if row is None else row.folder,
        hostname=hostname,
        queue=queue,
        model=model,
        base_dir=base_dir,
        stop_on_error=spec.stop_on_error,
        delete_raw=spec.delete_raw,
        seed=seed(workflow),
        user_code=user_code,
    )


def _ensemble(workflow: PecanWorkflow) -> pecanxml.Ensemble | None:
    given = workflow.spec.ensemble
    if given is None:
        return None
    return pecanxml.Ensemble(
        size=given.size,
        variables=list(given.variables),
        start_year=given.start_year,
        end_year=given.end_year,
        sampling_method=given.sampling_method,
        seed=seed(workflow),
    )


def _sensitivity_analysis(workflow: PecanWorkflow) -> pecanxml.SensitivityAnalysis | None:
    ensemble, given = workflow.spec.ensemble, workflow.spec.sensitivity_analysis
    if given is None:
        return None
    return pecanxml.SensitivityAnalysis(
        variables=list(given.variables or (ensemble.variables if ensemble else ())),
        sigma=list(given.quantiles.sigma),
        quantile=list(given.quantiles.quantile),
        start_year=given.start_year,
        end_year=given.end_year,
        seed=None if ensemble else seed(workflow),
    )


def seed(workflow: PecanWorkflow) -> int:
    """What the draws depend on: the user's seed, else one from the uid."""
    part = workflow.spec.ensemble or workflow.spec.sensitivity_analysis
    return pecanxml.seed_of(workflow.uid) if part is None or part.seed is None else part.seed


def settings_config(workflow: PecanWorkflow, owner: Mapping[str, Any], pecan_xml: str | Ours) -> Manifest:
    """The ConfigMap mounted into the workflow's Jobs: pecan.xml, or what completes the one that is on the data volume."""
    data = {"ours.json": json.dumps(asdict(pecan_xml))} if isinstance(pecan_xml, Ours) else {"pecan.xml": pecan_xml}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(workflow.name, workflow.namespace, "settings", owner),
        "data": data,
    }


def prepare_job(
    workflow: PecanWorkflow, owner: Mapping[str, Any], row: WorkflowRow, site: Site, told: Mapping[str, Any]
) -> Manifest:
    """folder (ours) > framework > register (ours); `told` is the operator's part of provenance.json."""
    if row.framework == rframework.PECAN:
        containers = _around_r("folder", rframework.PREPARE, "register", row, site)
    else:
        containers = [
            _container("folder", "folder", None, row, site),
            _container("framework", "prepare", site.bety_secret, row, site),
            _container("register", "register", site.ledger_secret, row, site),
        ]
    containers[0]["env"].append(_provenance(told))
    # The step `folder` puts pecan.xml beside the data; all later ones read it there.
    source = workflow.spec.pecan_xml
    if source is not None and source.path is not None:
        containers[0]["args"] += ["--pecan-xml", source.path]
    containers[0]["volumeMounts"].append({"name": "settings", "mountPath": SETTINGS_FOLDER, "readOnly": True})
    volumes = [{"name": "settings", "configMap": {"name": child(workflow.name, "settings")}}]
    return _job(workflow, owner, row, site, "prepare", containers, volumes)


def analyse_job(
    workflow: PecanWorkflow, owner: Mapping[str, Any], row: WorkflowRow, site: Site, told: Mapping[str, Any]
) -> Manifest:
    """resume (ours) > framework > report (ours); `told` is the operator's part of provenance.json."""
    if row.framework == rframework.PECAN:
        containers = _around_r("resume", rframework.ANALYSE, "report", row, site)
    else:
        containers = [
            _container("resume", "resume", site.ledger_secret, row, site),
            _container("framework", "analyse", None, row, site),
            _container("report", "report", site.ledger_secret, row, site),
        ]
    containers[0]["env"].append(_provenance(told))
    return _job(workflow, owner, row, site, "analyse", containers, [])


def _around_r(before: str, passed: tuple[str, str], after: str, row: WorkflowRow, site: Site) -> list[Manifest]:
    """Our step before R, a sidecar that tells the ledger the stage R is in, R, and our step after it."""
    ours = [_container(name, name, site.ledger_secret, row, site) for name in (before, "stages", after)]
    for container in (ours[0], ours[2]):
        container["args"] += ["--framework", rframework.PECAN]
    # What pecan.xml has to say of the services, for R takes it from nowhere else.
    ours[0]["env"].append(pods.secret_variable("RABBITMQ_URI", site.r.broker_secret, "RABBITMQ_URI"))
    ours[0]["envFrom"].append({"prefix": "BETY_", "secretRef": {"name": site.bety_secret}})
    ours[1]["restartPolicy"] = "Always"
    ours[1]["resources"] = SIDECAR_RESOURCES
    r = rframework.framework_container(passed, row.folder, site.r, site.bety_secret, site.pulling.policy)
    return [ours[0], ours[1], r, ours[2]]


def _provenance(told: Mapping[str, Any]) -> Manifest:
    return {"name": "PECAN_PROVENANCE", "value": json.dumps(told)}


def is_current(job: Mapping[str, Any], uid: str, retry_generation: int) -> bool:
    """Whether a Job is of this very PecanWorkflow, and was made since its latest retry."""
    metadata = job["metadata"]
    made_for = (metadata.get("annotations") or {}).get(GENERATION, "0")
    owners = metadata.get("ownerReferences") or []
    return made_for == str(retry_generation) and any(owner.get("uid") == uid for owner in owners)


def cleanup_job(row: WorkflowRow, site: Site) -> Manifest:
    """Removes the folder of a workflow that is gone; owned by nobody, and gone by itself an hour later."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            # Of its own name: a workflow of the same name may be there already.
            "name": child(row.name, f"cleanup{row.workflow_id}"),
            "namespace": row.namespace,
            "labels": labels.for_workflow(row.name, "cleanup"),
        },
        "spec": {
            **_job_spec(row.name, "cleanup", [_container("cleanup", "cleanup", None, row, site)], site, []),
            **TRIED_AGAIN,
        },
    }


def _job(
    workflow: PecanWorkflow,
    owner: Mapping[str, Any],
    row: WorkflowRow,
    site: Site,
    component: str,
    containers: Sequence[Manifest],
    volumes: Sequence[Manifest],
) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **_metadata(workflow.name, workflow.namespace, component, owner),
            "annotations": {GENERATION: str(row.retry_generation)},
        },
        "spec": {
            **_job_spec(workflow.name, component, containers, site, volumes),
            **(_tried_once(workflow.spec.deadline_seconds) if row.framework == rframework.PECAN else TRIED_AGAIN),
        },
    }


def _tried_once(deadline_seconds: int | None) -> Manifest:
    """With R, the operator decides on another try, and on a deadline of the workflow that comes first."""
    return {"backoffLimit": 0, "activeDeadlineSeconds": max(R_DEADLINE_SECONDS, deadline_seconds or 0)}


def _job_spec(
    name: str, component: str, containers: Sequence[Manifest], site: Site, volumes: Sequence[Manifest]
) -> Manifest:
    return {
        "ttlSecondsAfterFinished": JOB_TTL_SECONDS,
        "template": {
            "metadata": {"labels": labels.for_workflow(name, component)},
            "spec": {
                **pods.restricted_pod(site.data.uid, site.data.gid, site.pulling.secrets),
                "restartPolicy": "Never",
                "initContainers": list(containers[:-1]),
                "containers": [containers[-1]],
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": site.data.claim}},
                    {"name": "tmp", "emptyDir": {}},
                    *volumes,
                ],
            },
        },
    }


def _container(name: str, step: str, secret: str | None, row: WorkflowRow, site: Site) -> Manifest:
    container: Manifest = {
        "name": name,
        "image": site.executor_image,
        "imagePullPolicy": site.pulling.policy,
        "args": [step],
        "env": [
            {"name": "PECAN_WORKFLOW_ID", "value": str(row.workflow_id)},
            {"name": "PECAN_WORKFLOW_UID", "value": row.uid},
            {"name": "PECAN_FOLDER", "value": row.folder},
            {"name": "HOME", "value": "/tmp"},
        ],
        "resources": RESOURCES,
        "securityContext": pods.restricted_container(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    if secret is not None:
        container["envFrom"] = [{"secretRef": {"name": secret}}]
    return container


def _metadata(name: str, namespace: str, component: str, owner: Mapping[str, Any]) -> Manifest:
    return {
        "name": child(name, component),
        "namespace": namespace,
        "labels": labels.for_workflow(name, component),
        "ownerReferences": [labels.owner_reference(owner)],
    }
