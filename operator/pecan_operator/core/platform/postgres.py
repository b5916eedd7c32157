"""PostgreSQL with PostGIS: BETY's tables and the ledger of runs."""

from __future__ import annotations

from collections.abc import Callable

from pecan_operator.core.platform.base import (
    Kept,
    Manifest,
    Platform,
    Service,
    generated_secret,
    pod,
    service,
    stateful_set,
    volume_claim,
)
from pecan_operator.core.pods import secret_variable

COMPONENT = "postgres"
PORT = 5432
DATABASE = "bety"
SUPERUSER = "postgres"
# The roles of the database `bety` by the suffix of the Secret that holds their connection.
ROLES = {"bety": "bety", "ledger": "pecan_operator"}
# User and group `postgres` of the image postgis/postgis.
UID = GID = 999
VOLUME_PATH = "/var/lib/postgresql/data"


def postgres_secrets(platform: Platform, draw: Callable[[], str]) -> list[Manifest]:
    """The superuser's password, and for each role the variables of libpq, which PEcAn reads too."""
    superuser = generated_secret(platform, COMPONENT, COMPONENT, {"password": draw()})
    logins = {suffix: _login(platform, role, draw()) for suffix, role in ROLES.items()}
    return [superuser, *(generated_secret(platform, COMPONENT, suffix, login) for suffix, login in logins.items())]


def postgres_claim(platform: Platform) -> Manifest:
    """The volume of the database."""
    return volume_claim(platform, COMPONENT, platform.spec.postgres.storage, ["ReadWriteOnce"])


def postgres_manifests(platform: Platform, _kept: Kept) -> list[Manifest]:
    """Service and StatefulSet. A changed password replaces no pod: PostgreSQL reads it only for an empty volume."""
    return [
        service(platform, COMPONENT, {"postgres": PORT}),
        stateful_set(platform, COMPONENT, postgres_pod(platform)),
    ]


def postgres_pod(platform: Platform) -> Manifest:
    """The pod, for postgis/postgis and any image that honours its contract."""
    # Over TCP: while the image makes a new database, its server listens on the socket only.
    is_ready = {"exec": {"command": ["pg_isready", "--quiet", "--host=127.0.0.1", f"--username={SUPERUSER}"]}}
    container = {
        "name": COMPONENT,
        "image": platform.spec.postgres.image or platform.images.postgres,
        "env": [
            secret_variable("POSTGRES_PASSWORD", platform.child(COMPONENT), "password"),
            # A folder of its own, for the root of a volume may hold lost+found.
            {"name": "PGDATA", "value": f"{VOLUME_PATH}/pgdata"},
        ],
        "ports": [{"name": "postgres", "containerPort": PORT}],
        "resources": platform.spec.postgres.resources.model_dump(exclude_none=True),
        # Ten minutes: after a crash PostgreSQL replays its log before it lets anybody in.
        "startupProbe": {**is_ready, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 600},
        "readinessProbe": {**is_ready, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**is_ready, "periodSeconds": 15, "timeoutSeconds": 10, "failureThreshold": 6},
        "volumeMounts": [
            {"name": "data", "mountPath": VOLUME_PATH},
            {"name": "run", "mountPath": "/var/run/postgresql"},
        ],
    }
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": platform.child(COMPONENT)}},
        {"name": "run", "emptyDir": {}},
    ]
    return pod(platform, UID, GID, container, volumes, terminationGracePeriodSeconds=30)


def _login(platform: Platform, role: str, password: str) -> dict[str, str]:
    return {
        "PGHOST": platform.host(COMPONENT),
        "PGPORT": str(PORT),
        "PGUSER": role,
        "PGPASSWORD": password,
        "PGDATABASE": DATABASE,
    }


POSTGRES = Service(
    component=COMPONENT,
    condition="PostgresReady",
    workload=("apps/v1", "StatefulSet"),
    manifests=postgres_manifests,
    claim=postgres_claim,
    generated=(COMPONENT, *ROLES),
    generate=postgres_secrets,
    after=("data",),
)
