from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pecan_operator.api.platform import PlatformSpec
from pecan_operator.core.platform import Kept, Platform
from pecan_operator.settings import Images

EXPECTED = Path(__file__).parent / "expected"


@pytest.fixture
def make_platform() -> Callable[..., Platform]:
    def make(name: str = "pecan", pull_secrets: tuple[str, ...] = (), **spec: Any) -> Platform:
        owner = {
            "apiVersion": "pecanproject.org/v1alpha1",
            "kind": "PecanPlatform",
            "name": name,
            "uid": "0c",
            "controller": True,
            "blockOwnerDeletion": False,
        }
        images = Images("op:1", "ex:1", "r:1", "pg:1", "mq:1", "IfNotPresent", pull_secrets)
        return Platform(name, "forest", owner, PlatformSpec.model_validate(spec), images)

    return make


@pytest.fixture
def kept() -> Kept:
    return Kept(
        secrets={
            "postgres": {"password": "super"},
            "bety": {"PGPASSWORD": "betypw"},
            "ledger": {"PGPASSWORD": "ledgerpw"},
            "rabbitmq": {"password": "operatorpw"},
            "amqp": {"password": "workerpw"},
        },
        claims={"data": "uid-data", "postgres": "uid-postgres", "rabbitmq": "uid-rabbitmq"},
    )


@pytest.fixture
def expected() -> Callable[[str], list[Any]]:
    """The manifests written down in expected/<name>.yaml."""
    return lambda name: list(yaml.safe_load_all((EXPECTED / f"{name}.yaml").read_text()))
