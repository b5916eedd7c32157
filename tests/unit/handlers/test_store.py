from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from objects import NAMESPACE, model_object, resource

from pecan_operator.handlers.store import Store, WatchMonitor


def pod(name: str, version: str = "1", **metadata: Any) -> dict[str, Any]:
    return resource("Pod", name, {}, **{"uid": f"uid-{name}", "resourceVersion": version, **metadata})


def test_the_latest_form_is_kept_without_what_nobody_reads() -> None:
    store = Store()
    store.put("Pod", pod("a", managedFields=[{"manager": "x"}]))
    found = store.get("Pod", NAMESPACE, "a")
    assert found is not None
    assert "managedFields" not in found["metadata"]
    assert store.get("Pod", "elsewhere", "a") is None
    assert store.get("Job", NAMESPACE, "a") is None
    store.drop("Pod", NAMESPACE, "a")
    store.drop("Pod", NAMESPACE, "a")
    assert store.get("Pod", NAMESPACE, "a") is None


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        pytest.param(pod("a", "9"), pod("a", "10"), "10", id="newer"),
        pytest.param(pod("a", "10"), pod("a", "9"), "10", id="an answer overtaken by the watch"),
        pytest.param(pod("a", "10"), pod("a", "9", uid="another"), "9", id="another object of the name"),
        pytest.param(pod("a", "x10"), pod("a", "x9"), "x9", id="versions that are no numbers"),
    ],
)
def test_an_older_version_does_not_replace_a_newer_one(
    first: dict[str, Any], second: dict[str, Any], kept: str
) -> None:
    store = Store()
    store.put("Pod", first)
    store.put("Pod", second)
    found = store.get("Pod", NAMESPACE, "a")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == kept


def test_lists_are_by_age_and_by_labels() -> None:
    store = Store()
    store.put("Pod", pod("b", creationTimestamp="2024-01-02T00:00:00Z", labels={"model": "x", "more": "y"}))
    store.put("Pod", pod("c", creationTimestamp="2024-01-01T00:00:00Z", labels={"model": "x"}))
    store.put("Pod", pod("a", creationTimestamp="2024-01-02T00:00:00Z", labels=None))
    elsewhere = pod("d")
    elsewhere["metadata"]["namespace"] = "elsewhere"
    store.put("Pod", elsewhere)
    assert [each["metadata"]["name"] for each in store.list("Pod", NAMESPACE)] == ["c", "a", "b"]
    assert [each["metadata"]["name"] for each in store.list("Pod", NAMESPACE, {"model": "x"})] == ["c", "b"]
    assert len(store.list("Pod")) == 4
    assert store.list("PecanModel") == []


def test_a_quiet_cluster_is_not_a_hung_watch() -> None:
    monitor = WatchMonitor(limit_seconds=60.0)
    for now in range(0, 600, 30):
        monitor.observe({"u1": "5"}, {"u1": "5"}, float(now))
    assert not monitor.is_hung()
    assert monitor.lag_seconds() == 0.0


def test_a_watch_that_shows_nothing_new_is_hung() -> None:
    monitor = WatchMonitor(limit_seconds=60.0)
    monitor.observe({"u1": "6"}, {"u1": "5"}, 100.0)
    monitor.observe({"u1": "7"}, {"u1": "5"}, 160.0)
    assert not monitor.is_hung()
    monitor.observe({"u1": "8"}, {"u1": "5"}, 161.0)
    assert monitor.is_hung()
    assert monitor.lag_seconds() == 61.0
    monitor.observe({"u1": "8"}, {"u1": "8"}, 170.0)
    assert not monitor.is_hung()


def test_a_watch_that_moves_is_not_hung_however_busy_the_object() -> None:
    monitor = WatchMonitor(limit_seconds=60.0)
    for turn in range(30):
        monitor.observe({"u1": str(turn + 1)}, {"u1": str(turn)}, turn * 30.0)
    assert not monitor.is_hung()


def test_what_is_gone_is_not_waited_for() -> None:
    monitor = WatchMonitor(limit_seconds=60.0)
    monitor.observe({"u1": "6"}, {}, 0.0)
    monitor.observe({}, {}, 100.0)
    assert not monitor.is_hung()


def test_without_listings_nothing_is_known() -> None:
    monitor = WatchMonitor(limit_seconds=60.0)
    monitor.observe({"u1": "6"}, {"u1": "5"}, 0.0)
    # The API server is away: no further listing, and no reason to be restarted.
    assert not monitor.is_hung()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_lag_is_the_time_since_the_watch_last_moved(observations: list[tuple[int, int]]) -> None:
    monitor = WatchMonitor(limit_seconds=60.0)
    since: tuple[int, float] | None = None
    for turn, (listed, seen) in enumerate(observations):
        now = 10.0 * turn
        monitor.observe({"u": str(listed)}, {"u": str(seen)}, now)
        if listed == seen:
            since = None
        elif since is None or since[0] != seen:
            since = (seen, now)
        assert monitor.lag_seconds() == (0.0 if since is None else now - since[1])


def test_objects_are_of_their_kind() -> None:
    store = Store()
    store.put("PecanModel", model_object())
    assert store.list("PecanWorkflow") == []


def test_it_says_what_is_news() -> None:
    store = Store()
    assert store.put("Pod", pod("a", "9"))
    assert not store.put("Pod", pod("a", "9"))
    assert not store.put("Pod", pod("a", "8"))
    assert store.put("Pod", pod("a", "10"))
    assert store.put("Pod", pod("a", "3", uid="another"))


def test_children_and_owners_find_each_other() -> None:
    label = "pecanproject.org/model"
    store = Store()
    store.put("PecanModel", model_object("dalec"))
    store.put("Pod", pod("a", labels={label: "dalec", "more": "y"}))
    store.put("Pod", pod("b", labels={label: "other"}))
    assert [each["metadata"]["name"] for each in store.list("Pod", NAMESPACE, {label: "dalec"})] == ["a"]
    assert store.list("Pod", NAMESPACE, {label: "dalec", "more": "n"}) == []
    assert store.owners("PecanModel", NAMESPACE, "dalec") == ["dalec"]
    assert store.owners("PecanModel", "elsewhere", "dalec") == []
    store.put("Pod", pod("a", "2", labels={label: "other"}))
    assert store.list("Pod", NAMESPACE, {label: "dalec"}) == []
    assert len(store.list("Pod", NAMESPACE, {label: "other"})) == 2
    store.drop("Pod", NAMESPACE, "a")
    store.drop("PecanModel", NAMESPACE, "dalec")
    assert [each["metadata"]["name"] for each in store.list("Pod", NAMESPACE, {label: "other"})] == ["b"]
    assert store.owners("PecanModel", NAMESPACE, "dalec") == []


def test_a_smaller_form_may_be_kept() -> None:
    store = Store(lambda kind, obj: {key: obj[key] for key in ("kind", "metadata")} if kind == "Pod" else obj)
    store.put("Pod", pod("a"))
    assert "spec" not in (store.get("Pod", NAMESPACE, "a") or {})
