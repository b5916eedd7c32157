"""What submit takes, and what it makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_fakes import model
from hypothesis import given
from hypothesis import strategies as st
from objects import WORKFLOW_SPEC

from kubectl_pecan import manifests
from kubectl_pecan.errors import CliError, ExitCode

PATH = Path("loobos.yaml")
XML = "<pecan><model><type>SIPNET</type><revision>r136</revision></model></pecan>"


def manifest(**changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "pecanproject.org/v1alpha1",
        "kind": "PecanWorkflow",
        "metadata": {"name": "loobos"},
        "spec": WORKFLOW_SPEC,
        **changes,
    }


def test_a_manifest_is_sent_as_it_is() -> None:
    assert manifests.workflow_of_manifest(PATH, yaml.safe_dump(manifest()), None) == manifest()
    named = manifests.workflow_of_manifest(PATH, yaml.safe_dump(manifest()), "other")
    assert named == manifest(metadata={"name": "other"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has 0 documents"),
        ("a: 1\n---\nb: 2\n", "has 2 documents"),
        ("[1, 2]", "1 documents"),
        ("a: [1", "line 1"),
        (yaml.safe_dump(manifest(kind="Job", apiVersion="batch/v1")), "is Job of batch/v1, not PecanWorkflow"),
        (yaml.safe_dump(manifest(metadata={})), "metadata.name is required"),
        (yaml.safe_dump(manifest(metadata=[1])), "metadata must be an object"),
        (yaml.safe_dump(manifest(spec=None)), "spec: must be an object"),
        (yaml.safe_dump(manifest(spec={**WORKFLOW_SPEC, "sties": []})), "spec.sties: is not a field of this kind"),
        (
            yaml.safe_dump(manifest(spec={**WORKFLOW_SPEC, "ensemble": {"size": 0, "variables": ["GPP"]}})),
            "spec.ensemble.size",
        ),
    ],
)
def test_wrong_manifests(text: str, says: str) -> None:
    with pytest.raises(CliError) as caught:
        manifests.workflow_of_manifest(PATH, text, None)
    assert says in caught.value.message
    assert caught.value.code is ExitCode.INVALID
    assert "\n" not in caught.value.message


YAML = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(YAML)
def test_any_yaml_is_taken_or_refused(value: Any) -> None:
    with pytest.raises(CliError):
        manifests.workflow_of_manifest(PATH, yaml.safe_dump(value), None)


@given(st.text())
def test_any_text_is_refused_in_a_line(text: str) -> None:
    for read in (lambda: manifests.workflow_of_manifest(PATH, text, None), lambda: manifests.model_of_xml(PATH, text)):
        with pytest.raises(CliError) as caught:
            read()
        assert "\n" not in caught.value.message


def test_a_pecan_xml_goes_into_the_workflow_whole() -> None:
    assert manifests.workflow_of_xml(Path("in/Demo_2.xml"), XML, "sipnet", None, None) == {
        "apiVersion": "pecanproject.org/v1alpha1",
        "kind": "PecanWorkflow",
        "metadata": {"name": "demo-2"},
        "spec": {"modelRef": {"name": "sipnet"}, "pecanXml": {"inline": XML}},
    }
    with pytest.raises(CliError, match=r"spec\.pecanXml\.path"):
        manifests.workflow_of_xml(PATH, " " * 70_000, "sipnet", None, None)
    with pytest.raises(CliError, match="--name"):
        manifests.object_name(Path("__.xml"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (XML, ("SIPNET", "r136")),
        ("<pecan.multi><model><type> ED2 </type></model></pecan.multi>", ("ED2", None)),
        ("<?xml version='1.0'?><pecan/>", ("", None)),
    ],
)
def test_model_of_xml(text: str, found: tuple[str, str | None]) -> None:
    assert manifests.model_of_xml(PATH, text) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<pecan>", "is not XML"),
        ("<html/>", "begins with <html>"),
        ("<!DOCTYPE pecan [<!ENTITY a 'aaaa'>]><pecan>&a;</pecan>", "DTD or entities"),
    ],
)
def test_wrong_xml(text: str, says: str) -> None:
    with pytest.raises(CliError, match=says):
        manifests.model_of_xml(PATH, text)


SIPNETS = [
    model("old", "Idle", "", type="SIPNET", revision="r136"),
    model("new", "Idle", "", type="SIPNET", revision="2"),
]


def test_decide_model() -> None:
    assert manifests.decide_model("SIPNET", "r136", SIPNETS) == "old"
    assert manifests.decide_model("DALEC", None, [*SIPNETS, model("dalec", "Idle", "")]) == "dalec"
    with pytest.raises(CliError, match=r"2 PecanModels are .* SIPNET: choose one with --model.*old \(SIPNET r136\)"):
        manifests.decide_model("SIPNET", None, SIPNETS)
    with pytest.raises(CliError, match="no PecanModel is for <model> ED2 git"):
        manifests.decide_model("ED2", "git", SIPNETS)
    with pytest.raises(CliError, match=r"no type.*there are: none"):
        manifests.decide_model("", None, [])


def test_read_text(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\xef\xbb\xbftext")
    assert manifests.read_text(file) == "text"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(CliError, match="not UTF-8"):
        manifests.read_text(file)
    with pytest.raises(CliError, match="at most 1 are read"):
        manifests.read_text(file, 1)
    with pytest.raises(CliError, match="no such file"):
        manifests.read_text(tmp_path / "absent")


@pytest.mark.parametrize(
    ("path", "text", "is_xml"), [("a.xml", "", True), ("a.txt", "\n <pecan/>", True), ("a.yaml", "a: 1", False)]
)
def test_is_xml(path: str, text: str, is_xml: bool) -> None:
    assert manifests.is_xml(Path(path), text) is is_xml
