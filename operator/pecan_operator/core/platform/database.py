"""The database `bety`: roles, BETY's tables and the ledger's schema, made and brought up to date by a Job."""

from __future__ import annotations

from pecan_operator.core.platform import postgres
from pecan_operator.core.platform.base import Kept, Manifest, Platform, Service, job, pod
from pecan_operator.core.pods import secret_variable

COMPONENT = "database"
# The user of the operator's image.
UID = GID = 65532


def database_manifests(platform: Platform, kept: Kept) -> list[Manifest]:
    """The Job. It runs again when its image, a name, a password or the volume changes; it may be repeated any time."""
    container = {
        "name": COMPONENT,
        "image": platform.images.operator,
        "args": ["database"],
        "env": [
            {"name": "PGHOST", "value": platform.host(postgres.COMPONENT)},
            {"name": "PGPORT", "value": str(postgres.PORT)},
            {"name": "PGUSER", "value": postgres.SUPERUSER},
            {"name": "PGDATABASE", "value": postgres.DATABASE},
            secret_variable("PGPASSWORD", platform.child(postgres.COMPONENT), "password"),
            secret_variable("BETY_PASSWORD", platform.child("bety"), "PGPASSWORD"),
            secret_variable("LEDGER_PASSWORD", platform.child("ledger"), "PGPASSWORD"),
            {"name": "PECAN_HOSTNAME", "value": platform.spec.hostname},
            {"name": "PECAN_LOCAL_SERVER", "value": str(platform.spec.local_server)},
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }
    passwords = [kept.secrets[suffix] for suffix in postgres.POSTGRES.generated]
    # The Job's name shows eight digits of a hash of drawn passwords, which tells nothing of them.
    inputs = [passwords, kept.claims[postgres.COMPONENT]]
    return [job(platform, COMPONENT, COMPONENT, pod(platform, UID, GID, container, []), inputs)]


DATABASE = Service(
    component=COMPONENT,
    condition="DatabaseReady",
    workload=("batch/v1", "Job"),
    manifests=database_manifests,
    after=("postgres",),
)
