"""Names of children: valid DNS labels, stable, and never the same for two owners.

A name that is already a short DNS label stays as it is. Any other is shortened and marked with `---` and a hash; a
given name that itself contains `---` is hashed too, so that no plain name can equal a hashed one.
"""

from __future__ import annotations

import hashlib
import re

DNS_LABEL_MAX = 63
# With the longest suffix of ours (cleanup and a workflow id) and what Kubernetes adds to name a pod, a DNS label.
SLUG_MAX = 36
# 64 bits: nobody finds two names with one hash by trying.
_HASH_LENGTH = 16
_PLAIN = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_MARK = "---"


def slug(name: str) -> str:
    """A DNS label (RFC 1035) of at most 36 characters for a resource's name (a DNS subdomain of at most 253)."""
    if len(name) <= SLUG_MAX and _PLAIN.fullmatch(name) and _MARK not in name:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: SLUG_MAX - len(_MARK) - _HASH_LENGTH].rstrip("-")
    if not readable or not readable[0].isalpha():
        readable = f"x{readable}"[: SLUG_MAX - len(_MARK) - _HASH_LENGTH].rstrip("-")
    return f"{readable}{_MARK}{digest}"


def child(name: str, suffix: str) -> str:
    """The name of a child of the resource `name`.

    Suffixes are single words (no dash), so that the children of `a` and `a-b` cannot meet.
    """
    if not re.fullmatch(r"[a-z0-9]{1,22}", suffix):
        raise ValueError(f"suffix {suffix!r} must be one lower-case word of at most 22 characters")
    return f"{slug(name)}-{suffix}"
