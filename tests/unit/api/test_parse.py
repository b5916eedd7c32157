"""Objects from the API server become typed resources, or an error that says what to correct."""

from __future__ import annotations

import posixpath
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pecan_operator.api.base import GROUP, ImageReference, Quantity, Resource
from pecan_operator.api.crdgen import KINDS
from pecan_operator.api.model import PecanModel
from pecan_operator.api.platform import PecanPlatform
from pecan_operator.api.workflow import DataPath, PecanWorkflow
from pecan_operator.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = [path for path in sorted((ROOT / "examples").rglob("*.yaml")) if GROUP in path.read_text(encoding="utf-8")]
BY_KIND = {kind.__name__: kind for kind in KINDS}


def read(path: str | Path) -> dict[str, Any]:
    obj: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    obj["metadata"] |= {"namespace": "forest", "uid": "0f-1", "generation": 2, "managedFields": [{}]}
    return obj


def problem_of(kind: type[Resource], obj: dict[str, Any]) -> str:
    with pytest.raises(UserError) as error:
        kind.parse(obj)
    assert error.value.reason == "InvalidSpec"
    return error.value.message


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_understood(path: Path) -> None:
    obj = read(path)
    resource = BY_KIND[obj["kind"]].parse(obj | {"status": {"phase": "whatever"}})
    assert (resource.name, resource.namespace, resource.uid) == (obj["metadata"]["name"], "forest", "0f-1")
    assert resource.metadata.generation == 2


def test_a_workflow_has_dates_sites_and_priors() -> None:
    spec = PecanWorkflow.parse(read("examples/workflows/loobos-ensemble.yaml")).spec
    assert (spec.start, spec.end) == (date(1997, 1, 1), date(1999, 12, 31))
    assert (spec.sites[0].lat, spec.sites[0].lon) == (52.17, 5.74)
    assert spec.ensemble.size == 100
    assert spec.inputs["met"].method == "sampling"
    assert spec.folder_policy == "Retain"
    assert spec.stop_on_error is None
    assert all(prior.distn for prior in spec.pfts[0].traits.values())


def test_a_model_names_its_queue_and_manifest_parts() -> None:
    model = PecanModel.parse(read("examples/models/dalec.yaml"))
    assert model.spec.queue == "DALEC_ev"
    assert model.spec.resources.manifest() == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "512Mi"},
    }


def test_a_platform_may_be_empty() -> None:
    obj = read("examples/platform.yaml")
    del obj["spec"]
    spec = PecanPlatform.parse(obj).spec
    assert (spec.hostname, spec.local_server, spec.data_policy) == ("docker", 99, "Retain")
    assert (spec.storage.data.size, spec.storage.data.access_modes) == ("10Gi", ("ReadWriteMany",))
    assert (spec.postgres.storage.size, spec.rabbitmq.storage.size) == ("10Gi", "5Gi")


def test_every_problem_is_named_with_its_field() -> None:
    obj = read("examples/workflows/loobos-ensemble.yaml")
    del obj["spec"]["start"]
    obj["spec"]["sites"][0]["lat"] = 99
    obj["spec"]["inputs"]["met"]["paths"] = ["/data/../etc"]
    obj["spec"]["ensemble"]["members"] = 3
    message = problem_of(PecanWorkflow, obj)
    assert "spec.start: is required" in message
    assert "spec.sites[0].lat: input should be less than or equal to 90" in message
    assert "spec.inputs.met.paths[0]: must be an absolute path under /data" in message
    assert "spec.ensemble.members: is not a field of this kind" in message
    assert message.endswith("Correct the PecanWorkflow and apply it again")
    assert "at least 1 item" not in message


def test_a_pecan_xml_stands_instead_of_the_fields() -> None:
    obj = read("examples/workflows/loobos-pecanxml.yaml")
    spec = PecanWorkflow.parse(obj).spec
    assert spec.pecan_xml is not None
    assert (spec.start, spec.ensemble, spec.pecan_xml.base_dir) == (None, None, "/data/met/loobos")
    obj["spec"] |= {"start": "1998-01-01"}
    assert "spec.start: is not allowed beside pecanXml" in problem_of(PecanWorkflow, obj)
    del obj["spec"]["pecanXml"]
    message = problem_of(PecanWorkflow, obj)
    for field in ("end", "pfts"):
        assert f"spec.{field}: is required" in message
    assert "give exactly one of sites and sitesCsv" in message
    assert "spec.start" not in message
    obj = read("examples/workflows/loobos-ensemble.yaml")
    del obj["spec"]["ensemble"]
    assert "give an ensemble, a sensitivityAnalysis or both" in problem_of(PecanWorkflow, obj)
    obj["spec"]["sensitivityAnalysis"] = {"variables": ["GPP"]}
    assert PecanWorkflow.parse(obj).spec.structured.ensemble is None


