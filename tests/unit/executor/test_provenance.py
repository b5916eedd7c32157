"""provenance.json: complete, the same when repeated, and digests that are not lost."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from pecan_executor.files import WorkflowFolder
from pecan_executor.main import main
from pecan_executor.provenance import write_provenance
from pecan_operator.core.pecanxml import Settings, render
from pecan_operator.errors import UserError

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def told(*digests: str, image: str = "registry.example/dalec:1") -> str:
    return json.dumps(
        {
            "workflow": {"namespace": "forest", "name": "loobos"},
            "model": {"name": "dalec", "type": "DALEC", "revision": "ev", "image": image, "digests": digests},
            "executor": {"image": "registry.example/executor:1", "digests": []},
            "operator": {"version": "0.1.0"},
        }
    )


@pytest.fixture
def made(settings: Settings, folder: WorkflowFolder) -> WorkflowFolder:
    folder.path.mkdir(parents=True)
    folder.settings.write_text(render(settings))
    return folder


def written(folder: WorkflowFolder, text: str) -> dict[str, Any]:
    write_provenance(folder, 7, "uid-1", text)
    found: dict[str, Any] = json.loads(folder.provenance.read_text())
    return found


def test_says_what_the_results_were_made_with(made: WorkflowFolder) -> None:
    found = written(made, told(A))
    assert found["workflow"] == {"id": 7, "uid": "uid-1", "namespace": "forest", "name": "loobos"}
    assert found["pecan.xml"] == {"sha256": hashlib.sha256(made.settings.read_bytes()).hexdigest()}
    assert found["seed"] == 7
    assert found["model"] == {
        "type": "DALEC", "revision": "ev", "name": "dalec", "image": "registry.example/dalec:1", "digests": [A],
    }  # fmt: skip
    assert found["executor"]["version"] == version("pecan-operator")
    assert found["executor"]["libraries"]["numpy"] == version("numpy")
    assert found["operator"] == {"version": "0.1.0"}


def test_repeated_it_is_not_touched(made: WorkflowFolder) -> None:
    written(made, told(A))
    before = made.provenance.stat().st_ino
    written(made, told(A))
    assert made.provenance.stat().st_ino == before


def test_digests_stay_when_the_pods_are_gone_and_grow_with_another_image(made: WorkflowFolder) -> None:
    assert written(made, told())["model"]["digests"] == []
    assert written(made, told(B))["model"]["digests"] == [B]
    assert written(made, told())["model"]["digests"] == [B]
    found = written(made, told(A, image="registry.example/dalec:2"))
    assert (found["model"]["image"], found["model"]["digests"]) == ("registry.example/dalec:2", [A, B])


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', '{"model": 1}', "\xff"])
def test_a_damaged_file_is_written_anew(text: str, made: WorkflowFolder) -> None:
    made.provenance.write_bytes(text.encode("latin-1"))
    assert written(made, told(A))["model"]["digests"] == [A]


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_what_is_not_the_operators_is_refused(text: str, made: WorkflowFolder) -> None:
    with pytest.raises(UserError, match="PECAN_PROVENANCE"):
        write_provenance(made, 7, "uid-1", text)


@pytest.mark.parametrize("by_operator", [True, False])
def test_the_step_folder_writes_it_when_the_operator_calls(
    by_operator: bool, settings: Settings, folder: WorkflowFolder, tmp_path: Path, monkeypatch: Any
) -> None:
    source = tmp_path / "pecan.xml"
    source.write_text(render(settings))
    monkeypatch.setenv("PECAN_FOLDER", str(folder.path))
    monkeypatch.setenv("PECAN_WORKFLOW_ID", str(settings.workflow_id))
    monkeypatch.setenv("PECAN_WORKFLOW_UID", "uid-1")
    monkeypatch.delenv("PECAN_PROVENANCE", raising=False)
    if by_operator:
        monkeypatch.setenv("PECAN_PROVENANCE", told(A))
    assert main(["folder", "--settings", str(source)]) == 0
    assert folder.provenance.exists() == by_operator
