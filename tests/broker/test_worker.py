"""The worker against a real broker: what it does with messages, signals and losses."""

from __future__ import annotations

import json
from typing import Any

OUTPUT = 'echo data > "$OUT/2001.nc"'


def test_runs_a_job_and_leaves_its_result(model: Any) -> None:
    folder = model.run(f"{OUTPUT}\necho MODEL FINISHED")
    model.worker()
    model.publish(folder, expect=["2001.nc"])
    event = model.finished(folder)
    assert (event["state"], event["exit_code"], event["reason"]) == ("succeeded", 0, None)
    assert (event["workflow"], event["run"], event["worker"]) == ("7", "1", "worker-a")
    assert event["started_at"] <= event["finished_at"] <= event["at"]
    assert [e["event"] for e in model.events] == ["ready", "started", "finished"]
    assert (folder / "rabbitmq.out").read_text() == "b'MODEL FINISHED\\n'\nOK\n"
    assert (folder / "job.log").read_text() == "MODEL FINISHED\n"
    assert json.loads((folder / ".pecan-result.json").read_text())["state"] == "succeeded"
    assert json.loads((folder / ".started").read_text()) == []
    assert not (folder / ".pecan-claim").exists()
    assert model.ready_messages() == 0
