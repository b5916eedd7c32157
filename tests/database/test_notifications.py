"""The operator hears of new runs at once, also after its connection was lost."""

from __future__ import annotations

import threading
import time

import pytest

from pecan_operator.clients.notifications import Notifications

pytestmark = pytest.mark.database


class Ear:
    def __init__(self) -> None:
        self._heard = threading.Condition()
        self.count = 0

    def __call__(self) -> None:
        with self._heard:
            self.count += 1
            self._heard.notify_all()

    def wait(self, count: int, seconds: float = 15.0) -> None:
        with self._heard:
            assert self._heard.wait_for(lambda: self.count >= count, seconds), self.count


@pytest.fixture
def ear(ledger_database):
    made = Ear()
    notifications = Notifications(ledger_database, made)
    notifications.start()
    made.wait(1)
    yield made
    notifications.stop()


def test_new_runs_are_heard_of_when_they_are_committed(ledger, ledger_database, request_for, plans, ear):
    workflow = ledger.accept_workflow(request_for("a"))
    before = ear.count
    ledger.register_runs(workflow.workflow_id, plans(workflow, 3))
    ear.wait(before + 1)
    assert ledger.queue_counts()[workflow.queue].publishable == 3


def test_nothing_else_is_heard_of(ledger, request_for, plans, ear):
    workflow = ledger.accept_workflow(request_for("a"))
    ledger.register_runs(workflow.workflow_id, plans(workflow, 3))
    ear.wait(2)
    time.sleep(0.1)
    before = ear.count
    ledger.mark_queued(ledger.take_planned(workflow.workflow_id, workflow.queue, 3))
    ledger.queue_counts()
    time.sleep(0.3)
    assert ear.count == before


def test_a_lost_connection_is_made_again_and_may_have_missed_something(
    ledger, ledger_database, request_for, plans, ear
):
    workflow = ledger.accept_workflow(request_for("a"))
    with ledger_database.transaction() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")
    ear.wait(2)
    before = ear.count
    ledger.register_runs(workflow.workflow_id, plans(workflow, 1))
    ear.wait(before + 1)
