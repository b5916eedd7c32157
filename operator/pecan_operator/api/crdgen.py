"""Writes the CustomResourceDefinitions of the kinds: `python -m pecan_operator.api.crdgen [--check] crds`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from pecan_operator.api.base import GROUP, VERSION, Column, Resource
from pecan_operator.api.model import PecanModel
from pecan_operator.api.platform import PecanPlatform
from pecan_operator.api.reference import reference
from pecan_operator.api.schema import structural_schema
from pecan_operator.api.workflow import PecanWorkflow

KINDS: tuple[type[Resource], ...] = (PecanPlatform, PecanModel, PecanWorkflow)

_HEADER = "# Generated from operator/pecan_operator/api by `make crds`; change it there.\n"


def crds() -> list[dict[str, Any]]:
    """All CustomResourceDefinitions, as manifests."""
    return [crd(kind) for kind in KINDS]


def crd(kind: type[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    definition = kind.definition
    subresources: dict[str, Any] = {"status": {}}
    if definition.scale is not None:
        subresources["scale"] = dict(definition.scale)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{definition.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "pecan", "app.kubernetes.io/component": "crds"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.__name__,
                "listKind": f"{kind.__name__}List",
                "plural": definition.plural,
                "singular": kind.__name__.lower(),
                "shortNames": [definition.short_name],
                "categories": ["pecan"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": subresources,
                    "additionalPrinterColumns": [_column(column) for column in definition.columns],
                    "schema": {"openAPIV3Schema": _root_schema(kind)},
                }
            ],
        },
    }


def _root_schema(kind: type[Resource]) -> dict[str, Any]:
    described = structural_schema(kind)
    root = {
        "type": "object",
        "description": described["description"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Group and version of the kind."},
            "kind": {"type": "string", "description": "Name of the kind."},
            "metadata": {"type": "object"},
            "spec": described["properties"]["spec"],
            "status": structural_schema(kind.definition.status),
        },
    }
    required = [name for name in described["required"] if name == "spec"]
    return {**root, "required": required} if required else root


def _column(column: Column) -> dict[str, Any]:
    made: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**made, "priority": 1} if column.wide else made


class _Dumper(yaml.SafeDumper):
    """Writes out what occurs several times instead of referring to it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def rendered(folder: Path, page: Path | None) -> dict[Path, str]:
    """The text of every generated file."""
    manifests = crds()
    files = {
        folder / f"{manifest['metadata']['name']}.yaml": _HEADER
        + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
        for manifest in manifests
    }
    return files if page is None else {**files, page: reference(manifests)}


def main(arguments: list[str] | None = None) -> int:
    """Writes the files, or with --check compares them. Exit code 1: a file is out of date."""
    parser = argparse.ArgumentParser(prog="crdgen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    parser.add_argument("--reference", type=Path, help="page of documentation to write as well")
    parser.add_argument("folder", type=Path, help="folder of the CustomResourceDefinitions")
    options = parser.parse_args(arguments)
    files = rendered(options.folder, options.reference)
    stale = {
        path: text for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    }
    if options.check and stale:
        names = ", ".join(path.name for path in stale)
        sys.stderr.write(f"out of date: {names}. Run `make crds` and commit the result\n")
        return 1
    for path, text in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
