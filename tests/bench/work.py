"""Work for workers: workflows whose runs are written here in place of the executor, and messages as others publish them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection
from place import MET, Place
from support import wait
from workflow_support.manifests import Manifest, resource

from pecan_operator.records import RunPlan, WorkflowRequest, WorkflowRow

QUEUE = "BENCH_1"
_FOLDERS = """
import os, sys
base, job, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.umask(0o002)
for number in range(first, last):
    run = f"{base}/run/{number}"
    os.makedirs(run)
    os.makedirs(f"{base}/out/{number}")
    with open(os.open(f"{run}/job.sh", os.O_WRONLY | os.O_CREAT, 0o775), "w") as file:
        file.write(f"#!/bin/sh\\n{job}\\n")
"""


def workflow(name: str, model: str, size: int, **spec: Any) -> Manifest:
    """A PecanWorkflow of the bench model."""
    given = {
        "modelRef": {"name": model},
        "start": "1998-01-01",
        "end": "1998-12-31",
        "sites": [{"id": "NL-Loo", "name": "Loobos", "lat": 52.17, "lon": 5.74}],
        "inputs": {"met": {"paths": [MET]}},
        "pfts": [{"name": "bench", "constants": {"SLA": 20.0}}],
        "ensemble": {"size": size, "variables": ["GPP"]},
        **spec,
    }
    return resource("PecanWorkflow", name, given)


@dataclass
class Planned:
    """A workflow that the ledger has accepted, and whose runs are planned by `plan` and `register`, not by the executor.

    Its PecanWorkflow names a model that does not exist, so that the operator does not start to prepare it; and it counts
    as analysed, so that it is over with its last run.
    """

    place: Place
    queue: str = QUEUE
    model_id: int = 0
    row: WorkflowRow = field(init=False)
    plans: list[RunPlan] = field(default_factory=list)

    def __post_init__(self) -> None:
        name = self.place.unique("planned")
        self.place.site.apply(workflow(name, "none", 1))
        self.row = self.place.ledger.accept_workflow(
            WorkflowRequest(
                uid=self.place.site.read("PecanWorkflow", name)["metadata"]["uid"],
                namespace=self.place.namespace,
                name=name,
                model_id=self.model_id,
                queue=self.queue,
                hostname="docker",
                start_date="1998-01-01",
                end_date="1998-12-31",
                params={},
                notes="bench",
                priority=100,
                max_parallel=None,
                max_attempts=3,
                stop_on_error=False,
                suspended=False,
                folder_policy="Retain",
            )
        )
        self.place.ledger.report_analysis(self.row.workflow_id, {})

    def plan(self, runs: int, job: str | None = None) -> None:
        """So many runs more, with a `job.sh` of this line; None: without folders."""
        first = len(self.plans)
        if job is not None:
            self.place.python(_FOLDERS, self.row.folder, job, str(first), str(first + runs))
        self.plans += [
            RunPlan(
                run_id=str(number),
                folder=f"{self.row.folder}/run/{number}",
                outdir=f"{self.row.folder}/out/{number}",
                expect=(),
                run_type="ensemble",
                site_id="NL-Loo",
                site_name="Loobos",
                member=number + 1,
            )
            for number in range(first, first + runs)
        ]

    def register(self) -> float:
        """As the executor does; returns when it is committed."""
        self.place.ledger.register_runs(self.row.workflow_id, self.plans)
        return time.monotonic()

    def run(self, seconds: float) -> float:
        """Register, and wait until all runs are over; returns when the registration was committed."""
        committed = self.register()
        wait_over(self.place, self.row.workflow_id, seconds)
        return committed

    def drop(self) -> None:
        """No run of it is open any more, without a word of workers."""
        self.place.ledger.cancel_workflow(self.row.uid, "bench")
        self.place.ledger.close_cancelled(self.row.uid)
        self.place.site.delete("PecanWorkflow", self.row.name)


def wait_over(place: Place, workflow_id: int, seconds: float) -> None:
    """Wait until no run of a workflow is open."""
    counts = "SELECT planned + queued + running, to_jsonb(tally) FROM pecan_operator.tally WHERE workflow_id = %s"

    def look() -> list[tuple[Any, ...]]:
        return place.query(counts, workflow_id)

    wait(lambda: [left for left, _ in look()] == [0], seconds, lambda: f"runs of {workflow_id} are open: {look()}")


def span(place: Place, workflow_id: int, but: str = "") -> tuple[float, float, float]:
    """Epoch seconds of the first publication, the first start and the last finish of a workflow's runs, `but` one."""
    ((published, started, finished),) = place.query(
        "SELECT extract(epoch FROM min(published_at))::float8, extract(epoch FROM min(started_at))::float8,"
        " extract(epoch FROM max(finished_at))::float8 FROM pecan_operator.run WHERE workflow_id = %s AND run_id <> %s",
        workflow_id,
        but,
    )
    return published, started, finished


def publish_plain(uri: str, queue: str, folders: Sequence[str]) -> float:
    """Messages as PEcAn publishes them, all at once; returns when the last was confirmed (time.monotonic())."""
    pending: set[int] = set(range(1, len(folders) + 1))
    end = [0.0]

    def send(channel: Any) -> None:
        for folder in folders:
            body = json.dumps({"folder": folder}).encode()
            channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))

    def confirmed(channel: Any) -> Callable[[Any], None]:
        def note(frame: Any) -> None:
            tag = frame.method.delivery_tag
            pending.difference_update([each for each in pending if each <= tag] if frame.method.multiple else [tag])
            if not pending:
                end[0] = time.monotonic()
                channel.connection.close()

        return note

    def opened(channel: Any) -> None:
        channel.confirm_delivery(confirmed(channel), callback=lambda _: send(channel))

    connection = SelectConnection(
        pika.URLParameters(uri),
        on_open_callback=lambda made: made.channel(on_open_callback=opened),
        on_close_callback=lambda made, _: made.ioloop.stop(),
    )
    connection.ioloop.start()
    assert not pending, f"{len(pending)} messages were not confirmed"
    return end[0]


def purge(uri: str, queue: str) -> None:
    """Nothing waits in a queue any more."""
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    connection.channel().queue_purge(queue)
    connection.close()
