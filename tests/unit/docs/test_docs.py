"""What the documentation names is there, and the manifests it shows are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pecan_operator.api.base import API_VERSION, Resource
from pecan_operator.api.model import PecanModel
from pecan_operator.api.platform import PecanPlatform
from pecan_operator.api.workflow import PecanWorkflow

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "images/*.md", "hack/**/*.md", "model-images/*/*.md")
    for page in ROOT.glob(pattern)
)
KINDS: dict[str, type[Resource]] = {kind.__name__: kind for kind in (PecanPlatform, PecanModel, PecanWorkflow)}
TOP = r"(?:\.ci|\.github|charts|crds|docs|examples|hack|images|model-images|operator|tests)"
NAMED_PATH = re.compile(rf"(?<![\w./-])({TOP}/[A-Za-z0-9_./-]*[A-Za-z0-9_/])")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def named_paths(page: Path) -> set[str]:
    """Paths of the repository in inline code and commands; links are checked when the documentation is built."""
    text = page.read_text()
    code = "\n".join(re.findall(r"`([^`\n]+)`", text) + re.findall(r"^\$ (.*)$", text, re.MULTILINE))
    return set(NAMED_PATH.findall(code))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    near = (ROOT, page.parent)
    missing = sorted(path for path in named_paths(page) if not any((root / path).exists() for root in near))
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_targets_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"(?:`|^\$ (?:\w+=\S+ )*)make ([a-z][a-z0-9 -]*)", page.read_text(), re.MULTILINE)
    assert {word for words in named for word in words.split()} - {"clean"} <= targets()


def manifests(text: str) -> list[dict[str, Any]]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [loaded for block in blocks for loaded in yaml.safe_load_all(block)]


SHOWN = [(page, manifest) for page in PAGES for manifest in manifests(page.read_text())]
EXAMPLES = [
    (path, manifest)
    for path in sorted(ROOT.glob("examples/**/*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
    if manifest["apiVersion"] == API_VERSION
]


def test_every_example_is_applied_in_the_tests_on_a_cluster() -> None:
    applied = "\n".join(path.read_text() for path in sorted((ROOT / "tests/e2e").glob("*.py")))
    examples = [str(path.relative_to(ROOT / "examples")) for path in sorted(ROOT.glob("examples/**/*.yaml"))]
    assert [example for example in examples if f'"{example}"' not in applied] == []


def test_there_are_manifests_to_check() -> None:
    assert {manifest["kind"] for _, manifest in SHOWN} == {manifest["kind"] for _, manifest in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize(
    ("page", "manifest"),
    [*SHOWN, *EXAMPLES],
    ids=[f"{page_id(page)}-{manifest['kind']}" for page, manifest in [*SHOWN, *EXAMPLES]],
)
def test_manifests_are_right(page: Path, manifest: dict[str, Any]) -> None:
    assert manifest["apiVersion"] == API_VERSION
    metadata = {"namespace": "pecan", "uid": "1", **manifest["metadata"]}
    KINDS[manifest["kind"]].parse({**manifest, "metadata": metadata, "spec": manifest.get("spec", {})})
