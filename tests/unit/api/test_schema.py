"""The CRDs are structural, bounded, described and up to date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from pecan_operator.api import crdgen
from pecan_operator.api.base import ApiModel, NoSchemaDefault, immutable, rule, rules
from pecan_operator.api.reference import reference
from pecan_operator.api.schema import structural_schema

ROOT = Path(__file__).resolve().parents[3]
Node = tuple[str, dict[str, Any]]


def nodes(schema: dict[str, Any], path: str) -> Iterator[Node]:
    """A schema and all schemas inside it."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def root(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


NODES = [
    (f"{crd['spec']['names']['kind']}{path}", schema) for crd in crdgen.crds() for path, schema in nodes(root(crd), "")
]
FORBIDDEN = {"$ref", "$defs", "title", "const", "exclusiveMinimum", "propertyNames", "patternProperties", "nullable"}


def test_every_schema_is_structural() -> None:
    for path, schema in NODES:
        assert not schema.keys() & FORBIDDEN, path
        assert not [key for key in schema if key.startswith("x-pecan")], path
        assert ("type" in schema) != ("x-kubernetes-int-or-string" in schema), path
        assert not ({"properties", "additionalProperties"} <= schema.keys()), path
        assert schema.get("additionalProperties") is not False, path
        assert all(inner in ({"type": "integer"}, {"type": "string"}) for inner in schema.get("anyOf", [])), path


def test_everything_a_user_writes_is_bounded() -> None:
    """Otherwise the API server's estimate of what the CEL rules cost refuses the CRD, or an object fills the store."""
    for path, schema in NODES:
        if ".spec" not in path:
            continue
        kind = schema.get("type")
        assert kind != "string" or "maxLength" in schema or "enum" in schema, path
        assert kind != "array" or {"maxItems", "x-kubernetes-list-type"} <= schema.keys(), path
        assert kind not in ("integer", "number") or ".pfts[]" in path or "minimum" in schema, path
        assert "additionalProperties" not in schema or "maxProperties" in schema, path


def test_every_property_is_described() -> None:
    for path, schema in NODES:
        for name, inner in schema.get("properties", {}).items():
            if name == "metadata":
                continue
            description = inner["description"]
            assert len(description) >= 5, f"{path}.{name}"
            assert description.endswith("."), f"{path}.{name}"
            assert "\n" not in description, f"{path}.{name}"


def test_rules_name_fields_that_exist() -> None:
    for path, schema in NODES:
        for one in schema.get("x-kubernetes-validations", []):
            assert set(one) <= {"rule", "message", "reason", "fieldPath"}, path
            assert "\n" not in one["message"], path
            place = schema
            for step in one.get("fieldPath", "").split(".")[1:]:
                place = place["properties"][step]


def test_defaults_are_valid_and_full() -> None:
    """The API server validates a default before it fills in the defaults inside it."""
    for path, schema in NODES:
        if "default" not in schema:
            continue
        default = schema["default"]
        plain = {key: value for key, value in schema.items() if not key.startswith("x-")}
        assert Draft202012Validator(plain).is_valid(default), path
        for name, inner in schema.get("properties", {}).items():
            assert "default" not in inner or name in default, f"{path}.{name}"


def test_the_files_are_what_the_models_say() -> None:
    assert crdgen.main(["--check", "--reference", str(ROOT / "docs" / "reference.md"), str(ROOT / "crds")]) == 0


def test_check_finds_a_stale_file_and_writing_repairs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crdgen.main(["--check", str(tmp_path)]) == 1
    assert "pecanmodels.pecanproject.org.yaml" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert crdgen.main([str(tmp_path)]) == 0
    assert crdgen.main(["--check", str(tmp_path)]) == 0
    (tmp_path / "pecanmodels.pecanproject.org.yaml").write_text("changed by hand")
    assert crdgen.main(["--check", str(tmp_path)]) == 1


def test_columns_and_scale_lead_to_fields_that_exist() -> None:
    for crd in crdgen.crds():
        version = crd["spec"]["versions"][0]
        paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
        paths += list(version["subresources"].get("scale", {}).values())
        for path in paths:
            place = root(crd)
            for step in path.split("[")[0].lstrip(".").split("."):
                if step == "creationTimestamp":
                    break
                place = place["properties"][step]


def test_numbers_with_open_bounds_defaults_and_rules_beside_a_reference() -> None:
    class Inner(ApiModel, json_schema_extra=rules(rule("self.a > 1", "inner"))):
        """Inner."""

        a: Annotated[float, Field(gt=0, lt=2)] = 1.5
        """First."""
        b: Annotated[str, NoSchemaDefault] = "mine"
        """Second."""
        c: int | None = None
        """Third."""

    class Outer(ApiModel):
        """Outer."""

        inner: Annotated[Inner, immutable("stays")] = Inner()
        """What is inside."""

    schema = structural_schema(Outer)["properties"]["inner"]
    assert schema["description"] == "What is inside."
    assert [one["message"] for one in schema["x-kubernetes-validations"]] == ["inner", "stays"]
    assert schema["default"] == {"a": 1.5}
    assert schema["properties"] == {
        "a": {
            "description": "First.",
            "type": "number",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": 2,
            "exclusiveMaximum": True,
            "default": 1.5,
        },
        "b": {"description": "Second.", "type": "string"},
        "c": {"description": "Third.", "type": "integer"},
    }


def test_a_field_without_description_is_refused() -> None:
    class Silent(ApiModel):
        a: int

    with pytest.raises(ValueError, match=r"Silent.a has no description"):
        structural_schema(Silent)


def test_the_reference_names_every_field_what_is_required_and_what_cannot_be_changed() -> None:
    page = reference(crdgen.crds())
    assert "| **sites[].lat** | number, -90 to 90 |" in page
    assert "| **modelRef** † |" in page
    assert "| stopOnError † |" in page
    assert "| cancel |" in page
    assert '| rabbitmq.storage.size | string | `"5Gi"` |' in page
    assert "| scaling.maxReplicas | integer, 1 to 10000 | `10` |" in page
    assert "- `spec.scaling.minReplicas`: minReplicas must not be greater than maxReplicas" in page
    for path, schema in NODES:
        for name in schema.get("properties", {}) if path.count(".") > 0 else ():
            assert name in page
