"""Applying children without writing what is already so."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from pecan_operator.clients.kube import Kube, Manifest

REMEMBERED_MAX = 20_000


class Children:
    """Remembers, for each child, what was asked for and what the API server made of it (it writes quantities in its own
    way). While both are as they were, nothing is written; drift made by hand differs. Thread-safe.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._remembered: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def apply(self, desired: Manifest, live: Mapping[str, Any] | None) -> Manifest:
        """The child as it is after server-side apply; `live` is how it was read, None when it is not there."""
        asked = _fingerprint(desired)
        if live is not None and self._remembered.get(live["metadata"]["uid"]) == (asked, _made_of(desired, live)):
            return dict(live)
        made = self._kube.apply(desired)
        self._remembered[made["metadata"]["uid"]] = (asked, _made_of(desired, made))
        while len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return made


def project(desired: Any, live: Any) -> Any:
    """The part of `live` that `desired` speaks of; lists of another length stay whole, for something was added."""
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        return {key: project(value, live.get(key)) for key, value in desired.items()}
    if isinstance(desired, list) and isinstance(live, list) and len(desired) == len(live):
        return [project(ours, theirs) for ours, theirs in zip(desired, live, strict=True)]
    return live


def _made_of(desired: Manifest, live: Mapping[str, Any]) -> str:
    return _fingerprint(project(desired, live))


def _fingerprint(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
