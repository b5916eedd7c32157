"""Reads config.json, what the executor says a run is (model-images/base/pecan-run-1.schema.json)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pecan_adapter.errors import BadData

SCHEMA = "pecan-run/1"


@dataclass(frozen=True, slots=True)
class Pft:
    """A plant functional type: values by PEcAn name, in PEcAn's units."""

    name: str
    traits: dict[str, float]
    constants: dict[str, float]


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What an adapter needs of config.json; both days are simulated, latitude and longitude in degrees."""

    run_id: str
    site_name: str
    latitude: float
    longitude: float
    start: date
    end: date
    met: str
    pfts: tuple[Pft, ...]
    outdir: Path


def read_config(path: Path, model_type: str) -> RunConfig:
    """Read and check config.json for a model that reads no input but `met`; raises BadData naming the wrong field."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadData(f"{path} is not JSON: {error}") from error
    root = _Object(document, "")
    schema = root.text("schema")
    if schema != SCHEMA:
        raise BadData(f"config.json: schema is {schema!r}; this image reads {SCHEMA!r}: use an image that fits")
    asked = root.object("model").text("type")
    if asked != model_type:
        raise BadData(f"config.json: model.type is {asked!r}, but this image runs {model_type}")
    inputs = root.object("inputs")
    unused = sorted(set(inputs.members) - {"met"})
    if unused:
        raise BadData(f"config.json: {model_type} does not read the input {unused[0]}; remove it (it reads met)")
    met = inputs.object("met")
    if met.text("format") != "cf":
        raise BadData("config.json: inputs.met.format must be 'cf'")
    site = root.object("site")
    start, end = root.day("start_date"), root.day("end_date")
    if end < start:
        raise BadData(f"config.json: end_date {end} is before start_date {start}")
    return RunConfig(
        run_id=root.text("run_id"),
        site_name=site.text("name"),
        latitude=site.number("lat", 90),
        longitude=site.number("lon", 180),
        start=start,
        end=end,
        met=met.text("path"),
        pfts=tuple(Pft(p.text("name"), p.values("traits"), p.values("constants")) for p in root.objects("pfts")),
        outdir=Path(root.text("outdir")),
    )


class _Object:
    """A JSON object that knows its place in the document, for messages."""

    def __init__(self, members: Any, place: str) -> None:
        if not isinstance(members, dict):
            raise BadData(f"config.json: {place or 'the document'} must be an object")
        self.members: dict[str, Any] = members
        self._place = place

    def _get(self, name: str) -> tuple[Any, str]:
        place = f"{self._place}.{name}" if self._place else name
        if name not in self.members:
            raise BadData(f"config.json: {place} is missing")
        return self.members[name], place

    def text(self, name: str) -> str:
        value, place = self._get(name)
        if not isinstance(value, str):
            raise BadData(f"config.json: {place} must be text, not {value!r}")
        return value

    def number(self, name: str, limit: float) -> float:
        value, place = self._get(name)
        if not _is_number(value) or not abs(value) <= limit:
            raise BadData(f"config.json: {place} must be a number from {-limit} to {limit}, not {value!r}")
        return float(value)

    def day(self, name: str) -> date:
        text = self.text(name)
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise BadData(f"config.json: {name} must be a calendar day YYYY-MM-DD, not {text!r}") from error

    def values(self, name: str) -> dict[str, float]:
        members = self.object(name)
        for key, value in members.members.items():
            if not _is_number(value):
                raise BadData(f"config.json: {members._place}.{key} must be a number, not {value!r}")
        return {key: float(value) for key, value in members.members.items()}

    def object(self, name: str) -> _Object:
        return _Object(*self._get(name))

    def objects(self, name: str) -> list[_Object]:
        items, place = self._get(name)
        if not isinstance(items, list) or not items:
            raise BadData(f"config.json: {place} must be a list with at least one entry")
        return [_Object(item, f"{place}[{index}]") for index, item in enumerate(items)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
