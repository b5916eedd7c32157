"""What the kinds have in common: the model class, CEL rules beside the fields, checked texts, conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError

from pecan_operator.errors import UserError

GROUP = "pecanproject.org"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
VALIDATIONS = "x-kubernetes-validations"
NO_DEFAULT = "x-pecan-no-default"

Rule = dict[str, str]


def rule(expression: str, message: str, path: str | None = None, reason: str | None = None) -> Rule:
    """A CEL validation. `path` is the field below the rule's own place that the API server names in its answer;
    `reason` one of its four words (FieldValueInvalid if left out)."""
    given = {"rule": expression, "message": message, "reason": reason, "fieldPath": path}
    return {key: value for key, value in given.items() if value is not None}


def rules(*given: Rule) -> Any:
    """CEL validations of a whole object: `class Scaling(ApiModel, json_schema_extra=rules(...))`."""
    return {VALIDATIONS: list(given)}


def unchanged(field: str, message: str) -> Rule:
    """CEL, for the object around it, of a field without default that can be neither changed, added nor removed."""
    present, before = f"has(self.{field})", f"has(oldSelf.{field})"
    return rule(
        f"{present} == {before} && (!{present} || self.{field} == oldSelf.{field})",
        message,
        path=f".{field}",
        reason="FieldValueForbidden",
    )


@dataclass(frozen=True, eq=False)
class Extra:
    """Further keys for the CRD schema of the type or field it annotates."""

    keys: Mapping[str, Any]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        added = dict(self.keys)
        if VALIDATIONS in added:
            added[VALIDATIONS] = [*schema.get(VALIDATIONS, []), *added[VALIDATIONS]]
        return {**schema, **added}


def immutable(message: str) -> Extra:
    """A field that keeps its first value. It must be required or have a default: CEL sees no absent field."""
    return Extra(rules(rule("self == oldSelf", message, reason="FieldValueForbidden")))


def keyed_by(key: str) -> Extra:
    """A list whose items are told apart by a field; the API server refuses doubles."""
    return Extra({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})


NoSchemaDefault = Extra({NO_DEFAULT: True})
"""The default is the operator's and not in the CRD, so that CEL can tell whether the user gave the field."""

AsSet = Extra({"x-kubernetes-list-type": "set"})
Atomic = Extra({"x-kubernetes-list-type": "atomic"})


def text(pattern: str, message: str, max_length: int, min_length: int = 1) -> tuple[Any, Any, Any]:
    """What makes an `Annotated[str, *text(...)]` a checked text: API server and parser both answer with `message`.

    `pattern` is anchored and in the syntax that RE2 and Python share.
    """
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise PydanticCustomError("text", message.replace("{", "{{").replace("}", "}}"))
        return value

    expression = "self.matches('{}')".format(pattern.replace("\\", "\\\\").replace("'", "\\'"))
    return (
        Field(min_length=min_length, max_length=max_length),
        AfterValidator(check),
        Extra(rules(rule(expression, message))),
    )


_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_COMPONENT = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"

ObjectName = Annotated[
    str,
    *text(
        rf"^{_LABEL}(\.{_LABEL})*$",
        "must be the name of a Kubernetes object: lower case letters, digits, '-' and '.', "
        "beginning and ending with a letter or digit",
        253,
    ),
]
ImageReference = Annotated[
    str,
    *text(
        rf"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?/)?{_COMPONENT}(/{_COMPONENT})*"
        r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$",
        "must be an image such as ghcr.io/pecan-operator/model-dalec:0.1.0, without spaces and the path in lower case",
        512,
    ),
]
StorageSize = Annotated[
    str,
    *text(
        r"^[1-9][0-9]*(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
        "must be an amount of storage greater than zero, such as 10Gi or 500Mi",
        32,
    ),
]
LabelKey = Annotated[
    str,
    *text(
        rf"^({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?$",
        "must be a label key such as kubernetes.io/arch",
        317,
    ),
]
LabelValue = Annotated[
    str,
    *text(
        r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$",
        "must be a label value: letters, digits, '.', '_' and '-', beginning and ending with a letter or digit",
        63,
        min_length=0,
    ),
]
ResourceName = Annotated[
    str,
    *text(
        rf"^(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMG]i|{_LABEL}(\.{_LABEL})*/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)$",
        "must be cpu, memory, ephemeral-storage or the full name of another resource, such as nvidia.com/gpu",
        317,
    ),
]
Bound = Annotated[int, Field(ge=0)]


def _checked_quantity(value: int | str) -> int | str:
    if isinstance(value, str) and not re.fullmatch(QUANTITY, value):
        raise PydanticCustomError("quantity", "must be a quantity such as 500m, 2 or 512Mi")
    return value


QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$"


