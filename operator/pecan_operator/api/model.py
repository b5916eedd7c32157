"""PecanModel: one model at one revision, its queue and its workers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pecan_operator.api.base import (
    ApiModel,
    Atomic,
    Bound,
    Column,
    Conditions,
    Definition,
    ImageReference,
    LabelKey,
    LabelValue,
    ObjectName,
    Resource,
    Resources,
    Status,
    condition_message,
    immutable,
    keyed_by,
    rule,
    rules,
    text,
)
from pecan_operator.api.platform import PullPolicy

RUN_TIMEOUT_MAX_SECONDS = 30 * 24 * 3600
_QUEUE_STAYS = "cannot be changed: the queue and the registration in BETY are named after it. Make another PecanModel"

ModelWord = Annotated[
    str,
    *text(
        r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        "must be one word of letters, digits, '.', '_' and '-', beginning and ending with a letter or digit",
        64,
    ),
]
BinaryPath = Annotated[
    str,
    *text(
        r"^(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$",
        "must be the absolute path of a file in the image, such as /work/run or /usr/local/bin/sipnet.git",
        255,
    ),
]
EnvName = Annotated[
    str,
    *text(
        r"^[A-Za-z_][A-Za-z0-9_]*$",
        "must be the name of an environment variable: letters, digits and '_', not beginning with a digit",
        128,
    ),
]


class Scaling(
    ApiModel,
    json_schema_extra=rules(
        rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not be greater than maxReplicas",
            path=".minReplicas",
        )
    ),
):
    """How many workers there are."""

    min_replicas: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Workers that are kept even without work; `kubectl scale` sets this field."""
    max_replicas: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Most workers at a time."""
    runs_per_worker: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Outstanding runs for which one worker is started: 1 starts a worker for every run up to maxReplicas."""
    idle_seconds: Annotated[int, Field(ge=10, le=86_400)] = 30
    """Seconds for which fewer workers must have been enough before idle ones are taken away."""


class RunLimits(ApiModel):
    """What a single run may cost."""

    timeout_seconds: Annotated[int, Field(ge=1, le=RUN_TIMEOUT_MAX_SECONDS)] = 86_400
    """Seconds after which a run is stopped and counted as failed."""
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """How often a failing run is tried, the first time included. Bad input (exit code 65) is never tried again."""


