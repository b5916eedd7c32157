"""provenance.json: what a workflow's results were made with."""

from __future__ import annotations

import hashlib
import json
import platform
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from pecan_executor import settings as pecan_settings
from pecan_executor.files import WorkflowFolder, write_text
from pecan_executor.sampling import seed_of
from pecan_operator.errors import UserError

DISTRIBUTION = "pecan-operator"
LIBRARIES = ("numpy", "scipy", "netCDF4")
"""What draws and statistics depend on."""


def write_provenance(folder: WorkflowFolder, workflow_id: int, uid: str, told: str) -> None:
    """Write the file, with what the operator told (a JSON object); digests that it has already are kept.

    Raises UserError when what the operator told cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads(told)
        operator, model, executor, workflow = (found[key] for key in ("operator", "model", "executor", "workflow"))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("BadEnvironment", f"PECAN_PROVENANCE is not what the operator writes ({error!r})") from None
    settings = pecan_settings.read(folder.settings)
    document = {
        "workflow": {"id": workflow_id, "uid": uid, **workflow},
        "pecan.xml": {"sha256": hashlib.sha256(folder.settings.read_bytes()).hexdigest()},
        "seed": seed_of(settings),
        "model": {"type": settings.model.type, "revision": settings.model.revision, **model},
        "executor": {
            "version": version(DISTRIBUTION),
            **executor,
            "python": platform.python_version(),
            "libraries": {name: version(name) for name in LIBRARIES},
        },
        "operator": operator,
    }
    before = _read(folder)
    for part in ("model", "executor"):
        # pods are gone after a while, and a retry may run another image
        document[part]["digests"] = sorted({*_digests(before, part), *document[part].get("digests", [])})
    write_text(folder.provenance, json.dumps(document, indent=1) + "\n")


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
