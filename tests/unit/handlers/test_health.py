from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from pecan_operator.handlers.health import serve


class Checks:
    healthy: str | None = None
    ready: str | None = None


@pytest.fixture(scope="module")
def checks() -> Checks:
    return Checks()


@pytest.fixture(scope="module")
def address(checks: Checks) -> Iterator[str]:
    server = serve(0, lambda: checks.healthy, lambda: checks.ready)
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=2) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_all_well(address: str) -> None:
    assert get(f"{address}/healthz") == (200, "ok\n")
    assert get(f"{address}/readyz") == (200, "ok\n")


def test_what_is_wrong_is_said_in_a_line(address: str, checks: Checks) -> None:
    checks.healthy = "a reconcile has been going on for 400 s"
    assert get(f"{address}/healthz") == (503, "a reconcile has been going on for 400 s\n")
    assert get(f"{address}/readyz") == (200, "ok\n")
    checks.ready = "the first listing has not been done"
    assert get(f"{address}/readyz") == (503, "the first listing has not been done\n")
    checks.healthy = checks.ready = None


def test_metrics_and_nothing_else(address: str) -> None:
    code, text = get(f"{address}/metrics")
    assert code == 200
    assert "python_info" in text
    assert get(f"{address}/")[0] == 404
