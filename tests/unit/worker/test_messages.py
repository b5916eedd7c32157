"""What the worker reads from a message, its settings and its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.assets import worker
from pecan_operator.messages import run_body, run_headers
from pecan_operator.records import RunKey, RunMessage

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("folder"), inner, max_size=3),
    max_leaves=4,
)


@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()), headers=st.none() | JSON)
def test_no_message_raises_and_each_is_either_usable_or_refused(body: bytes, headers: Any) -> None:
    message = worker.parse_message(body, headers if isinstance(headers, dict) else None)
    assert message.problem or (message.folder and message.folder.startswith("/"))


@given(
    headers=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("workflow", "run", "attempt", "outdir", "expect", "generation"), JSON),
    )
)
def test_usable_headers_have_the_types_the_worker_relies_on(headers: dict[str, Any]) -> None:
    message = worker.parse_message(b'{"folder": "/data/run/1"}', headers)
    if message.problem is None and message.key is not None:
        assert message.attempt >= 1
        assert isinstance(message.generation, int)
        assert message.outdir is not None
        assert message.outdir.startswith("/")
        assert all(isinstance(name, str) and ".." not in name.split("/") for name in message.expect)


@given(
    run=st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1),
    attempt=st.integers(1, 99),
    expect=st.lists(st.sampled_from(["2001.nc", "sub/2002.nc"])),
)
def test_the_operators_message_is_understood(run: str, attempt: int, expect: list[str]) -> None:
    sent = RunMessage(RunKey(7, run), attempt, "Q", f"/data/run/{run}", f"/data/out/{run}", tuple(expect), attempt - 1)
    message = worker.parse_message(run_body(sent), run_headers(sent))
    assert message.problem is None
    assert (message.key, message.attempt, message.folder) == (("7", run), attempt, sent.folder)
    assert (message.outdir, message.expect, message.generation) == (sent.outdir, sent.expect, sent.generation)


@pytest.mark.parametrize(
    ("folder", "outdir"),
    [
        ("/data/workflows/PEcAn_1/run/5", "/data/workflows/PEcAn_1/out/5"),
        ("/data/workflows/PEcAn_1/run/5/", "/data/workflows/PEcAn_1/out/5"),
        ("/data/anything", None),
    ],
)
def test_without_headers_the_output_is_where_pecan_puts_it(folder: str, outdir: str | None) -> None:
    message = worker.parse_message(json.dumps({"folder": folder}).encode(), None)
    assert (message.outdir, message.key, message.attempt, message.problem) == (outdir, None, 0, None)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", ".", "a//b", "a\0b"])
def test_expected_outputs_stay_below_the_output_folder(name: str) -> None:
    headers = {"workflow": "7", "run": "1", "attempt": 1, "outdir": "/data/out/1", "expect": [name]}
    assert "expect" in (worker.parse_message(b'{"folder": "/data/run/1"}', headers).problem or "")


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
def test_times_must_be_positive_numbers(text: str) -> None:
    with pytest.raises(worker.BadSettings, match="PECAN_RUN_TIMEOUT_SECONDS"):
        worker.Settings.from_environment({"PECAN_RUN_TIMEOUT_SECONDS": text})


def test_defaults_are_those_of_the_design() -> None:
    settings = worker.Settings.from_environment({"PECAN_RUN_TIMEOUT_SECONDS": "100", "PECAN_STOP_SECONDS": ""})
    assert (settings.run_timeout_seconds, settings.grace_seconds, settings.stop_seconds) == (100, 160, 5)
    assert (settings.renew_seconds, settings.stale_seconds, settings.heartbeat_seconds) == (5, 15, 5)
    assert (settings.release_seconds, settings.unreachable_seconds, settings.folder_seconds) == (20, 30, 30)
    assert (settings.data, settings.application) == ("/data", "./job.sh")


@pytest.mark.parametrize(
    "uri", ["http://u:secret@host", "amqp://u:secret@host:port", "amqp://u:secret@h/v?heartbeat=x"]
)
def test_a_bad_broker_uri_is_named_without_its_password(uri: str) -> None:
    with pytest.raises(worker.BadSettings) as caught:
        worker.Settings.from_environment({"RABBITMQ_URI": uri})
    assert "RABBITMQ_URI" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "a", "type": "b", "version": 1, "binary": "c"}'])
def test_model_json_must_name_the_model(tmp_path: Path, content: str) -> None:
    path = tmp_path / "model.json"
    path.write_text(content)
    with pytest.raises(worker.BadSettings, match=r"must be given|cannot be read"):
        worker.read_model(str(path))


def test_an_image_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text('{"name": "DALEC", "type": "DALEC", "version": "ev", "binary": "/work/run"}')
    assert worker.read_model(str(path), "DALEC_ev")["type"] == "DALEC"
    with pytest.raises(worker.BadSettings, match=r"has type DALEC, revision ev .* serve queue SIPNET_git: correct"):
        worker.read_model(str(path), "SIPNET_git")


@given(st.text())
def test_a_reason_is_one_line_of_at_most_500_characters(text: str) -> None:
    reason = worker.shorten(text)
    assert len(reason) <= 500
    assert "\n" not in reason


def test_a_long_reason_keeps_its_end() -> None:
    assert worker.shorten("x" * 600 + " Error: no such file").endswith("Error: no such file")