@dataclass(frozen=True)
class _IntOrString:
    """Kubernetes' own way to take `cpu: 2` as well as `cpu: 500m`."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY,
            "minimum": 0,
            "maxLength": 32,
        }


Quantity = Annotated[Bound | Annotated[str, Field(max_length=32)], AfterValidator(_checked_quantity), _IntOrString()]


class ApiModel(BaseModel):
    """A part of a resource: camelCase in JSON, immutable, no unknown fields, documented by attribute docstrings."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    def manifest(self) -> dict[str, Any]:
        """The JSON form, without fields that are not set, to be put into a manifest."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Status(ApiModel, extra="ignore"):
    """The base of what the operator reports. Never read back to decide anything."""


class ObjectRef(ApiModel):
    """An object of the same namespace."""

    name: ObjectName
    """Name of the object."""


def _within_limit(resource: str) -> Rule:
    both = f"has(self.requests) && has(self.limits) && '{resource}' in self.requests && '{resource}' in self.limits"
    amounts = [f"quantity(string(self.{side}['{resource}']))" for side in ("requests", "limits")]
    return rule(
        f"!({both}) || {amounts[0]}.compareTo({amounts[1]}) <= 0",
        f"the request of {resource} must not be greater than its limit",
        path=".requests",
    )


class Resources(ApiModel, json_schema_extra=rules(_within_limit("cpu"), _within_limit("memory"))):
    """Compute resources of a container."""

    requests: Annotated[dict[ResourceName, Quantity], Field(max_length=8)] | None = None
    """What is set aside on the node, by resource name (cpu, memory, ephemeral-storage, nvidia.com/gpu)."""
    limits: Annotated[dict[ResourceName, Quantity], Field(max_length=8)] | None = None
    """What the container may use at most, by resource name."""


class Condition(Status):
    """One aspect of the state of a resource, as in every Kubernetes API."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What the condition is about."""
    status: Annotated[str, Field(json_schema_extra={"enum": ["True", "False", "Unknown"]})]
    """True, False or Unknown."""
    observed_generation: Bound | None = None
    """The metadata.generation that was looked at."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """One CamelCase word for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """A sentence for people: what is the matter, where, and what to do."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=20), keyed_by("type")]


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; `wide` ones only show with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


def condition_message(condition: str) -> str:
    """The JSONPath of the message of a condition, for a column."""
    return f'.status.conditions[?(@.type=="{condition}")].message'


@dataclass(frozen=True)
class Definition:
    """What a CRD says besides its schema. `scale` holds the paths of the scale sub-resource."""

    plural: str
    short_name: str
    status: type[Status]
    columns: tuple[Column, ...]
    scale: Mapping[str, str] | None = None


class Metadata(ApiModel, extra="ignore"):
    """What the operator uses of an object's metadata; the API server has checked it."""

    name: str
    """Unique in the namespace for its kind."""
    namespace: str
    """The namespace: one platform, nothing crosses it."""
    uid: str
    """Unique for all time."""
    generation: int = 0
    """Counts the changes of the spec."""
    labels: Mapping[str, str] = Field({})
    """Labels."""
    annotations: Mapping[str, str] = Field({})
    """Annotations."""
    creation_timestamp: str | None = None
    """When it was made (RFC 3339)."""
    deletion_timestamp: str | None = None
    """When its deletion was asked for (RFC 3339)."""


class Resource(ApiModel, extra="ignore"):
    """A custom resource as the operator reads it: metadata and spec."""

    definition: ClassVar[Definition]

    metadata: Metadata
    """Name, namespace, labels and the like."""

    @classmethod
    def parse(cls, obj: Mapping[str, Any]) -> Self:
        """The typed form of an object from the API server.

        Raises UserError InvalidSpec that names each wrong field, what is wrong with it and what to do.
        """
        try:
            return cls.model_validate(obj)
        except ValidationError as error:
            details = error.errors(include_url=False)
            innermost = [one for one in details if not any(_inside(other, one) for other in details)]
            problems = "; ".join(_problem(detail) for detail in innermost[:5])
            raise UserError("InvalidSpec", f"{problems}. Correct the {cls.__name__} and apply it again") from None

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        return self.metadata.namespace

    @property
    def uid(self) -> str:
        """metadata.uid, unique for all time."""
        return self.metadata.uid

    @field_validator("spec", mode="before", check_fields=False)
    @classmethod
    def _spec_is_an_object(cls, value: Any) -> Any:
        if not isinstance(value, Mapping | ApiModel):
            raise PydanticCustomError("spec", "must be an object")
        return value


def _inside(inner: ErrorDetails, outer: ErrorDetails) -> bool:
    depth = len(outer["loc"])
    return len(inner["loc"]) > depth and inner["loc"][:depth] == outer["loc"]


_SAYS = {
    "missing": "is required",
    "too_short": "has too few items",
    "too_long": "has too many items",
    "extra_forbidden": "is not a field of this kind: check the spelling",
}


def _problem(detail: ErrorDetails) -> str:
    path = ""
    for step in detail["loc"]:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    says = _SAYS.get(detail["type"]) or detail["msg"][:1].lower() + detail["msg"][1:]
    return f"{path.lstrip('.')}: {says}"
