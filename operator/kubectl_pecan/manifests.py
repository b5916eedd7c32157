"""What `submit` sends: a PecanWorkflow from a manifest or around a pecan.xml, checked here first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from kubectl_pecan.api import Manifest
from kubectl_pecan.errors import CliError, ExitCode
from pecan_operator.api.base import API_VERSION
from pecan_operator.api.workflow import PecanWorkflow
from pecan_operator.errors import UserError

KIND = "PecanWorkflow"
MOST_INLINE_BYTES = 64 * 1024
MOST_BYTES = 1 << 20
_ROOTS = ("pecan", "pecan.multi")


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """A file as UTF-8 text. Raises CliError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CliError(ExitCode.NOT_FOUND, f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(data) > most_bytes:
        raise CliError(ExitCode.INVALID, f"{path} has {len(data)} bytes; at most {most_bytes} are read")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CliError(ExitCode.INVALID, f"{path} is not UTF-8 text (byte {error.start})") from None


def is_xml(path: Path, text: str) -> bool:
    """Whether a file is a pecan.xml rather than a manifest."""
    return path.suffix.lower() == ".xml" or text.lstrip().startswith("<")


def workflow_of_manifest(path: Path, text: str, name: str | None) -> Manifest:
    """The one PecanWorkflow of a YAML or JSON file, checked with the operator's own models. Raises CliError."""
    try:
        loaded = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise CliError(ExitCode.INVALID, f"{path}{where}: {getattr(error, 'problem', error)}") from None
    if len(loaded) != 1 or not isinstance(loaded[0], dict):
        raise CliError(ExitCode.INVALID, f"{path} has {len(loaded)} documents; submit takes one {KIND}")
    (manifest,) = loaded
    if (manifest.get("apiVersion"), manifest.get("kind")) != (API_VERSION, KIND):
        raise CliError(
            ExitCode.INVALID,
            f"{path} is {manifest.get('kind', 'nothing')} of {manifest.get('apiVersion', 'no apiVersion')}, not {KIND} "
            f"of {API_VERSION}: use `kubectl apply` for other kinds",
        )
    metadata = manifest.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise CliError(ExitCode.INVALID, f"{path}: metadata must be an object")
    manifest = {**manifest, "metadata": {**metadata, **({"name": name} if name else {})}}
    check(manifest, str(path))
    return manifest


def check(manifest: Manifest, where: str) -> None:
    """Raises CliError that names every wrong field, as the operator would."""
    metadata = manifest["metadata"]
    named = metadata.get("name") or metadata.get("generateName")
    if not isinstance(named, str):
        raise CliError(ExitCode.INVALID, f"{where}: metadata.name is required, or give --name")
    try:
        # The API server gives these; a manifest has none of them yet.
        PecanWorkflow.parse({**manifest, "metadata": {"name": named, "namespace": "default", "uid": "new"}})
    except UserError as error:
        raise CliError(ExitCode.INVALID, f"{where}: {error.message}") from None


def workflow_of_xml(path: Path, text: str, model: str, name: str | None, base_dir: str | None) -> Manifest:
    """A PecanWorkflow with a pecan.xml in it. Raises CliError when it is too large for that, or a field is wrong."""
    size = len(text.encode())
    if size > MOST_INLINE_BYTES:
        raise CliError(
            ExitCode.INVALID,
            f"{path} has {size} bytes, more than the {MOST_INLINE_BYTES} that fit into a {KIND}: upload it with "
            "`kubectl pecan upload`, and name it in a manifest as spec.pecanXml.path",
        )
    pecan_xml = {"inline": text, **({} if base_dir is None else {"baseDir": base_dir})}
    manifest = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name or object_name(path)},
        "spec": {"modelRef": {"name": model}, "pecanXml": pecan_xml},
    }
    check(manifest, str(path))
    return manifest


def object_name(path: Path) -> str:
    """The name of a file as the name of an object: Demo_2.xml becomes demo-2. Raises CliError when nothing is left."""
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower())[:63].strip("-")
    if not name:
        raise CliError(ExitCode.INVALID, f"no name can be made of {path}: give one with --name")
    return name


def without_passwords(path: Path, text: str) -> tuple[str, list[str]]:
    """A pecan.xml without passwords, which everybody could read in the resource, and the nodes that had one.

    One that has none is left as it is; of one that has, the comments go too. Raises CliError for what is no pecan.xml.
    """
    root = _root_of_xml(path, text)
    found = list(_blank_passwords(root, ()))
    return (ElementTree.tostring(root, encoding="unicode"), found) if found else (text, [])


def _blank_passwords(element: ElementTree.Element, above: tuple[str, ...]) -> Iterator[str]:
    for child in element:
        here = (*above, child.tag)
        is_secret = child.tag == "password" or here[-2:] == ("rabbitmq", "uri")
        if is_secret and (child.text or "").strip():
            child.text = None
            yield "/".join(here)
        yield from _blank_passwords(child, here)


def model_of_xml(path: Path, text: str) -> tuple[str, str | None]:
    """Type and, if given, revision of the model in a pecan.xml. Raises CliError for what is no pecan.xml."""
    root = _root_of_xml(path, text)
    kind = (root.findtext("model/type") or "").strip()
    revision = (root.findtext("model/revision") or "").strip()
    return kind, revision or None


def _root_of_xml(path: Path, text: str) -> ElementTree.Element:
    import defusedxml.ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        root: ElementTree.Element = defusedxml.ElementTree.fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise CliError(ExitCode.INVALID, f"{path} has a DTD or entities, which are not taken: remove them") from None
    except (defusedxml.ElementTree.ParseError, ValueError) as error:
        raise CliError(ExitCode.INVALID, f"{path} is not XML: {error}") from None
    if root.tag not in _ROOTS:
        raise CliError(ExitCode.INVALID, f"{path} begins with <{root.tag}>, not with <pecan> or <pecan.multi>")
    return root


def decide_model(kind: str, revision: str | None, models: Sequence[Mapping[str, Any]]) -> str:
    """The PecanModel that a pecan.xml is for, by type and revision. Raises CliError unless there is exactly one."""
    fitting = [
        model["metadata"]["name"]
        for model in models
        if model["spec"]["type"] == kind and revision in (None, str(model["spec"]["revision"]))
    ]
    if len(fitting) == 1:
        return str(fitting[0])
    known = (
        ", ".join(f"{m['metadata']['name']} ({m['spec']['type']} {m['spec']['revision']})" for m in models) or "none"
    )
    wanted = f"{kind or 'no type'}{f' {revision}' if revision else ''}"
    problem = "no PecanModel is" if not fitting else f"{len(fitting)} PecanModels are"
    raise CliError(ExitCode.INVALID, f"{problem} for <model> {wanted}: choose one with --model; there are: {known}")
