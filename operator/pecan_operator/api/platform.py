"""PecanPlatform: the shared services of one namespace."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pecan_operator.api.base import (
    ApiModel,
    AsSet,
    Bound,
    Column,
    Conditions,
    Definition,
    ImageReference,
    NoSchemaDefault,
    ObjectName,
    ObjectRef,
    Resource,
    Resources,
    Status,
    StorageSize,
    condition_message,
    immutable,
    keyed_by,
    rule,
    rules,
    text,
)

Hostname = Annotated[
    str,
    *text(
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
        "must be a host name in lower case without port, such as docker or pecan.example.org",
        253,
    ),
]
UserId = Annotated[int, Field(ge=1, le=2_000_000_000)]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
AccessMode = Literal["ReadWriteMany", "ReadWriteOnce"]
_VOLUME_STAYS = (
    "cannot be changed, since the volume exists already: apply the first value again, "
    "or make a new PecanPlatform in another namespace"
)


class Images(ApiModel):
    """How images are pulled. Which ones, the services and models say themselves."""

    pull_policy: PullPolicy | None = None
    """When to pull images of the platform, its models and workflows; left out, as the operator's chart says
    (image.pullPolicy)."""
    pull_secrets: Annotated[tuple[ObjectRef, ...], Field(max_length=20), keyed_by("name")] = ()
    """Secrets of this namespace with the credentials of private registries, for every pod of the platform."""


class DataVolume(
    ApiModel,
    json_schema_extra=rules(
        rule(
            "!has(self.existingClaim) || !(has(self.storageClassName) || has(self.size) || has(self.accessModes))",
            "existingClaim excludes storageClassName, size and accessModes, which describe a claim to be made",
            path=".existingClaim",
            reason="FieldValueForbidden",
        )
    ),
):
    """The volume that every pod of the platform sees as /data."""

    existing_claim: ObjectName | None = None
    """A PersistentVolumeClaim of this namespace to use. Left out, the operator makes one."""
    storage_class_name: ObjectName | None = None
    """StorageClass of the claim; left out, the cluster's default class."""
    size: Annotated[StorageSize, NoSchemaDefault] = "10Gi"
    """Size of the claim; 10Gi if left out."""
    access_modes: Annotated[tuple[AccessMode, ...], Field(min_length=1, max_length=2), AsSet, NoSchemaDefault] = (
        "ReadWriteMany",
    )
    """Access modes of the claim; ReadWriteMany if left out. ReadWriteOnce does on a cluster of one node."""
    uid: UserId = 1001
    """User id that owns the files; workers and Jobs run as it."""
    gid: UserId = 1001
    """Group id that owns the files."""


class Storage(ApiModel):
    """Volumes that are shared by all."""

    data: DataVolume = DataVolume()
    """The volume that every pod of the platform sees as /data."""


class ServiceVolume(ApiModel):
    """The volume of one service."""

    storage_class_name: ObjectName | None = None
    """StorageClass of the claim; left out, the cluster's default class."""
    size: StorageSize = "10Gi"
    """Size of the claim."""


class BrokerVolume(ServiceVolume):
    """The volume of the broker, which holds messages only as long as runs wait."""

    size: StorageSize = "5Gi"
    """Size of the claim."""


_SERVICE_RESOURCES = Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "1Gi"})


class Postgres(ApiModel):
    """PostgreSQL with PostGIS, for BETY's tables and the ledger of runs."""

    image: ImageReference | None = None
    """Image with PostgreSQL and PostGIS, with the contract of postgis/postgis; left out, the operator's default."""
    resources: Resources = _SERVICE_RESOURCES
    """Compute resources of the database."""
    storage: Annotated[ServiceVolume, immutable(f"postgres.storage {_VOLUME_STAYS}")] = ServiceVolume()
    """The volume of the database."""


class RabbitMQ(ApiModel):
    """RabbitMQ, which carries runs to workers."""

    image: ImageReference | None = None
    """Image with RabbitMQ 4 and its management plugin, honouring the contract of the official image; left out, the
    operator's default."""
    resources: Resources = _SERVICE_RESOURCES
    """Compute resources of the broker."""
    storage: Annotated[BrokerVolume, immutable(f"rabbitmq.storage {_VOLUME_STAYS}")] = BrokerVolume()
    """The volume of the broker."""


class PlatformSpec(ApiModel):
    """What the platform is made of. Every field has a default."""

    hostname: Annotated[
        Hostname,
        immutable("hostname cannot be changed: the database knows every file by it. Apply the first value again"),
    ] = "docker"
    """Name of this PEcAn installation in BETY's table machines (PEcAn's FQDN). Cannot be changed."""
    local_server: Annotated[
        int,
        Field(ge=1, le=9999),
        immutable("localServer cannot be changed: ids of the database begin with it. Apply the first value again"),
    ] = 99
    """Number n of this node among BETY's: ids run from n * 1,000,000,000 + 1. Cannot be changed."""
    framework: Literal["light"] = "light"
    """What prepares and analyses workflows: light is the operator's own executor, without R."""
    images: Images = Images()
    """How images are pulled."""
    storage: Annotated[Storage, immutable(f"storage {_VOLUME_STAYS}")] = Storage()
    """Volumes that are shared by all. Cannot be changed."""
    data_policy: Literal["Retain", "Delete"] = "Retain"
    """What becomes of volumes and generated Secrets when the platform is deleted: Retain keeps them, and a new platform
    of the same name takes them up; Delete removes them for ever."""
    postgres: Postgres = Postgres()
    """PostgreSQL with PostGIS."""
    rabbitmq: RabbitMQ = RabbitMQ()
    """RabbitMQ."""


class PlatformStatus(Status):
    """How the platform is."""

    phase: Literal["Pending", "Progressing", "Ready", "Degraded", "Deleting"] | None = None
    """One word for people; programs read the conditions."""
    observed_generation: Bound | None = None
    """The metadata.generation that this status is about."""
    hostname: Annotated[str, Field(max_length=253)] | None = None
    """Name under which the database knows this installation."""
    data_claim: Annotated[str, Field(max_length=253)] | None = None
    """PersistentVolumeClaim that is mounted as /data."""
    operator_image: Annotated[str, Field(max_length=1024)] | None = None
    """Image of the operator that has brought the services to this state."""
    conditions: Conditions = ()
    """Ready, DataReady, PostgresReady, RabbitMQReady and DatabaseReady."""


class PecanPlatform(Resource):
    """The shared services of a namespace: PostGIS, RabbitMQ, the BETY database and the data volume. One per namespace."""

    definition: ClassVar[Definition] = Definition(
        plural="pecanplatforms",
        short_name="pplat",
        status=PlatformStatus,
        columns=(
            Column("Phase", ".status.phase"),
            Column("Hostname", ".status.hostname", wide=True),
            Column("Data", ".status.dataClaim", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Message", condition_message("Ready")),
        ),
    )

    spec: PlatformSpec = PlatformSpec()
