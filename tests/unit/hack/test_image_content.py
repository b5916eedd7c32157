"""Tags by content: an image is built again when, and only when, something that goes into it has changed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "hack"))

from image_builder.content import (  # noqa: E402
    Image,
    archive_path,
    content_hash,
    context_files,
    helm_values,
    ignore_rules,
    image_tags,
    is_ignored,
    old_archives,
    project_images,
    reference,
    wanted_images,
)

CONTEXT = Image("thing", "context")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    (context / "src").mkdir(parents=True)
    (context / "Dockerfile").write_text("FROM debian:trixie-slim\n")
    (context / "src" / "a.py").write_text("a = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("notes.txt", True),
        ("src", False),
        ("src/a.py", False),
        ("src/deep/er/a.py", False),
        ("src/a.pyc", True),
        ("src/deep/a.pyc", True),
        ("srcs/a.py", True),
        ("data/one/keep.csv", False),
        ("data/one/two/keep.csv", True),
    ],
)
def test_the_last_matching_rule_decides(path: str, ignored: bool) -> None:
    rules = ignore_rules("# only sources\n*\n!src\n!data/*/keep.csv\n\n**/*.pyc\n")
    assert is_ignored(path, rules) is ignored


def test_nothing_is_ignored_without_rules() -> None:
    assert not is_ignored("a/b", [])


def test_a_context_has_what_its_rules_keep_and_no_tool_caches(tree: Path) -> None:
    context = tree / "context"
    for name in ("src/__pycache__/a.pyc", ".mypy_cache/x", "other/large", "other/kept"):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text("x")
    (context / ".dockerignore").write_text("*\n!src\n!other/kept\n")
    assert [path.relative_to(context).as_posix() for path in context_files(context)] == ["other/kept", "src/a.py"]


def test_the_hash_depends_on_content_name_mode_target_and_base(tree: Path) -> None:
    source = tree / "context" / "src" / "a.py"
    hashes = [content_hash(tree, CONTEXT, "")]
    hashes.append(content_hash(tree, CONTEXT, "base-tag"))
    hashes.append(content_hash(tree, Image("thing", "context", target="other"), ""))
    source.write_text("a = 2\n")
    hashes.append(content_hash(tree, CONTEXT, ""))
    source.chmod(0o755)
    hashes.append(content_hash(tree, CONTEXT, ""))
    source.rename(source.with_name("b.py"))
    hashes.append(content_hash(tree, CONTEXT, ""))
    assert len(set(hashes)) == len(hashes)


def test_the_hash_does_not_depend_on_times_or_ignored_files(tree: Path) -> None:
    (tree / "context" / ".dockerignore").write_text("*.log\n")
    before = content_hash(tree, CONTEXT, "")
    (tree / "context" / "build.log").write_text("noise")
    (tree / "context" / "src" / "a.py").touch()
    assert content_hash(tree, CONTEXT, "") == before


def test_a_dockerfile_counts_even_where_the_context_leaves_it_out(tree: Path) -> None:
    (tree / "context" / ".dockerignore").write_text("*\n!src\n")
    before = content_hash(tree, CONTEXT, "")
    (tree / "context" / "Dockerfile").write_text("FROM scratch\n")
    assert content_hash(tree, CONTEXT, "") != before


@given(st.lists(st.binary(max_size=6), min_size=2, max_size=2, unique=True))
def test_moving_bytes_between_files_changes_the_hash(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    hashes = set()
    for first, second in (parts, [*reversed(parts)], [parts[0] + parts[1], b""]):
        root = tmp_path_factory.mktemp("tree")
        (root / "context").mkdir()
        (root / "context" / "Dockerfile").write_bytes(first)
        (root / "context" / "b").write_bytes(second)
        hashes.add((content_hash(root, CONTEXT, ""), first, second))
    assert len({entry[0] for entry in hashes}) == len({entry[1:] for entry in hashes})


def test_a_changed_base_changes_the_models_on_it(tree: Path) -> None:
    (tree / "model").mkdir()
    (tree / "model" / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    images = {"base": Image("base", "context"), "model": Image("model", "model", base="base")}
    before = image_tags(tree, images)
    (tree / "context" / "src" / "a.py").write_text("a = 3\n")
    after = image_tags(tree, images)
    assert all(before[name] != after[name] for name in images)


def test_every_image_has_its_dockerfile() -> None:
    images = project_images(ROOT)
    assert [name for name, image in images.items() if not (ROOT / image.context / image.dockerfile).is_file()] == []
    assert {"model-journal", "r-standin"} <= wanted_images(images, [])


def test_every_model_folder_is_an_image_on_the_model_base() -> None:
    images = project_images(ROOT)
    models = {f"model-{file.parent.name}" for file in ROOT.glob("model-images/*/Dockerfile")}
    assert models <= set(images)
    assert all(images[name].base == "model-base" for name in models - {"model-base"})
    order = list(images)
    assert all(order.index(images[name].base) < order.index(name) for name in order if images[name].base)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ([], {"model-base", "model-dalec", "operator"}),
        (["model-wofost"], {"model-base", "model-wofost"}),
        (["operator", "model-dalec"], {"model-base", "model-dalec", "operator"}),
    ],
)
def test_an_image_on_request_is_built_when_it_is_named(names: list[str], wanted: set[str]) -> None:
    images = {
        "operator": Image("operator", "."),
        "model-base": Image("model-base", "base"),
        "model-dalec": Image("model-dalec", "dalec", base="model-base"),
        "model-wofost": Image("model-wofost", "wofost", base="model-base", on_request=True),
    }
    assert wanted_images(images, names) == wanted


def test_a_model_s_folder_says_that_it_is_built_on_request(tmp_path: Path) -> None:
    for model in ("always", "seldom"):
        (tmp_path / "model-images" / model).mkdir(parents=True)
        (tmp_path / "model-images" / model / "Dockerfile").touch()
    (tmp_path / "model-images" / "seldom" / "on-request").touch()
    assert [name for name, image in project_images(tmp_path).items() if image.on_request] == ["model-seldom"]
    assert project_images(ROOT)["model-wofost"].on_request


def test_the_python_images_contain_all_that_the_wheel_takes_and_no_tests() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in context_files(ROOT)}
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "operator/requirements.py",
        "model-images/base/worker.py",
    } <= files
    assert not any(name.startswith(("tests/", ".git/", ".venv/", "hack/")) for name in files)


def test_only_older_archives_of_the_same_image_are_old(tmp_path: Path) -> None:
    now, before = "0123456789ab", "ba9876543210"
    for name in (f"model-{now}", f"model-{before}", f"model-dalec-{before}"):
        (tmp_path / f"{name}.tar").touch()
    (tmp_path / f"model-{before}.tar.partial").touch()
    assert old_archives(tmp_path, "model", now) == [
        archive_path(tmp_path, "model", before), tmp_path / f"model-{before}.tar.partial",
    ]  # fmt: skip


def test_values_select_the_images_that_are_there() -> None:
    values = yaml.safe_load(helm_values({name: reference(name, "012345678901") for name in ("operator", "postgis")}))
    assert values == {
        "image": {"repository": "pecan.local/operator", "tag": "012345678901", "pullPolicy": "IfNotPresent"},
        "images": {"postgres": "pecan.local/postgis:012345678901"},
    }


def test_values_name_another_registry_with_a_port() -> None:
    values = yaml.safe_load(helm_values({"operator": reference("operator", "0e1", "registry.example:5000/team/")}))
    assert values["image"]["repository"] == "registry.example:5000/team/operator"
    assert values["image"]["tag"] == "0e1"
