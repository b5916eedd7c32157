"""From a pydantic model to a structural schema, the subset of OpenAPI that CustomResourceDefinitions are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from pecan_operator.api.base import NO_DEFAULT, VALIDATIONS

Schema = dict[str, Any]

_COPIED = (
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "anyOf",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    VALIDATIONS,
)
_REF = "#/$defs/"


class _Generator(GenerateJsonSchema):
    """Optional fields are simply absent, so null is never allowed; defaults of objects are what was set, by alias."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return super().encode_default(dft)


def structural_schema(model: type[BaseModel]) -> Schema:
    """The structural schema of a model, with every default written out in full.

    Raises ValueError when a property has no description, or something of the model has no structural form.
    """
    generated = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return _structural(generated, generated.get("$defs", {}), model.__name__)


def _structural(given: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> Schema:
    if "$ref" in given:
        target = definitions[given["$ref"].removeprefix(_REF)]
        beside = {key: value for key, value in given.items() if key != "$ref"}
        validations = [*target.get(VALIDATIONS, []), *beside.pop(VALIDATIONS, [])]
        given = {**target, **beside, **({VALIDATIONS: validations} if validations else {})}
    schema: Schema = {}
    if "description" in given:
        schema["description"] = _paragraphs(given["description"])
    schema |= {key: given[key] for key in _COPIED if key in given}
    if VALIDATIONS in schema:
        schema[VALIDATIONS] = [dict(sorted(one.items(), key=_rule_order)) for one in schema[VALIDATIONS]]
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in given:
            schema |= {bound: given[exclusive], exclusive: True}
    if "const" in given:
        schema["enum"] = [given["const"]]
    if "items" in given:
        schema["items"] = _structural(given["items"], definitions, f"{path}[]")
    if "properties" in given:
        schema["properties"] = {
            name: _property(value, definitions, f"{path}.{name}") for name, value in given["properties"].items()
        }
        schema |= {"required": given["required"]} if "required" in given else {}
    elif isinstance(given.get("additionalProperties"), dict):
        schema["additionalProperties"] = _structural(given["additionalProperties"], definitions, f"{path}{{}}")
    if "propertyNames" in given:
        schema[VALIDATIONS] = [*schema.get(VALIDATIONS, []), *_key_rules(given["propertyNames"])]
    if given.get("default") is not None and NO_DEFAULT not in given:
        schema["default"] = _full_default(given["default"], schema)
    if not schema.keys() & {"type", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"}:
        raise ValueError(f"{path} has no structural form: {given}")
    return schema


def _property(given: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> Schema:
    schema = _structural(given, definitions, path)
    if "description" not in schema:
        raise ValueError(f"{path} has no description: write a docstring below the field")
    return schema


def _rule_order(item: tuple[str, str]) -> int:
    return ("rule", "message", "reason", "fieldPath").index(item[0])


def _paragraphs(text: str) -> str:
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text.strip())


def _key_rules(names: Mapping[str, Any]) -> list[dict[str, str]]:
    """Structural schemas cannot describe keys; CEL can."""
    checks = [
        {
            **given,
            "rule": f"self.all(key, {given['rule'].replace('self.', 'key.')})",
            "message": f"every key {given['message']}",
        }
        for given in names.get(VALIDATIONS, [])
    ]
    if "maxLength" in names:
        longest = names["maxLength"]
        message = f"every key must be at most {longest} characters long"
        checks.append({"rule": f"self.all(key, size(key) <= {longest})", "message": message})
    return checks


def _full_default(default: Any, schema: Mapping[str, Any]) -> Any:
    """The API server checks a default before it fills in the ones inside it, so these are filled in here."""
    if not isinstance(default, dict) or "properties" not in schema:
        return default
    full = {name: inner["default"] for name, inner in schema["properties"].items() if "default" in inner}
    for name, value in default.items():
        full[name] = _full_default(value, schema["properties"][name])
    return full