def test_sites_are_given_once_and_all_have_weather() -> None:
    obj = read("examples/workflows/many-sites.yaml")
    spec = PecanWorkflow.parse(obj).spec
    assert (spec.structured.sites, spec.structured.sites_csv) == ((), "/data/sites/grid.csv")
    del obj["spec"]["inputs"]
    assert PecanWorkflow.parse(obj).spec.structured.inputs == {}, "the table may have the weather"
    site = {"id": "NL-Loo", "name": "Loobos", "lat": 52.17, "lon": 5.74}
    obj["spec"]["sites"] = [site]
    assert "give exactly one of sites and sitesCsv" in problem_of(PecanWorkflow, obj)
    del obj["spec"]["sitesCsv"]
    assert "spec.inputs: must have met, unless every site has its own" in problem_of(PecanWorkflow, obj)
    own = {"met": {"paths": ["/data/met/loobos/Loobos"]}}
    obj["spec"]["sites"] = [{**site, "inputs": own}]
    assert PecanWorkflow.parse(obj).spec.structured.sites[0].inputs["met"].paths == ("/data/met/loobos/Loobos",)
    obj["spec"]["inputs"] = {"soil": own["met"]}
    assert PecanWorkflow.parse(obj).spec.structured.inputs.keys() == {"soil"}
    obj["spec"]["sites"] = [{**site, "inputs": {"met": {"paths": ["/etc/passwd"]}}}]
    assert "spec.sites[0].inputs.met.paths[0]: must be an absolute path under /data" in problem_of(PecanWorkflow, obj)


@pytest.mark.parametrize("field", ["sites", "sitesCsv", "inputs"])
def test_sites_and_inputs_are_not_allowed_beside_a_pecan_xml(field: str) -> None:
    obj = read("examples/workflows/loobos-pecanxml.yaml")
    whole = {**read("examples/workflows/many-sites.yaml")["spec"], **read("examples/workflows/two-sites.yaml")["spec"]}
    obj["spec"][field] = whole[field]
    assert "is not allowed beside pecanXml" in problem_of(PecanWorkflow, obj)


@pytest.mark.parametrize("spec", [None, [], "text", 5])
def test_a_spec_that_is_no_object(spec: Any) -> None:
    assert "spec: must be an object" in problem_of(PecanModel, read("examples/models/dalec.yaml") | {"spec": spec})


def test_resources_cannot_be_changed() -> None:
    model = PecanModel.parse(read("examples/models/dalec.yaml"))
    with pytest.raises(ValidationError):
        model.spec.suspend = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("folder", "good"),
    [("/data", True), ("/data/met", True), ("/data/", False), ("/database", False), ("/data/..", False), ("/", False)],
)
def test_relative_paths_may_begin_at_the_data_volume_itself(folder: str, good: bool) -> None:
    obj = read("examples/workflows/loobos-pecanxml.yaml")
    obj["spec"]["pecanXml"]["baseDir"] = folder
    if good:
        assert PecanWorkflow.parse(obj).spec.pecan_xml.base_dir == folder
    else:
        assert "spec.pecanXml.baseDir: must be /data or a folder under it" in problem_of(PecanWorkflow, obj)


PATH: TypeAdapter[str] = TypeAdapter(DataPath)
_PATH_TEXT = st.lists(st.sampled_from(["data", "/", "..", ".", "met", "a.nc", " ", "$", "~", "\n", "é"]), max_size=12)


@given(_PATH_TEXT.map(lambda parts: "/data/" + "".join(parts)))
def test_accepted_paths_stay_under_data_and_need_no_quoting(path: str) -> None:
    try:
        PATH.validate_python(path)
    except ValidationError:
        return
    assert posixpath.normpath(path) == path
    assert path.startswith("/data/")
    assert re.fullmatch(r"[A-Za-z0-9._+=:@,%~/-]+", path)


@pytest.mark.parametrize(
    "path", ["/data/met/loobos/Loobos", "/data/a/..b", "/data/.hidden/x", "/data/...", "/data/a.b-c_d"]
)
def test_usual_paths_are_accepted(path: str) -> None:
    assert PATH.validate_python(path) == path


@pytest.mark.parametrize(
    ("image", "good"),
    [
        ("ghcr.io/pecan-operator/model-dalec:0.1.0", True),
        ("localhost:5000/a/b", True),
        ("pecan/model-basgra-basgra_n_v1:latest", True),
        ("postgres@sha256:" + "a" * 64, True),
        ("Pecan/Model", False),
        ("a:b:c", False),
        ("https://ghcr.io/a", False),
        ("a b", False),
        ("a/", False),
    ],
)
def test_image_references(image: str, good: bool) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(ImageReference)
    if good:
        assert adapter.validate_python(image) == image
    else:
        with pytest.raises(ValidationError, match="must be an image"):
            adapter.validate_python(image)


@pytest.mark.parametrize(("value", "good"), [(2, True), ("500m", True), ("1.5Gi", True), ("lots", False), (-1, False)])
def test_quantities(value: int | str, good: bool) -> None:
    adapter: TypeAdapter[int | str] = TypeAdapter(Quantity)
    if good:
        assert adapter.validate_python(value) == value
    else:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)