class EnvVar(
    ApiModel,
    json_schema_extra=rules(
        rule(
            "!(self.name.startsWith('PECAN_') || self.name in ['RABBITMQ_URI', 'APPLICATION'])",
            "RABBITMQ_URI, APPLICATION and names that begin with PECAN_ are set by the operator",
            path=".name",
            reason="FieldValueForbidden",
        )
    ),
):
    """An environment variable with a plain value."""

    name: EnvName
    """Name of the variable."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """Its value, as it is: nothing is substituted."""


class Toleration(
    ApiModel,
    json_schema_extra=rules(
        rule(
            "self.operator != 'Exists' || !has(self.value)",
            "a toleration with operator Exists has no value",
            path=".value",
            reason="FieldValueForbidden",
        ),
        rule(
            "self.operator == 'Exists' || has(self.key)",
            "a toleration without key needs operator Exists",
            path=".key",
            reason="FieldValueRequired",
        ),
        rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds needs effect NoExecute",
            path=".tolerationSeconds",
        ),
    ),
):
    """A taint of nodes that workers put up with."""

    key: LabelKey | None = None
    """Key of the taint; left out with operator Exists, every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether the taint's value must be equal, or only its key there."""
    value: LabelValue | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; left out, every effect."""
    toleration_seconds: Bound | None = None
    """Seconds that a worker stays on a node with a NoExecute taint; left out, for ever."""


Interface = Literal["run", "pecan"]
DEFAULT_BINARY = "/work/run"


class ModelSpec(
    ApiModel,
    json_schema_extra=rules(
        rule(
            f"self.interface != 'pecan' || self.binary != '{DEFAULT_BINARY}'",
            "binary is required with interface pecan: the path of the model's program in the image, as in its model.json",
            path=".binary",
            reason="FieldValueRequired",
        )
    ),
):
    """The model, its image and its workers."""

    type: Annotated[ModelWord, immutable(f"type {_QUEUE_STAYS}")]
    """PEcAn's model type, BETY modeltypes.name, such as DALEC or SIPNET. Cannot be changed."""
    revision: Annotated[ModelWord, immutable(f"revision {_QUEUE_STAYS}")]
    """Revision of the model, BETY models.revision. Type and revision name the queue: <type>_<revision>. Cannot be
    changed."""
    image: ImageReference
    """Image of the workers: the model, /work/model.json and Python with pika."""
    image_pull_policy: PullPolicy | None = None
    """When to pull the image; left out, as the platform says."""
    binary: BinaryPath = DEFAULT_BINARY
    """The program in the image that a run calls; registered in BETY."""
    interface: Annotated[
        Interface,
        immutable("interface cannot be changed: runs are written for it. Make another PecanModel"),
    ] = "run"
    """How the image is spoken to: run means that its program reads config.json (pecan-run/1); pecan, that it has PEcAn's R,
    whose package for the model writes job.sh. Platforms with framework light run the first, with framework pecan the
    second. Cannot be changed."""
    worker: Literal["managed"] = "managed"
    """Whose worker process runs in the image: managed is the operator's, mounted into the image."""
    scaling: Scaling = Scaling()
    """How many workers there are."""
    run: RunLimits = RunLimits()
    """What a single run may cost."""
    resources: Resources = Resources()
    """Compute resources of a worker. One worker runs one model at a time."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=50), keyed_by("name")] = ()
    """Further environment variables of workers, inherited by the model."""
    node_selector: dict[LabelKey, LabelValue] = Field({}, max_length=20)
    """Labels of the nodes that workers may run on."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=20), Atomic] = ()
    """Taints of nodes that workers put up with."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of worker pods."""
    suspend: bool = False
    """True: no workers; runs wait in the queue. Those that run are finished."""

    @property
    def queue(self) -> str:
        """Name of the model's queue, as PEcAn's own containers name it."""
        return f"{self.type}_{self.revision}"


class ModelStatus(Status):
    """How the model and its workers are."""

    phase: Annotated[str, Field(max_length=32)] | None = None
    """One word for people: Pending, Idle (no workers, since no work), Progressing, Ready, Degraded or Suspended; programs
    read the conditions."""
    observed_generation: Bound | None = None
    """The metadata.generation that this status is about."""
    queue: Annotated[str, Field(max_length=255)] | None = None
    """The queue that brings runs to the workers."""
    model_id: Bound | None = None
    """BETY models.id."""
    replicas: Bound | None = None
    """Worker pods there are."""
    ready_replicas: Bound | None = None
    """Workers that have subscribed to the queue."""
    busy_workers: Bound | None = None
    """Workers with a run in hand."""
    outstanding: Bound | None = None
    """Runs that wait or run: in the ledger and in the queue."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the worker pods, for the scale sub-resource."""
    conditions: Conditions = ()
    """Ready, Registered, QueueReady, WorkersReady and ScalingActive."""


class PecanModel(Resource):
    """A model at a revision: registered in BETY, served by workers that follow the work. One per queue."""

    definition: ClassVar[Definition] = Definition(
        plural="pecanmodels",
        short_name="pmodel",
        status=ModelStatus,
        columns=(
            Column("Queue", ".status.queue"),
            Column("Phase", ".status.phase"),
            Column("Workers", ".status.readyReplicas", "integer"),
            Column("Busy", ".status.busyWorkers", "integer"),
            Column("Max", ".spec.scaling.maxReplicas", "integer"),
            Column("Outstanding", ".status.outstanding", "integer"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Image", ".spec.image", wide=True),
            Column("Message", condition_message("Ready")),
        ),
        scale={
            "specReplicasPath": ".spec.scaling.minReplicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    )

    spec: ModelSpec
