import pytest

from pecan_operator.errors import UserError
from pecan_operator.settings import read_settings


def test_an_empty_environment_gives_the_published_defaults() -> None:
    settings = read_settings({})
    assert settings.images.operator == "ghcr.io/pecan-operator/operator:0.1.0"
    assert settings.images.executor == "ghcr.io/pecan-operator/executor:0.1.0"
    assert settings.images.pecan_executor == "pecan/executor:latest"
    assert settings.images.postgres == "postgis/postgis:17-3.5"
    assert settings.images.rabbitmq == "rabbitmq:4.0-management"
    assert settings.images.pull_policy == "IfNotPresent"
    assert settings.images.pull_secrets == ()
    assert settings.watch_namespaces == ()
    assert settings.apply_crds is True
    assert settings.health_port == 8080


def test_empty_variables_count_as_unset() -> None:
    assert read_settings({"PECAN_HEALTH_PORT": "", "PECAN_WATCH_NAMESPACES": ""}) == read_settings({})


def test_every_variable_is_read() -> None:
    settings = read_settings(
        {
            "PECAN_IMAGE_OPERATOR": "a/operator:1",
            "PECAN_IMAGE_EXECUTOR": "a/executor:1",
            "PECAN_IMAGE_PECAN_EXECUTOR": "pecan/executor:1.8.0",
            "PECAN_IMAGE_POSTGRES": "a/postgis:1",
            "PECAN_IMAGE_RABBITMQ": "a/rabbitmq:1",
            "PECAN_IMAGE_PULL_POLICY": "Never",
            "PECAN_IMAGE_PULL_SECRETS": "one, two,",
            "PECAN_WATCH_NAMESPACES": " north ,,south",
            "PECAN_OPERATOR_NAMESPACE": "pecan-system",
            "PECAN_LEASE_NAME": "forest",
            "PECAN_LOG_LEVEL": "DEBUG",
            "PECAN_APPLY_CRDS": "false",
            "PECAN_HEALTH_PORT": "9090",
        }
    )
    assert settings.images.pecan_executor == "pecan/executor:1.8.0"
    assert settings.images.rabbitmq == "a/rabbitmq:1"
    assert settings.images.pull_secrets == ("one", "two")
    assert settings.images.pull_policy == "Never"
    assert settings.watch_namespaces == ("north", "south")
    assert (settings.namespace, settings.lease_name) == ("pecan-system", "forest")
    assert settings.log_level == "DEBUG"
    assert settings.apply_crds is False
    assert settings.health_port == 9090


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PECAN_APPLY_CRDS", "yes"),
        ("PECAN_LOG_LEVEL", "LOUD"),
        ("PECAN_IMAGE_PULL_POLICY", "Sometimes"),
        ("PECAN_HEALTH_PORT", "http"),
        ("PECAN_HEALTH_PORT", "-1"),
        ("PECAN_HEALTH_PORT", "0"),
        ("PECAN_HEALTH_PORT", "65536"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(UserError, match=name) as refused:
        read_settings({name: value})
    assert value in refused.value.message
