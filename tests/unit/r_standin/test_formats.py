"""The formats and addresses of R that the stand-in writes and reads."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import rdata
from management_fake import FakeManagement, fake_management
from r_standin import broker, logger
from r_standin.logger import Severe
from r_standin.rdata import save
from r_standin.settings import Settings
from r_standin.status import Status


def test_short_messages_stand_in_the_line_of_their_stamp(capfd: pytest.CaptureFixture[str]) -> None:
    logger.log("INFO", "console", "short")
    logger.log("SEVERE", "db.query", "word " * 20)
    short, *long = capfd.readouterr().err.splitlines()
    assert short.endswith(" INFO   [console] : short ")
    assert long[0].endswith(" SEVERE [db.query] : ")
    assert [line.strip() for line in long[1:]] == [" ".join(["word"] * 14), " ".join(["word"] * 6)]
    assert all(line.startswith("   word") for line in long[1:])


def test_objects_of_r_are_read_as_they_were_saved(tmp_path: Path) -> None:
    save(tmp_path / "x.Rdata", run__ids=["1", "2"], means={"a": 1.5, "b": [2.0, 3.0]}, name="é")
    read = rdata.read_rda(tmp_path / "x.Rdata")
    assert list(read["run.ids"]) == ["1", "2"]
    assert {key: list(value) for key, value in read["means"].items()} == {"a": [1.5], "b": [2.0, 3.0]}
    assert list(read["name"]) == ["é"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (None, 0),
        ("CONFIG\t2030\t2030\tDONE\t\n", 0),
        ("TRAIT\t2030\t2030\tDONE\t\nCONFIG\t2030", 1),
        ("TRAIT\t2030\t2030\tERROR\t\n", -1),
        ("TRAIT\t2030", 0),
    ],
)
def test_status_check_is_r_s(tmp_path: Path, text: str | None, answer: int) -> None:
    if text is not None:
        (tmp_path / "STATUS").write_text(text)
    assert Status(tmp_path).check("TRAIT") == answer


@pytest.mark.parametrize("text", ["TRAIT\t1\t2\tDONE\t\nTRAIT\t3\t4\tDONE\t\n", "\t1\tERROR\t\n\t2\tERROR\t\n", "\n"])
def test_a_status_that_r_cannot_read_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "STATUS").write_text(text)
    with pytest.raises(Severe):
        Status(tmp_path).check("TRAIT")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeManagement]:
    """The broker's management API, where R looks for it."""
    with fake_management() as served:
        monkeypatch.setenv("RABBITMQ_PORT", str(served.port))
        monkeypatch.setenv("RABBITMQ_PREFIX", "/")
        yield served


def settings(uri: str, queue: str = "JOURNAL_1") -> Settings:
    made = Settings(ET.Element("pecan"))
    made.put("host/rabbitmq/uri", uri)
    made.put("host/rabbitmq/queue", queue)
    return made


def test_a_run_is_published_by_the_management_api(api: FakeManagement) -> None:
    broker.connect(settings("amqp://pecan:secret@127.0.0.1:5672/pecan")).publish(Path("/data/run/1"))
    message = {
        "properties": {"delivery_mode": 2},
        "routing_key": "JOURNAL_1",
        "payload": '{"folder": "/data/run/1"}',
        "payload_encoding": "string",
    }
    assert api.asked == [
        ("GET", "/api/queues/pecan/JOURNAL_1", None),
        ("POST", "/api/exchanges/pecan//publish", message),
    ]


@pytest.mark.parametrize(
    ("uri", "queue", "words"),
    [
        ("amqp://pecan:old@127.0.0.1/pecan", "JOURNAL_1", "make sure username/password is correct"),
        ("amqp://pecan:secret@127.0.0.1/pecan", "absent", "[404]"),
        ("amqp://127.0.0.1/pecan", "JOURNAL_1", "uri is not recognized"),
        ("amqp://pecan:a@b:c@127.0.0.1/pecan", "JOURNAL_1", "uri is not recognized"),
        ("http://pecan:secret@127.0.0.1/pecan", "JOURNAL_1", "uri is not recognized"),
    ],
)
def test_a_wrong_broker_is_refused(
    api: FakeManagement, capfd: pytest.CaptureFixture[str], uri: str, queue: str, words: str
) -> None:
    with pytest.raises(Severe):
        broker.connect(settings(uri, queue)).check()
    assert words in " ".join(capfd.readouterr().err.split())


def test_a_message_that_no_queue_took_is_severe(api: FakeManagement) -> None:
    api.routed = False
    with pytest.raises(Severe, match="no queue took"):
        broker.connect(settings("amqp://pecan:secret@127.0.0.1/pecan")).publish(Path("/data/run/1"))


def test_the_port_of_a_service_link_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_PORT", "tcp://10.0.0.1:5672")
    with pytest.raises(Severe, match="RABBITMQ_PORT"):
        broker.connect(settings("amqp://pecan:secret@127.0.0.1/pecan"))
