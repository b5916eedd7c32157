"""RabbitMQ: carries runs to workers and their events back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from pecan_operator.api.model import RUN_TIMEOUT_MAX_SECONDS
from pecan_operator.core.platform.base import (
    Kept,
    Manifest,
    Platform,
    Service,
    encode,
    generated_secret,
    pod,
    service,
    stateful_set,
    volume_claim,
)

COMPONENT = "rabbitmq"
AMQP_PORT = 5672
MANAGEMENT_PORT = 15672
VHOST = "pecan"
OPERATOR_USER = "pecan-operator"
WORKER_USER = "pecan"
# User and group `rabbitmq` of the official image.
UID = GID = 999
VOLUME_PATH = "/var/lib/rabbitmq"
CONFIG_PATH = "/etc/pecan"
# The node's name is part of where its data lies and of the queues' membership: it must never change, so it is not the
# pod's. Being `localhost`, it also keeps Erlang's distribution, which only its cookie protects, off the network.
NODE = "rabbit@localhost"
# How long a message may be held: longer than the longest run that a PecanModel permits, or the longest workflow the
# classic executor holds a message for. The same for all queues: policies do not merge, and with one policy for each of
# many queues the broker would compare all with all whenever one is written.
CONSUMER_TIMEOUT_MILLISECONDS = (RUN_TIMEOUT_MAX_SECONDS + 24 * 3600) * 1000

RABBITMQ_CONF = f"""\
listeners.tcp.default = {AMQP_PORT}
management.tcp.port = {MANAGEMENT_PORT}
# Read before the listeners open: nobody meets a broker without its users, virtual host or policies.
load_definitions = {CONFIG_PATH}/definitions.json
consumer_timeout = {CONSUMER_TIMEOUT_MILLISECONDS}
log.console = true
log.console.level = info
# 512 MiB by default, and the log of the quorum queues is held in memory too: too much for a small broker.
raft.wal_max_size_bytes = 67108864
disk_free_limit.absolute = 200MB
"""


def rabbitmq_secrets(platform: Platform, draw: Callable[[], str]) -> list[Manifest]:
    """The connections of the operator and of the workers."""
    operator_password, worker_password = draw(), draw()
    host = platform.host(COMPONENT)
    return [
        generated_secret(
            platform,
            COMPONENT,
            COMPONENT,
            {
                "username": OPERATOR_USER,
                "password": operator_password,
                "uri": f"amqp://{OPERATOR_USER}:{operator_password}@{host}:{AMQP_PORT}/{VHOST}",
                "management-uri": f"http://{host}:{MANAGEMENT_PORT}",
            },
        ),
        generated_secret(
            platform,
            COMPONENT,
            "amqp",
            {
                "username": WORKER_USER,
                "password": worker_password,
                # PEcAn's R code makes the management address of it: same host and credentials, no path.
                "RABBITMQ_URI": f"amqp://{WORKER_USER}:{worker_password}@{host}:{AMQP_PORT}/{VHOST}",
            },
        ),
    ]


def rabbitmq_claim(platform: Platform) -> Manifest:
    """The volume of the queues."""
    return volume_claim(platform, COMPONENT, platform.spec.rabbitmq.storage, ["ReadWriteOnce"])


def rabbitmq_manifests(platform: Platform, kept: Kept) -> list[Manifest]:
    """Configuration, definitions, Service and StatefulSet."""
    config = {"rabbitmq.conf": RABBITMQ_CONF, "enabled_plugins": "[rabbitmq_management].\n"}
    loaded = definitions(kept.secrets[COMPONENT]["password"], kept.secrets["amqp"]["password"])
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": platform.metadata(COMPONENT), "data": config},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": platform.metadata(COMPONENT, "definitions"),
            "type": "Opaque",
            "data": encode({"definitions.json": json.dumps(loaded, indent=1)}),
        },
        service(platform, COMPONENT, {"amqp": AMQP_PORT, "management": MANAGEMENT_PORT}),
        stateful_set(platform, COMPONENT, rabbitmq_pod(platform), config=[config, loaded]),
    ]


def rabbitmq_pod(platform: Platform) -> Manifest:
    """The pod, for rabbitmq:4.0-management and any image that honours its contract."""
    container = {
        "name": COMPONENT,
        "image": platform.spec.rabbitmq.image or platform.images.rabbitmq,
        "env": [
            {"name": "RABBITMQ_NODENAME", "value": NODE},
            {"name": "RABBITMQ_CONFIG_FILE", "value": f"{CONFIG_PATH}/rabbitmq.conf"},
            {"name": "RABBITMQ_ENABLED_PLUGINS_FILE", "value": f"{CONFIG_PATH}/enabled_plugins"},
            {"name": "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "value": "-kernel inet_dist_use_interface {127,0,0,1}"},
            {"name": "ERL_EPMD_ADDRESS", "value": "127.0.0.1"},
            # Erlang's cookie is made here, anew for each pod: on a volume whose files belong to a group it is refused.
            {"name": "HOME", "value": "/tmp"},
        ],
        "ports": [
            {"name": "amqp", "containerPort": AMQP_PORT},
            {"name": "management", "containerPort": MANAGEMENT_PORT},
        ],
        "resources": platform.spec.rabbitmq.resources.model_dump(exclude_none=True),
        # No rabbitmq-diagnostics: each call starts an Erlang of its own, one to two seconds of a core.
        "startupProbe": {
            "tcpSocket": {"port": "amqp"},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 600,
        },
        "readinessProbe": {
            "tcpSocket": {"port": "amqp"},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 2,
        },
        # The management page, which needs no login, is served by Erlang code: a hung node does not answer.
        "livenessProbe": {
            "httpGet": {"path": "/", "port": "management"},
            "periodSeconds": 15,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
        "volumeMounts": [
            {"name": "data", "mountPath": VOLUME_PATH},
            {"name": "config", "mountPath": CONFIG_PATH, "readOnly": True},
            {"name": "log", "mountPath": "/var/log/rabbitmq"},
        ],
    }
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": platform.child(COMPONENT)}},
        {
            "name": "config",
            "projected": {
                "sources": [
                    {"configMap": {"name": platform.child(COMPONENT)}},
                    {"secret": {"name": platform.child("definitions")}},
                ]
            },
        },
        {"name": "log", "emptyDir": {}},
    ]
    return pod(platform, UID, GID, container, volumes, terminationGracePeriodSeconds=60)


def definitions(operator_password: str, worker_password: str) -> dict[str, Any]:
    """What RabbitMQ loads at each start: users with just their rights, the virtual host, policies for all queues.

    Any user may declare, fill and empty model queues, as PEcAn's own programs do. What begins with `pecan.` is between
    operator and workers: a worker only sends events (through the default exchange) and listens to `pecan.control`.
    The management tag lets PEcAn's R code publish over HTTP, and the operator read how much workers hold.
    """
    others = r"^(?!pecan\.).*$"
    timeout = {"consumer-timeout": CONSUMER_TIMEOUT_MILLISECONDS}
    dead_letters = {"dead-letter-exchange": "", "dead-letter-routing-key": "pecan.dead"}
    return {
        "users": [
            {"name": OPERATOR_USER, "tags": ["management"], **_password(operator_password)},
            {"name": WORKER_USER, "tags": ["management"], **_password(worker_password)},
        ],
        "vhosts": [{"name": VHOST, "metadata": {"default_queue_type": "quorum"}}],
        "permissions": [
            {"user": OPERATOR_USER, "vhost": VHOST, "configure": ".*", "write": ".*", "read": ".*"},
            {
                "user": WORKER_USER,
                "vhost": VHOST,
                "configure": others,
                "write": others,
                "read": r"^(?!pecan\.(events|dead)$).*$",
            },
        ],
        "policies": [
            _policy("pecan-default", ".*", 0, {"delivery-limit": 20, **timeout, **dead_letters}),
            # Events and dead letters wait for the operator however often it loses its connection.
            _policy("pecan-own", r"^pecan\.(events|dead)$", 1, {"delivery-limit": -1, **timeout}),
        ],
    }


def password_hash(password: str, salt: bytes) -> str:
    """A password as RabbitMQ's `rabbit_password_hashing_sha256` stores it: base64 of salt (4 bytes) and SHA-256."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _password(password: str) -> dict[str, str]:
    # A salt that follows from the password: with a drawn one the definitions would differ at each reconcile.
    salt = hmac.new(password.encode(), b"pecan-operator", hashlib.sha256).digest()[:4]
    return {
        "password_hash": password_hash(password, salt),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
    }


def _policy(name: str, pattern: str, priority: int, definition: dict[str, Any]) -> dict[str, Any]:
    return {
        "vhost": VHOST,
        "name": name,
        "pattern": pattern,
        "apply-to": "quorum_queues",
        "priority": priority,
        "definition": definition,
    }


RABBITMQ = Service(
    component=COMPONENT,
    condition="RabbitMQReady",
    workload=("apps/v1", "StatefulSet"),
    manifests=rabbitmq_manifests,
    claim=rabbitmq_claim,
    generated=(COMPONENT, "amqp"),
    generate=rabbitmq_secrets,
    after=("data",),
)
