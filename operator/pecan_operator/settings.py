"""The operator's own settings, from its environment (set by the chart)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pecan_operator.errors import UserError


@dataclass(frozen=True)
class Images:
    """Default images of what the operator deploys; a PecanPlatform may override them."""

    operator: str
    executor: str
    pecan_executor: str
    postgres: str
    rabbitmq: str
    pull_policy: str
    pull_secrets: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """`watch_namespaces` empty means the whole cluster; `executor_jobs` is the most Jobs of workflows at a time in each
    namespace."""

    images: Images
    watch_namespaces: tuple[str, ...]
    namespace: str
    lease_name: str
    log_level: str
    apply_crds: bool
    health_port: int
    executor_jobs: int


DEFAULTS = {
    "PECAN_IMAGE_OPERATOR": "ghcr.io/pecan-operator/operator:0.1.0",
    "PECAN_IMAGE_EXECUTOR": "ghcr.io/pecan-operator/executor:0.1.0",
    "PECAN_IMAGE_PECAN_EXECUTOR": "pecan/executor:latest",
    "PECAN_IMAGE_POSTGRES": "postgis/postgis:17-3.5",
    "PECAN_IMAGE_RABBITMQ": "rabbitmq:4.0-management",
    "PECAN_IMAGE_PULL_POLICY": "IfNotPresent",
    "PECAN_IMAGE_PULL_SECRETS": "",
    "PECAN_WATCH_NAMESPACES": "",
    "PECAN_OPERATOR_NAMESPACE": "default",
    "PECAN_LEASE_NAME": "pecan-operator",
    "PECAN_LOG_LEVEL": "INFO",
    "PECAN_APPLY_CRDS": "true",
    "PECAN_HEALTH_PORT": "8080",
    "PECAN_EXECUTOR_JOBS": "10",
}


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; unset variables take the published defaults.

    Raises:
        UserError: a variable has a value that cannot be used; the message names it.
    """
    given = os.environ if environment is None else environment
    value = {name: given.get(name, "") or default for name, default in DEFAULTS.items()}
    if value["PECAN_APPLY_CRDS"] not in ("true", "false"):
        raise UserError("InvalidSettings", f"PECAN_APPLY_CRDS is {value['PECAN_APPLY_CRDS']!r}: write true or false")
    if value["PECAN_LOG_LEVEL"] not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise UserError(
            "InvalidSettings", f"PECAN_LOG_LEVEL is {value['PECAN_LOG_LEVEL']!r}: write DEBUG, INFO, WARNING or ERROR"
        )
    if value["PECAN_IMAGE_PULL_POLICY"] not in ("Always", "IfNotPresent", "Never"):
        raise UserError(
            "InvalidSettings",
            f"PECAN_IMAGE_PULL_POLICY is {value['PECAN_IMAGE_PULL_POLICY']!r}: write Always, IfNotPresent or Never",
        )
    if not value["PECAN_HEALTH_PORT"].isdecimal() or not 1 <= int(value["PECAN_HEALTH_PORT"]) <= 65535:
        raise UserError(
            "InvalidSettings", f"PECAN_HEALTH_PORT is {value['PECAN_HEALTH_PORT']!r}: write a port, 1 to 65535"
        )
    if not value["PECAN_EXECUTOR_JOBS"].isdecimal() or not 1 <= int(value["PECAN_EXECUTOR_JOBS"]) <= 10_000:
        raise UserError(
            "InvalidSettings", f"PECAN_EXECUTOR_JOBS is {value['PECAN_EXECUTOR_JOBS']!r}: write a number, 1 to 10000"
        )
    return Settings(
        images=Images(
            operator=value["PECAN_IMAGE_OPERATOR"],
            executor=value["PECAN_IMAGE_EXECUTOR"],
            pecan_executor=value["PECAN_IMAGE_PECAN_EXECUTOR"],
            postgres=value["PECAN_IMAGE_POSTGRES"],
            rabbitmq=value["PECAN_IMAGE_RABBITMQ"],
            pull_policy=value["PECAN_IMAGE_PULL_POLICY"],
            pull_secrets=_items(value["PECAN_IMAGE_PULL_SECRETS"]),
        ),
        watch_namespaces=_items(value["PECAN_WATCH_NAMESPACES"]),
        namespace=value["PECAN_OPERATOR_NAMESPACE"],
        lease_name=value["PECAN_LEASE_NAME"],
        log_level=value["PECAN_LOG_LEVEL"],
        apply_crds=value["PECAN_APPLY_CRDS"] == "true",
        health_port=int(value["PECAN_HEALTH_PORT"]),
        executor_jobs=int(value["PECAN_EXECUTOR_JOBS"]),
    )


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
