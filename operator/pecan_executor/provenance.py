"""provenance.json: what a workflow's results were made with."""

from __future__ import annotations

import hashlib
import json
import platform
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from defusedxml.ElementTree import fromstring

from pecan_executor import settings as pecan_settings
from pecan_executor.files import WorkflowFolder, write_text
from pecan_executor.sampling import seed_of
from pecan_operator.core import rsettings
from pecan_operator.errors import UserError

DISTRIBUTION = "pecan-operator"
LIBRARIES = ("numpy", "scipy", "netCDF4")
"""What draws and statistics depend on."""


def write_provenance(folder: WorkflowFolder, workflow_id: int, uid: str, told: str, *, for_r: bool = False) -> None:
    """Write the file, with what the operator told (a JSON object); digests that it has already are kept.

    `for_r`: PEcAn's R draws, of which no seed is known, and the hash is that of its pecan.xml without addresses and
    passwords, which may change.

    Raises UserError when what the operator told cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads(told)
        operator, model, executor, workflow = (found[key] for key in ("operator", "model", "executor", "workflow"))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("BadEnvironment", f"PECAN_PROVENANCE is not what the operator writes ({error!r})") from None
    origin = _origin_for_r(folder) if for_r else _origin(folder)
    document = {
        "workflow": {"id": workflow_id, "uid": uid, **workflow},
        "pecan.xml": {"sha256": hashlib.sha256(origin.xml).hexdigest()},
        "seed": origin.seed,
        "model": {"type": origin.type, "revision": origin.revision, **model},
        "executor": {
            "version": version(DISTRIBUTION),
            **executor,
            "python": platform.python_version(),
            "libraries": {name: version(name) for name in LIBRARIES},
        },
        "operator": operator,
        **({"r": found["r"]} if "r" in found else {}),
    }
    before = _read(folder)
    for part in ("model", "executor", *(["r"] if "r" in found else [])):
        # pods are gone after a while, and a retry may run another image
        document[part]["digests"] = sorted({*_digests(before, part), *document[part].get("digests", [])})
    write_text(folder.provenance, json.dumps(document, indent=1) + "\n")


@dataclass(frozen=True)
class _Origin:
    xml: bytes
    type: str
    revision: str
    seed: int | None


def _origin(folder: WorkflowFolder) -> _Origin:
    settings = pecan_settings.read(folder.settings)
    return _Origin(folder.settings.read_bytes(), settings.model.type, settings.model.revision, seed_of(settings))


def _origin_for_r(folder: WorkflowFolder) -> _Origin:
    text = rsettings.without_services(folder.settings.read_bytes())
    root = fromstring(text)
    return _Origin(text.encode(), root.findtext("model/type") or "", root.findtext("model/revision") or "", None)


def _read(folder: WorkflowFolder) -> Any:
    with suppress(FileNotFoundError, ValueError):
        return json.loads(folder.provenance.read_text())
    return None


def _digests(document: Any, part: str) -> list[str]:
    """The digests of a part of an earlier file; none where it is damaged."""
    try:
        return [str(digest) for digest in document[part]["digests"]]
    except (KeyError, TypeError):
        return []
