"""The fields of the kinds as a page of documentation, from the same models as the CRDs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pecan_operator.api.base import VALIDATIONS

Schema = Mapping[str, Any]

_INTRODUCTION = """\
<!-- Generated from operator/pecan_operator/api by `make crds`; change it there. -->
# Reference of the kinds

All kinds belong to the API group `pecanproject.org/v1alpha1` and to a namespace. `kubectl explain <kind>.spec` says the
same on a cluster. Fields in **bold** are required; † marks fields that keep their first value.
"""


def reference(crds: Iterable[Schema]) -> str:
    """The page, in Markdown."""
    return _INTRODUCTION + "".join(_kind(crd) for crd in crds)


def _kind(crd: Schema) -> str:
    names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    parts = [
        f"\n## {names['kind']}\n\n{root['description']} Short name: `{names['shortNames'][0]}`.\n",
    ]
    for part in ("spec", "status"):
        schema = root["properties"][part]
        parts.append(f"\n### {names['kind']}: {part}\n\n{schema['description']}\n\n")
        parts.append("| field | type | default | meaning |\n|---|---|---|---|\n")
        parts += [f"| {' | '.join(row)} |\n" for row in _rows(schema, "")]
        rules = list(dict.fromkeys(_rules(schema, part)))
        if rules:
            parts.append("\nRules across fields:\n\n" + "".join(f"- {rule}\n" for rule in rules))
    return "".join(parts)


def _rows(schema: Schema, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        written = f"**{path}**" if name in schema.get("required", ()) else path
        mark = " †" if _is_fixed(name, field, schema) else ""
        yield f"{written}{mark}", _type(field), _default(field), _cell(field["description"])
        inner, suffix = _inside(field)
        yield from _rows(inner, f"{path}{suffix}.")


def _is_fixed(name: str, field: Schema, around: Schema) -> bool:
    own = any(rule["rule"] == "self == oldSelf" for rule in field.get(VALIDATIONS, ()))
    return own or any(
        "oldSelf" in rule["rule"] and rule.get("fieldPath") == f".{name}" for rule in around.get(VALIDATIONS, ())
    )


def _default(field: Schema) -> str:
    """The default, unless it is empty or just what the fields inside say themselves."""
    default = field.get("default")
    inside = {name: inner["default"] for name, inner in field.get("properties", {}).items() if "default" in inner}
    return "" if default in (None, [], {}, inside) else f"`{json.dumps(default)}`"


def _inside(field: Schema) -> tuple[Schema, str]:
    if "items" in field:
        return field["items"], "[]"
    if isinstance(field.get("additionalProperties"), Mapping):
        return field["additionalProperties"], ".*"
    return field, ""


def _type(field: Schema) -> str:
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "x-kubernetes-int-or-string" in field:
        return "quantity"
    inner, suffix = _inside(field)
    if suffix:
        return f"{'list' if suffix == '[]' else 'map'} of {_type(inner)}"
    kind = str(field.get("format") or field.get("type"))
    low, high = field.get("minimum"), field.get("maximum")
    if low is None:
        return kind
    return f"{kind}, {low} to {high}" if high is not None else f"{kind}, {low} or more"


def _rules(schema: Schema, path: str) -> Iterator[str]:
    """What is checked between the fields of an object; checks of a single text stand in its own description."""
    if "properties" in schema:
        for rule in schema.get(VALIDATIONS, ()):
            if "oldSelf" not in rule["rule"]:
                yield f"`{path}{rule.get('fieldPath', '')}`: {_cell(rule['message'])}"
        for name, field in schema["properties"].items():
            inner, suffix = _inside(field)
            yield from _rules(inner, f"{path}.{name}{suffix}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("\n", " ")
